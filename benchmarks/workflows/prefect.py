"""Prefect, for information: one flow at a time, its server with its own SQLite on the benchmark's disk."""

from __future__ import annotations

import os
import signal
import urllib.request
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

from benchmarks import peer_venv
from benchmarks.conversation import Conversation
from benchmarks.peer_venv import PeerError
from benchmarks.workflows.scale import SINGLE_SECONDS
from benchmarks.workflows.series import Series, attempt
from dev.launch import has_ended, spawn, stop, tail, wait_until
from dev.site import ROOT, free_port

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from benchmarks.servers import Bench
    from benchmarks.workflows.scale import Scale

_READY_SECONDS: Final = 60.0
_STOP_SECONDS: Final = 10.0
_RUNS: Final = 3


class Prefect:
    """Its runs: it is measured once, after everything else, since its server is never idle."""

    def __init__(self, bench: Bench, scale: Scale) -> None:
        self._bench = bench
        self._scale = scale
        self.versions: dict[str, str] = {}
        self.single = Series("Prefect, one flow", "ms")

    def run(self) -> None:
        """Start its server, and run one flow some times."""
        attempt(self._run, self.single)

    def _run(self) -> None:
        python = peer_venv.python()
        env = _environment(self._bench)
        command: list[str | Path] = [python, "-m", "benchmarks.peers.prefect_single"]
        with (
            _server(python, env, self._bench.run / "prefect-server.log"),
            Conversation(command, env, self._bench.run / "prefect.log") as process,
        ):
            self.versions = process.greeting()["versions"]
            process.ask("1", SINGLE_SECONDS)
            asked = [process.ask(str(self._scale.steps), SINGLE_SECONDS) for _ in range(_RUNS)]
        self.single.add([1000 * float(answer["seconds"]) for answer in asked])


def _environment(bench: Bench) -> dict[str, str]:
    """Return its environment: a server of its own that tells nobody anything, logs only of errors."""
    kept = {name: os.environ[name] for name in ("PATH", "HOME", "LANG", "TMPDIR") if name in os.environ}
    return kept | {
        "PYTHONPATH": str(ROOT),
        "PREFECT_HOME": str(bench.data / "prefect"),
        "PREFECT_API_URL": f"http://127.0.0.1:{free_port()}/api",
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        "DO_NOT_TRACK": "1",
        "PREFECT_LOGGING_LEVEL": "ERROR",
        "PREFECT_SERVER_LOGGING_LEVEL": "ERROR",
    }


@contextmanager
def _server(python: Path, env: Mapping[str, str], log: Path) -> Iterator[None]:
    url = env["PREFECT_API_URL"]
    port = url.removesuffix("/api").rpartition(":")[2]
    command: list[str | Path] = [python, "-m", "prefect", "server", "start", "--host", "127.0.0.1", "--port", port]
    with log.open("wb") as output:
        process = spawn([*command, "--no-ui"], output=output, env=env, cwd=ROOT)
    try:
        wait_until(lambda: has_ended(process) or _answers(url), _READY_SECONDS, 0.1)
        if has_ended(process) or not _answers(url):
            raise PeerError(f"its server is not ready: {' / '.join(tail(log, 3).splitlines())}")
        yield
    finally:
        stop(process, signal.SIGTERM, _STOP_SECONDS)


def _answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(f"{url}/health", timeout=2) as answer:  # noqa: S310 - our own server on 127.0.0.1
            return bool(answer.status == 200)  # noqa: PLR2004
    except OSError:
        return False
