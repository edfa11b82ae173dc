"""Rows of a burst: ours, out of a million stored jobs, beside RedBeat's, out of as many as are due."""

from __future__ import annotations

import statistics
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


class _Trial:
    """Our runs, one at a time; none, and why, where one of them did not do all of it."""

    def __init__(self, bench: Bench, jobs: Jobs, due: int, how: str, settings: Mapping[str, str]) -> None:
        self._bench = bench
        self._jobs = jobs
        self._due = due
        self._how = how
        self._settings = settings
        self.runs: list[Dispatched] = []
        self.reason: str | None = None

    def run(self) -> None:
        """Run it once more, unless it failed before."""
        if self.reason is not None:
            return
        try:
            one = ours.dispatch(self._bench, self._bench.site, self._jobs, self._due, self._settings)
        except UnfinishedError as error:
            self.fail(f"we ourselves failed: {error}")
            return
        self.runs.append(one)
        say(f"  ours, {self._how}, run {len(self.runs)}: {one.burst.rate:,.0f}/s in {one.messages:,} messages")

    def fail(self, reason: str) -> None:
        """Take back every figure."""
        self.runs.clear()
        self.reason = reason


def measure(bench: Bench, scale: Scale, big: Jobs) -> list[Row]:
    """Measure our bursts on the big database, in chunks and one message per job, and RedBeat's, in turn."""
    chunked = _Trial(bench, big, scale.due, "chunks", {})
    single = _Trial(bench, big, scale.due, "one message per job", ours.SINGLE)
    redbeat = peers.redbeat(bench, scale)
    for _ in range(scale.runs):
        for trial in (chunked, single, redbeat):
            trial.run()
    if single.runs and (fewest := min(one.messages for one in single.runs)) < scale.due:
        single.fail(f"{fewest} messages for {scale.due} jobs are not one each")
    result = redbeat.result()
    return [
        _row("schedules.dispatch", chunked, result, scale, target=8.0),
        _row("schedules.dispatch_single", single, result, scale, target=3.0),
        _lateness_row("schedules.lateness_p99", chunked, result, scale, target=0.15),
    ]


def _row(name: str, found: _Trial, redbeat: Result, scale: Scale, target: float) -> Row:
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


def _lateness_row(name: str, found: _Trial, redbeat: Result, scale: Scale, target: float) -> Row:
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
