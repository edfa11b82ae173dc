"""A Flower beside a fleet, and what its interface says."""

from __future__ import annotations

import base64
import signal
import urllib.error
import urllib.request
from contextlib import contextmanager
from typing import TYPE_CHECKING

from dev.launch import spawn, stop, wait_until
from dev.processes import shell
from dev.procfile import read_procfile
from dev.site import ROOT, free_port

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

_USER = "flower:secret"


@contextmanager
def watching(env: Mapping[str, str], logs: Path) -> Iterator[Callable[[str], str]]:
    """Run Flower until the block ends; gives what returns a part of its interface (`tasks`, `workers`) as text."""
    port = free_port()
    settings = {**env, "FLOWER_PORT": str(port), "FLOWER_BASIC_AUTH": _USER}
    log = logs / "flower.log"
    with log.open("wb") as output:
        process = spawn(shell(read_procfile(ROOT)["flower"]), output=output, env=settings, cwd=ROOT)
        try:
            assert wait_until(lambda: len(_asked(port, "workers")) > len("{}"), 60), log.read_text()
            yield lambda what: _asked(port, what)
        finally:
            stop(process, signal.SIGTERM, 10)


def _asked(port: int, what: str) -> str:
    authorization = f"Basic {base64.b64encode(_USER.encode()).decode()}"
    request = urllib.request.Request(f"http://127.0.0.1:{port}/api/{what}", headers={"Authorization": authorization})
    try:
        with urllib.request.urlopen(request, timeout=5) as answer:  # noqa: S310 - the same
            found: str = answer.read().decode()
            return found
    except (urllib.error.URLError, ConnectionError, TimeoutError):
        return ""
