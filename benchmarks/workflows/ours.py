"""Our own runs: the Procfile's worker with its two children, and its scheduler beside it."""

from __future__ import annotations

import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

from benchmarks.conversation import Conversation
from benchmarks.peer_venv import PeerError
from benchmarks.workflows.scale import MANY_SECONDS
from benchmarks.workflows.series import Series
from benchmarks.workflows.state import UnfinishedError
from dev.fleet import fleet

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from benchmarks.servers import Bench
    from benchmarks.workflows.scale import Scale
    from benchmarks.workflows.state import State

_COMMIT_PER_STEP: Final = {"CMIS_WORKFLOW_COMMIT_STEPS": "1"}
_GRACE_SECONDS: Final = 10.0
"""The process itself says sooner how far they came."""
_WARM: Final = 50
"""Instances that both children get some of, two tasks: each child reads the definition once, and keeps it."""
_WARM_SINGLES: Final = 12
"""psycopg prepares a statement when it comes for the sixth time, and either child may get one."""


class Ours:
    """Our runs, one at a time. Raises UnfinishedError where not all of it is done and recorded."""

    def __init__(self, bench: Bench, state: State, scale: Scale) -> None:
        self._bench = bench
        self._state = state
        self._scale = scale
        self.single = Series("ours, one instance", "ms")
        self.many = Series("ours, many at once", "steps/s")
        self.per_step = Series("ours, many at once, a commit for each step", "steps/s")
        self.slow = Series("ours, many at once on a slow disk", "steps/s")

    def run(self) -> None:
        """Run one instance some times, and all at once."""
        with self._running({}) as starter:
            self.single.add([1000 * one for one in self._alone(starter)])
            self.many.add([self._rate(starter)])

    def run_per_step(self) -> None:
        """Run all at once with a commit for each step."""
        with self._running(_COMMIT_PER_STEP) as starter:
            self.per_step.add([self._rate(starter)])

    def run_slow(self) -> None:
        """Run all at once, as the disk is now."""
        with self._running({}) as starter:
            self.slow.add([self._rate(starter)])

    @contextmanager
    def _running(self, settings: Mapping[str, str]) -> Iterator[Conversation]:
        """Start worker and scheduler, and what starts instances; all warm."""
        self._bench.flush()
        self._state.reset()
        env = {**self._bench.site.full_env(), **settings}
        command = [sys.executable, "-m", "benchmarks.workflows.starter", str(self._state.org_id)]
        with (
            fleet(1, 1, env, self._bench.run / "logs"),
            Conversation([*command, str(self._state.template_id)], env, self._bench.run / "starter.log") as starter,
        ):
            starter.greeting()
            self._seconds(starter, _WARM)
            yield starter

    def _alone(self, starter: Conversation) -> list[float]:
        """Run one instance after the other. Emptied tables in between would have every statement planned anew."""
        self._state.reset()
        for _ in range(_WARM_SINGLES):
            self._ask(starter, 1)
        alone = [self._ask(starter, 1) for _ in range(self._scale.singles)]
        self._state.check(_WARM_SINGLES + self._scale.singles)
        return alone

    def _rate(self, starter: Conversation) -> float:
        return self._scale.total / self._seconds(starter, self._scale.instances)

    def _seconds(self, starter: Conversation, count: int) -> float:
        self._state.reset()
        seconds = self._ask(starter, count)
        self._state.check(count)
        return seconds

    @staticmethod
    def _ask(starter: Conversation, count: int) -> float:
        try:
            return float(starter.ask(str(count), MANY_SECONDS + _GRACE_SECONDS)["seconds"])
        except PeerError as error:
            raise UnfinishedError(str(error)) from error
