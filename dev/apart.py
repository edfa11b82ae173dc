"""Servers of a run's own, PostgreSQL with everything durable, and Valkey: what the user named is not touched."""

from __future__ import annotations

import os
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

from core.errors import SetupError
from dev.clean import clean
from dev.provider import servers
from dev.rundir import lock_file

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from dev.provider import Servers

DATA: Final = "data"
"""What the database's directory is called in a run's place."""
_OURS: Final = ("DATABASE_URL", "SCHEDULER_DATABASE_URL", "READONLY_DATABASE_URL", "MIGRATION_DATABASE_URL")


def ignored() -> list[str]:
    """Return the variables of the environment that such a run does not use: a set-up of the user's own."""
    return sorted(name for name in os.environ if _is_ours(name))


def _is_ours(name: str) -> bool:
    return name in _OURS or name.startswith(("BROKER_", "CMIS_"))


@contextmanager
def own_servers(place: Path, what: str) -> Iterator[Servers]:
    """Start them in `place` for one run at a time, and remove their data at the end.

    `place` is to be on the checkout's disk and not in the system's temporary directory, which may be memory: fsync must
    cost. Raises SetupError if another run (`what` it is called) holds `place`.
    """
    place.mkdir(exist_ok=True)
    lock = lock_file(place / "owner.lock")
    if lock is None:
        owner = (place / "owner.lock").read_text(encoding="ascii")
        raise SetupError(f"another {what} runs here (process {owner})", "wait for its end")
    data = place / DATA
    environ = {name: value for name, value in os.environ.items() if not _is_ours(name)}
    with lock:
        clean(data)  # what a killed run left
        try:
            with servers(throwaway=False, data=data, environ=environ) as made:
                yield made
        finally:
            clean(data)
