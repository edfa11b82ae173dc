"""The rows of this part, in the order in which they are measured."""

from __future__ import annotations

import json
import statistics
import sys
from contextlib import closing
from typing import TYPE_CHECKING, Final

from benchmarks.peer_venv import completed
from benchmarks.report import say
from benchmarks.rows import Row
from benchmarks.schedules import against_redbeat, claim, ours, peers
from benchmarks.schedules.arm import Jobs
from benchmarks.schedules.load import load
from benchmarks.schedules.ours import UnfinishedError
from benchmarks.schedules.scale import FULL, QUICK, Scale

if TYPE_CHECKING:
    from benchmarks.schedules.peers import Result
    from benchmarks.servers import Bench
    from dev.site import Site

_PAST: Final = -60.0
"""A lead that makes jobs due a minute ago."""
_MIB: Final = 2**20


def measure(bench: Bench) -> list[Row]:
    """Measure every row. Raises SetupError where we ourselves do not do what is measured."""
    scale = QUICK if bench.quick else FULL
    with bench.made.clone() as small_site:
        say(f"storing {scale.stored:,} jobs, and {scale.few:,} in another database")
        load(small_site.urls.migration, stored=scale.few, due=scale.due_small)
        load(bench.administrator, stored=scale.stored, due=scale.due)
        with closing(Jobs(bench.administrator)) as big, closing(Jobs(small_site.urls.migration)) as small:
            rows = against_redbeat.measure(bench, scale, big)
            rows.append(_idle_tick(bench.site, small_site, big, small, scale))
            rows.append(_memory(bench, small_site, big, small, scale))
            rows.append(_claim(bench.site, big, scale))
        rows.extend(_information(bench, scale))
    return rows


def _runs(values: list[float], baselines: list[float]) -> dict[str, list[float]]:
    return {"runs": values, "baseline_runs": baselines}


def _idle_tick(site: Site, small_site: Site, big: Jobs, small: Jobs, scale: Scale) -> Row:
    big.reset()
    small.reset()
    many: list[float] = []
    few: list[float] = []
    for _ in range(scale.runs):
        many.append(_idle_seconds(site, scale))
        few.append(_idle_seconds(small_site, scale))
    return Row(
        name="schedules.idle_tick",
        unit="s",
        better="lower",
        value=statistics.median(many),
        baseline=statistics.median(few),
        target=1.5,
        details={"stored": scale.stored, "baseline_stored": scale.few, "passes": scale.passes, **_runs(many, few)},
    )


def _idle_seconds(site: Site, scale: Scale) -> float:
    command = [sys.executable, "-m", "benchmarks.schedules.idle", str(scale.passes)]
    return float(json.loads(completed([*command], site.full_env()))["seconds"])


def _memory(bench: Bench, small_site: Site, big: Jobs, small: Jobs, scale: Scale) -> Row:
    many: list[float] = []
    few: list[float] = []
    reason = None
    try:
        for _ in range(scale.runs):
            many.append(ours.dispatch(bench, bench.site, big, scale.due_small).memory / _MIB)
            few.append(ours.dispatch(bench, small_site, small, scale.due_small).memory / _MIB)
    except UnfinishedError as error:
        reason = f"we ourselves failed: {error}"
    return Row(
        name="schedules.memory",
        unit="MiB",
        better="lower",
        value=None if reason else statistics.median(many),
        baseline=None if reason else statistics.median(few),
        target=1.2,
        reason=reason,
        details={"stored": scale.stored, "baseline_stored": scale.few, "due": scale.due_small, **_runs(many, few)},
    )


def _claim(site: Site, big: Jobs, scale: Scale) -> Row:
    big.reset()
    big.arm(scale.due, _PAST)
    found = [claim.measure(site, scale.claims) for _ in range(scale.runs)]
    through, bare = [one.ours for one in found], [one.bare for one in found]
    return Row(
        name="schedules.claim",
        unit="jobs/s",
        better="higher",
        value=statistics.median(through),
        baseline=statistics.median(bare),
        target=0.5,
        details={"stored": scale.stored, "due": scale.due, **_runs(through, bare)},
    )


def _information(bench: Bench, scale: Scale) -> list[Row]:
    with bench.empty_database() as database:
        trials = {
            "schedules.beat_burst": peers.beat(bench, scale),
            "schedules.django_beat_burst": peers.django_beat(bench, scale, database),
        }
        for _ in range(scale.runs):
            for trial in trials.values():
                trial.run()
    return [_peers_row(name, trial.result()) for name, trial in trials.items()]


def _peers_row(name: str, result: Result) -> Row:
    return Row(
        name=name,
        unit="jobs/s",
        better="higher",
        value=result.rate,
        reason=result.reason,
        details=result.details,
    )
