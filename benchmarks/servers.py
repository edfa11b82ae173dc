"""Servers of the benchmarks' own: PostgreSQL, everything durable, and Valkey. What the user named is not touched."""

from __future__ import annotations

import os
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from core.errors import SetupError
from dev.clean import clean
from dev.databases import temporary_database
from dev.provider import servers
from dev.rundir import lock_file
from dev.site import ROOT

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from dev.provider import Servers
    from dev.site import Site

PLACE: Final = ROOT / ".bench"
"""On the checkout's disk and not in the system's temporary directory, which may be memory: fsync must cost."""
_OURS: Final = ("DATABASE_URL", "SCHEDULER_DATABASE_URL", "READONLY_DATABASE_URL", "MIGRATION_DATABASE_URL")


@dataclass(frozen=True)
class Bench:
    """What a part has: a migrated database and a broker, and whether small numbers will do (`quick`)."""

    made: Servers
    quick: bool
    data: Path

    @property
    def site(self) -> Site:
        """The database and the broker as the product's environment."""
        return self.made.site

    @property
    def administrator(self) -> str:
        """The administrator's URL on the database."""
        return self.site.urls.migration

    @property
    def broker_url(self) -> str:
        """The broker's URL."""
        return self.site.broker_url

    @property
    def run(self) -> Path:
        """A directory for logs and small files, gone at the end."""
        return self.made.run

    def flush(self) -> None:
        """Empty the broker."""
        if self.made.valkey is not None:
            self.made.valkey.flush()

    @contextmanager
    def empty_database(self) -> Iterator[str]:
        """Make a database without any schema on the same server; yields its URL."""
        elsewhere = self.made.template.administrator
        with temporary_database("the embedded server", elsewhere) as name:
            yield self.site.urls.on(name).migration


def ignored() -> list[str]:
    """Return the variables of the environment that a benchmark does not use: a set-up of the user's own."""
    return sorted(name for name in os.environ if _is_ours(name))


def _is_ours(name: str) -> bool:
    return name in _OURS or name.startswith(("BROKER_", "CMIS_"))


@contextmanager
def own_servers(*, quick: bool) -> Iterator[Bench]:
    """Start them for one benchmark at a time, and remove everything at the end. Raises SetupError if one runs."""
    PLACE.mkdir(exist_ok=True)
    lock = lock_file(PLACE / "bench.lock")
    if lock is None:
        owner = (PLACE / "bench.lock").read_text(encoding="ascii")
        raise SetupError(f"another benchmark runs here (process {owner})", "wait for its end")
    data = PLACE / "data"
    environ = {name: value for name, value in os.environ.items() if not _is_ours(name)}
    with lock:
        clean(data)  # what a killed benchmark left
        try:
            with servers(throwaway=False, data=data, environ=environ) as made:
                yield Bench(made, quick, data)
        finally:
            clean(data)
