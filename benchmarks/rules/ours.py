"""Our own runs: the Procfile's worker with its two children, and its scheduler where jobs fall due."""

from __future__ import annotations

import time
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import redis

from benchmarks.rules.staged import Staged
from benchmarks.rules.state import UnfinishedError
from benchmarks.schedules import ours as schedules
from dev.fleet import fleet
from models.enums import Queue

if TYPE_CHECKING:
    from collections.abc import Iterator

    from benchmarks.rules.state import State
    from benchmarks.servers import Bench
    from dev.fleet import Fleet
    from dev.site import Site

_SECONDS: Final = 60.0
_LEAD: Final = 1.0
_EVERY: Final = 0.02
"""How often it is asked whether all is done, in seconds: each time takes from those that do it."""


@dataclass(frozen=True, slots=True)
class Published:
    """Messages as a scheduler published them, and under which name their tasks are kept."""

    name: str
    count: int
    """How many rules they evaluate."""
    messages: Staged


def publish(bench: Bench, site: Site, state: State, count: int, *, single: bool = False) -> Published:
    """Let a scheduler dispatch `count` due jobs while no worker runs, in chunks or one by one."""
    name = "single" if single else "chunked"
    try:
        schedules.dispatch(bench, site, state.jobs, count, schedules.SINGLE if single else None)
    except schedules.UnfinishedError as error:
        raise UnfinishedError(str(error)) from error
    state.stage(name)
    with redis.Redis.from_url(bench.broker_url) as client:
        return Published(name, count, Staged.taken(client, Queue.RULES.value))


class Runs:
    """Running workers, and the database that they work on."""

    def __init__(self, bench: Bench, state: State, running: Fleet) -> None:
        self._bench = bench
        self._state = state
        self._running = running

    def evaluate(self, published: Published) -> float:
        """Return rules per second, from when the messages are in the queue to when the last result is committed."""
        self._state.reset(published.name)
        with redis.Redis.from_url(self._bench.broker_url) as client:
            begun = time.time()
            published.messages.release(client)
            ended = self._state.await_evaluated(published.count, begun + _SECONDS, _EVERY)
        if published.count == self._state.shape.total:
            self._state.check()
        return published.count / (ended - begun)

    def pipeline(self) -> float:
        """Return rules per second, from the instant at which all jobs are due to when the last result is committed."""
        if not self._running.schedulers:
            self._running.start("scheduler")
            self._running.await_ready()
        self._state.reset()
        total = self._state.shape.total
        due = self._state.jobs.arm(total, _LEAD)
        ended = self._state.await_evaluated(total, due + _SECONDS, _EVERY)
        self._state.check()
        return total / (ended - due)


@contextmanager
def runs(bench: Bench, site: Site, state: State) -> Iterator[Runs]:
    """Start one worker, which later gets a scheduler beside it; both are stopped at the end."""
    bench.flush()
    with fleet(1, 0, site.full_env(), bench.run / "logs") as running:
        yield Runs(bench, state, running)
