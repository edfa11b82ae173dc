"""Rows of a burst: ours, out of a million stored jobs, beside RedBeat's, out of as many as are due."""

from __future__ import annotations

import statistics
from dataclasses import dataclass
from typing import TYPE_CHECKING

from benchmarks.report import say
from benchmarks.rows import Row
from benchmarks.schedules import ours, peers
from benchmarks.schedules.ours import UnfinishedError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from benchmarks.schedules.arm import Jobs
    from benchmarks.schedules.ours import Dispatched
    from benchmarks.schedules.peers import Result
    from benchmarks.schedules.scale import Scale
    from benchmarks.servers import Bench


@dataclass(frozen=True, slots=True)
class _Bursts:
    """Our runs; none, and why, where one of them did not do all of it."""

    runs: list[Dispatched]
    reason: str | None = None


def measure(bench: Bench, scale: Scale, big: Jobs) -> list[Row]:
    """Measure our bursts on the big database, in chunks and one message per job, and RedBeat's."""
    chunked = _bursts(bench, scale, big, "chunks", {})
    single = _bursts(bench, scale, big, "one message per job", ours.SINGLE)
    if single.runs and (fewest := min(one.messages for one in single.runs)) < scale.due:
        single = _Bursts([], f"{fewest} messages for {scale.due} jobs are not one each")
    redbeat = peers.redbeat(bench, scale)
    return [
        _row("schedules.dispatch", chunked, redbeat, scale, target=8.0),
        _row("schedules.dispatch_single", single, redbeat, scale, target=3.0),
        _lateness_row("schedules.lateness_p99", chunked, redbeat, scale, target=0.15),
    ]


def _bursts(bench: Bench, scale: Scale, big: Jobs, how: str, settings: Mapping[str, str]) -> _Bursts:
    found: list[Dispatched] = []
    for number in range(scale.bursts):
        try:
            one = ours.dispatch(bench, bench.site, big, scale.due, settings)
        except UnfinishedError as error:
            return _Bursts([], f"we ourselves failed: {error}")
        found.append(one)
        say(f"  ours, {how}, run {number + 1}: {one.burst.rate:,.0f}/s in {one.messages} messages")
    return _Bursts(found)


def _row(name: str, found: _Bursts, redbeat: Result, scale: Scale, target: float) -> Row:
    rates = [one.burst.rate for one in found.runs]
    messages = {"messages": [one.messages for one in found.runs]}
    return Row(
        name=name,
        unit="jobs/s",
        better="higher",
        value=statistics.median(rates) if rates else None,
        baseline=redbeat.rate,
        target=target,
        reason=found.reason or redbeat.reason,
        details=_sizes(scale) | {"runs": rates} | messages | redbeat.details,
    )


def _lateness_row(name: str, found: _Bursts, redbeat: Result, scale: Scale, target: float) -> Row:
    late = [one.burst.p99 for one in found.runs]
    return Row(
        name=name,
        unit="s",
        better="lower",
        value=statistics.median(late) if late else None,
        baseline=redbeat.p99,
        target=target,
        reason=found.reason or redbeat.reason,
        details=_sizes(scale) | {"runs": late} | redbeat.details,
    )


def _sizes(scale: Scale) -> dict[str, int]:
    return {"stored": scale.stored, "due": scale.due}
