"""The rows of this part, in the order in which they are measured."""

from __future__ import annotations

import json
import statistics
import sys
from contextlib import closing
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from benchmarks.peer_venv import completed
from benchmarks.report import say
from benchmarks.rows import Row
from benchmarks.schedules import claim, ours, peers
from benchmarks.schedules.arm import Jobs
from benchmarks.schedules.load import load
from benchmarks.schedules.scale import FULL, QUICK, Scale

if TYPE_CHECKING:
    from collections.abc import Mapping

    from benchmarks.schedules.ours import Dispatched
    from benchmarks.schedules.peers import Result
    from benchmarks.servers import Bench
    from dev.site import Site

_PAST: Final = -60.0
"""A lead that makes jobs due a minute ago."""


def measure(bench: Bench) -> list[Row]:
    """Measure every row. Raises SetupError where we ourselves do not do what is measured."""
    scale = QUICK if bench.quick else FULL
    with bench.made.clone() as small_site:
        say(f"storing {scale.stored:,} jobs, and {scale.few:,} in another database")
        load(small_site.urls.migration, stored=scale.few, due=scale.due_small)
        load(bench.administrator, stored=scale.stored, due=scale.due)
        with closing(Jobs(bench.administrator)) as big, closing(Jobs(small_site.urls.migration)) as small:
            rows = _against_redbeat(bench, scale, big)
            rows.append(_idle_tick(bench.site, small_site, big, small, scale))
            rows.append(_memory(bench, small_site, big, small, scale))
            rows.append(_claim(bench.site, big, scale))
        rows.extend(_information(bench, scale))
    return rows


def _against_redbeat(bench: Bench, scale: Scale, big: Jobs) -> list[Row]:
    chunked = _bursts(bench, scale, big, "chunks", {})
    single = _bursts(bench, scale, big, "one message per job", ours.SINGLE)
    redbeat = peers.redbeat(bench, scale)
    rows = [
        _rate("schedules.dispatch", chunked, redbeat, scale, target=8.0),
        _rate("schedules.dispatch_single", single, redbeat, scale, target=3.0),
        Row(
            name="schedules.lateness_p99",
            unit="s",
            better="lower",
            value=statistics.median(one.burst.p99 for one in chunked),
            baseline=redbeat.p99,
            target=0.15,
            reason=redbeat.reason,
            details=_sizes(scale) | {"runs": [one.burst.p99 for one in chunked]} | redbeat.details,
        ),
    ]
    if (most := min(one.messages for one in single)) < scale.due:
        rows[1] = replace(rows[1], value=None, reason=f"{most} messages for {scale.due} jobs are not one each")
    return rows


def _bursts(bench: Bench, scale: Scale, big: Jobs, how: str, settings: Mapping[str, str]) -> list[Dispatched]:
    found = []
    for number in range(scale.bursts):
        found.append(ours.dispatch(bench, bench.site, big, scale.due, settings))
        one = found[-1]
        say(f"  ours, {how}, run {number + 1}: {one.burst.rate:,.0f}/s in {one.messages} messages")
    return found


def _rate(name: str, found: list[Dispatched], redbeat: Result, scale: Scale, target: float) -> Row:
    rates = [one.burst.rate for one in found]
    return Row(
        name=name,
        unit="jobs/s",
        better="higher",
        value=statistics.median(rates),
        baseline=redbeat.rate,
        target=target,
        reason=redbeat.reason,
        details=_sizes(scale) | {"runs": rates, "messages": [one.messages for one in found]} | redbeat.details,
    )


def _sizes(scale: Scale) -> dict[str, int]:
    return {"stored": scale.stored, "due": scale.due}


def _runs(values: list[float], baselines: list[float]) -> dict[str, list[float]]:
    return {"runs": values, "baseline_runs": baselines}


def _idle_tick(site: Site, small_site: Site, big: Jobs, small: Jobs, scale: Scale) -> Row:
    big.reset()
    small.reset()
    many = [_idle_seconds(site, scale) for _ in range(scale.runs)]
    few = [_idle_seconds(small_site, scale) for _ in range(scale.runs)]
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
    many, few = (
        [ours.dispatch(bench, site, jobs, scale.due_small).memory / 2**20 for _ in range(scale.runs)]
        for site, jobs in ((bench.site, big), (small_site, small))
    )
    return Row(
        name="schedules.memory",
        unit="MiB",
        better="lower",
        value=statistics.median(many),
        baseline=statistics.median(few),
        target=1.2,
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
        details=_sizes(scale) | _runs(through, bare),
    )


def _information(bench: Bench, scale: Scale) -> list[Row]:
    found = {"schedules.beat_burst": peers.beat, "schedules.django_beat_burst": peers.django_beat}
    rows = []
    for name, run in found.items():
        result = run(bench, scale)
        rows.append(
            Row(
                name=name,
                unit="jobs/s",
                better="higher",
                value=result.rate,
                reason=result.reason,
                details=result.details,
            )
        )
    return rows
