"""Servers of the benchmarks' own: PostgreSQL, everything durable, and Valkey. What the user named is not touched."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from dev import apart
from dev.databases import temporary_database
from dev.site import ROOT

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from dev.provider import Servers
    from dev.site import Site

PLACE: Final = ROOT / ".bench"


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


@contextmanager
def own_servers(*, quick: bool) -> Iterator[Bench]:
    """Start them for one benchmark at a time, and remove everything at the end. Raises SetupError if one runs."""
    with apart.own_servers(PLACE, "benchmark") as made:
        yield Bench(made, quick, PLACE / apart.DATA)
