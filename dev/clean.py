"""`make clean`: end what runs on a data directory of `make up`, and remove it.

Run as `python -m dev.clean DIRECTORY`. Standard library only, so that it works when the venv is broken or gone.
"""

from __future__ import annotations

import os
import shutil
import signal
import sys
from contextlib import suppress
from pathlib import Path

from dev.launch import is_running, wait_until
from dev.postgres import stop_leftover
from dev.postgres_account import choose_account, reachable_data
from dev.rundir import lock_file

_OWNER_SECONDS = 40.0


def clean(data: Path) -> None:
    """End the owner of `data` in good order, then a server that outlived its owner, then remove `data`."""
    if not data.exists():
        return
    lock = lock_file(data / "owner.lock")
    if lock is None:
        _end_owner(int((data / "owner.lock").read_text(encoding="ascii")))
    else:
        lock.close()
    cluster = reachable_data(choose_account(), data / "postgres")
    stop_leftover(cluster)
    shutil.rmtree(data, ignore_errors=True)
    if cluster.parent != data:
        shutil.rmtree(cluster.parent, ignore_errors=True)


def _end_owner(pid: int) -> None:
    with suppress(ProcessLookupError):
        os.kill(pid, signal.SIGTERM)
    wait_until(lambda: not is_running(pid), _OWNER_SECONDS)


if __name__ == "__main__":
    clean(Path(sys.argv[1]).resolve())
