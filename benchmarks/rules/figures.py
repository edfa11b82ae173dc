"""The figures of one shape's database, round by round, and the rows that they make."""

from __future__ import annotations

import statistics
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from benchmarks.report import say
from benchmarks.rules import bare, entities, ours
from benchmarks.rules.load import load
from benchmarks.rules.state import State

if TYPE_CHECKING:
    from collections.abc import Iterator

    from benchmarks.rules.bare import Bare
    from benchmarks.rules.ours import Published
    from benchmarks.rules.scale import Scale, Shape
    from benchmarks.servers import Bench
    from dev.site import Site

_WARM: Final = 5
"""Runs before the clock counts: a child reads a rule's definition when it first meets it, and keeps it. Each of the two
meets about half of the rules that are new to it in a run, so that one in thirty is left."""


@dataclass(slots=True)
class Figures:
    """Each kind's runs, in rules (pairs) per second."""

    runs: dict[str, list[float]] = field(default_factory=dict)

    def add(self, kind: str, rate: float) -> None:
        """Note a run."""
        self.runs.setdefault(kind, []).append(rate)
        say(f"  {kind}: {rate:,.0f}/s")

    def median(self, kind: str) -> float:
        """Return the median of a kind's runs."""
        return statistics.median(self.runs[kind])


@dataclass(frozen=True, slots=True)
class Subject:
    """A loaded database, and its work as a scheduler published it."""

    bench: Bench
    site: Site
    state: State
    figures: Figures
    chunked: Published

    def through_celery(self, repeats: int, *, single: Published | None = None) -> None:
        """Measure what workers do with published messages, and scheduler and workers with due jobs."""
        with ours.runs(self.bench, self.site, self.state) as running:
            for number in range(_WARM):
                self.figures.add("warming up" if number else "cold", running.evaluate(self.chunked))
            for _ in range(repeats):
                self.figures.add("evaluate", running.evaluate(self.chunked))
            if single is not None:
                self.figures.add("single", running.evaluate(single))
            for _ in range(repeats):
                self.figures.add("pipeline", running.pipeline())

    def bare(self) -> Bare:
        """Record the SQL of all published tasks, by a process that knows the rules' definitions, as workers soon do."""
        for _ in range(2):
            self.state.reset(self.chunked.name)
            scripts = bare.record(self.site, self.state.tasks(self.chunked.name))
            self.state.check()
        return bare.Bare(self.site, self.bench.run, scripts)

    def by_bare_sql(self, recorded: Bare, repeats: int) -> None:
        """Measure the SQL alone."""
        for _ in range(repeats):
            self.state.reset(self.chunked.name)
            seconds = recorded.seconds()
            self.state.check()
            self.figures.add("bare SQL", self.state.shape.total / seconds)


def by_entity(site: Site, scale: Scale) -> Figures:
    """Load an org, and measure rules that are about all of its campaigns."""
    load(site.urls.migration, scale.wide)
    pairs, figures = entities.read(site, scale.wide_rules), Figures()
    for _ in range(scale.rounds * scale.repeats):
        figures.add("entities", entities.ours(pairs))
        figures.add("naive", entities.naive(pairs))
    return figures


@contextmanager
def subject(bench: Bench, site: Site, shape: Shape) -> Iterator[Subject]:
    """Load a database of this shape and have its work published."""
    say(f"storing {shape.orgs:,} orgs of {shape.rules:,} rules")
    load(site.urls.migration, shape)
    with closing(State(site.urls.migration, shape)) as state:
        yield Subject(bench, site, state, Figures(), ours.publish(bench, site, state, shape.total))
