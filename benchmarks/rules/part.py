"""The rows of this part, in the order in which they are measured."""

from __future__ import annotations

import statistics
from typing import TYPE_CHECKING, Any

from benchmarks.rows import Row
from benchmarks.rules import ours
from benchmarks.rules.figures import Figures, Subject, by_entity, subject
from benchmarks.rules.noops import Noops
from benchmarks.rules.scale import FULL, QUICK, Scale
from benchmarks.rules.state import UnfinishedError
from benchmarks.slow_disk import slow_disk
from core.errors import SetupError

if TYPE_CHECKING:
    from benchmarks.servers import Bench


def measure(bench: Bench) -> list[Row]:
    """Measure every row. Raises SetupError where we ourselves do not do what is measured."""
    scale = QUICK if bench.quick else FULL
    try:
        return _measure(bench, scale)
    except UnfinishedError as error:
        raise SetupError(f"we ourselves failed: {error}", "run the part again, alone on the machine") from error


def _measure(bench: Bench, scale: Scale) -> list[Row]:
    with bench.made.clone() as other, bench.made.clone() as wide:
        noops = Noops(bench, scale.noops)
        with subject(bench, bench.site, scale.large_orgs) as large:
            _compare(large, noops, scale)
            flushed = _flushed(large, scale)
        with subject(bench, other, scale.many_orgs) as many:
            many.through_celery(scale.repeats)
        pairs = by_entity(wide, scale)
    best = max(noops.runs, key=lambda pool: statistics.median(noops.runs[pool]))
    baseline = _Baseline(statistics.median(noops.runs[best]), {"baseline_pool": best, "baseline_runs": noops.runs})
    return [
        *_rows(large.figures, baseline, scale),
        _beside("rules.entities", pairs, "entities", "naive", 5.0, _pairs(scale), unit="pairs/s"),
        baseline.row("rules.pipeline_1000_orgs", many.figures, "pipeline"),
        baseline.row("rules.evaluate_1000_orgs", many.figures, "evaluate"),
        baseline.row("rules.pipeline_2ms_flush", flushed, "pipeline"),
        baseline.row("rules.evaluate_2ms_flush", flushed, "evaluate"),
    ]


def _compare(large: Subject, noops: Noops, scale: Scale) -> None:
    single = ours.publish(large.bench, large.site, large.state, scale.single, single=True)
    recorded = large.bare()
    for _ in range(scale.rounds):
        noops.run()
        large.through_celery(scale.repeats, single=single)
        large.by_bare_sql(recorded, scale.repeats)


def _flushed(large: Subject, scale: Scale) -> Figures:
    """Measure the same where each commit waits two milliseconds longer for the disk."""
    slow = Subject(large.bench, large.site, large.state, Figures(), large.chunked)
    with slow_disk(large.site.urls.migration):
        slow.through_celery(scale.repeats)
    return slow.figures


class _Baseline:
    """Bare Celery's best pool."""

    def __init__(self, rate: float, details: dict[str, Any]) -> None:
        self._rate = rate
        self._details = details

    def row(self, name: str, figures: Figures, kind: str, target: float | None = None) -> Row:
        """Return the row of rules per second beside no-ops per second."""
        return Row(
            name=name,
            unit="rules/s",
            better="higher",
            value=figures.median(kind),
            baseline=self._rate,
            target=target,
            details={"runs": figures.runs[kind], "cold_runs": figures.runs["cold"], **self._details},
        )


def _rows(figures: Figures, baseline: _Baseline, scale: Scale) -> list[Row]:
    return [
        baseline.row("rules.pipeline", figures, "pipeline", 3.0),
        baseline.row("rules.evaluate", figures, "evaluate", 6.0),
        _beside("rules.vs_single", figures, "evaluate", "single", 15.0, {"single_rules": scale.single}),
        _beside("rules.vs_sql", figures, "evaluate", "bare SQL", 0.3, {"rules": scale.large_orgs.total}),
    ]


def _pairs(scale: Scale) -> dict[str, Any]:
    return {"campaigns": scale.wide.rules, "rules": scale.wide_rules}


def _beside(
    name: str,
    figures: Figures,
    kind: str,
    other: str,
    target: float,
    details: dict[str, Any],
    unit: str = "rules/s",
) -> Row:
    return Row(
        name=name,
        unit=unit,
        better="higher",
        value=figures.median(kind),
        baseline=figures.median(other),
        target=target,
        details={"runs": figures.runs[kind], "baseline_runs": figures.runs[other], **details},
    )
