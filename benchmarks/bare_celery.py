"""Workers of bare Celery, in each way to use two cores: two prefork children, two threads, two solo processes."""

from __future__ import annotations

import os
import signal
import sys
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Final

from core.errors import SetupError
from dev.launch import has_ended, spawn, stop, tail, wait_until
from dev.site import ROOT

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Iterator
    from pathlib import Path

    from benchmarks.servers import Bench

POOLS: Final = {"prefork": ("prefork", "2", 1), "threads": ("threads", "2", 1), "solo": ("solo", "1", 2)}
"""Each way: the pool, its concurrency, and how many workers."""
_READY_SECONDS: Final = 60.0
_STOP_SECONDS: Final = 10.0


def environment(bench: Bench) -> dict[str, str]:
    """Return the environment of a process of bare Celery: nothing of ours but the broker."""
    kept = {name: os.environ[name] for name in ("PATH", "HOME", "LANG", "TMPDIR") if name in os.environ}
    return kept | {"CELERY_BROKER_URL": bench.broker_url, "PYTHONPATH": str(ROOT)}


@contextmanager
def workers(bench: Bench, way: str, app: str, ready: str) -> Iterator[None]:
    """Run workers of the module `app` until each printed `ready`, and stop them at the end. Raises SetupError."""
    pool, concurrency, count = POOLS[way]
    arguments = ["-A", app, "worker", f"--pool={pool}", f"--concurrency={concurrency}"]
    with ExitStack() as stack:
        started = [_start(stack, bench, f"{way}{number}", arguments) for number in range(count)]
        for process, log in started:
            _await_ready(process, log, ready)
        yield


def _start(stack: ExitStack, bench: Bench, name: str, arguments: list[str]) -> tuple[subprocess.Popen[bytes], Path]:
    log = bench.run / f"{name}.log"
    quiet = ["--loglevel=WARNING", "--without-gossip", "--without-mingle", "--without-heartbeat"]
    command = [sys.executable, "-m", "celery", *arguments, f"--hostname={name}@%h", *quiet]
    with log.open("wb") as output:
        process = spawn(command, output=output, env=environment(bench), cwd=ROOT)
    stack.callback(stop, process, signal.SIGTERM, _STOP_SECONDS)
    return process, log


def _await_ready(process: subprocess.Popen[bytes], log: Path, ready: str) -> None:
    wait_until(lambda: ready in log.read_text(errors="replace") or has_ended(process), _READY_SECONDS)
    if ready not in log.read_text(errors="replace"):
        raise SetupError(f"bare Celery is not ready:\n{tail(log)}\n", "its message above says what to mend")
