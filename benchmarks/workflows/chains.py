"""Chains of bare Celery: as two prefork children, as threads, as two solo processes."""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING, Any, Final

import redis

from benchmarks.bare_celery import POOLS, environment, workers
from benchmarks.peer_venv import completed
from benchmarks.rules.staged import Staged
from benchmarks.workflows.chain_app import ENDED, QUEUE, READY
from benchmarks.workflows.scale import MANY_SECONDS, SINGLE_SECONDS
from benchmarks.workflows.series import Series
from core.errors import SetupError

if TYPE_CHECKING:
    from collections.abc import Callable

    from benchmarks.servers import Bench
    from benchmarks.workflows.scale import Scale

_APP: Final = "benchmarks.workflows.chain_app"


class Chains:
    """The same chains, run again and again: their first messages appear in the queue at one instant."""

    def __init__(self, bench: Bench, scale: Scale) -> None:
        self._bench = bench
        self._scale = scale
        self._messages = {count: self._published(count) for count in (1, scale.warm, scale.instances)}
        self.single = {way: Series(f"bare chain, {way}", "ms") for way in POOLS}
        self.many = {way: Series(f"bare chains at once, {way}", "steps/s") for way in POOLS}

    def run(self) -> None:
        """Let each pool run one chain some times, and all at once."""
        for way in POOLS:
            self._bench.flush()
            with workers(self._bench, way, _APP, READY), self._client() as client:
                self._seconds(client, self._scale.warm, MANY_SECONDS)  # each process connects when it first publishes
                alone = [self._seconds(client, 1, SINGLE_SECONDS) for _ in range(self._scale.singles)]
                seconds = self._seconds(client, self._scale.instances, MANY_SECONDS)
            self.single[way].add([1000 * one for one in alone])
            self.many[way].add([self._scale.total / seconds])

    def best_single(self) -> tuple[Series, dict[str, Any]]:
        """Return the pool's series whose chain alone took the shortest time, and what is to be told of all."""
        return best(self.single, min)

    def best_many(self) -> tuple[Series, dict[str, Any]]:
        """Return the pool's series that took most steps a second, and what is to be told of all."""
        return best(self.many, max)

    def _published(self, count: int) -> Staged:
        self._bench.flush()
        completed([sys.executable, "-m", _APP, str(count), str(self._scale.steps)], environment(self._bench))
        with self._client() as client:
            return Staged.taken(client, QUEUE)

    def _client(self) -> redis.Redis:
        return redis.Redis.from_url(self._bench.broker_url, socket_timeout=2 * MANY_SECONDS)  # it waits for the end

    def _seconds(self, client: redis.Redis, count: int, limit: float) -> float:
        """Return the seconds from when the first messages are there to when the last chain is at its end."""
        begun = time.perf_counter()
        self._messages[count].release(client)
        for _ in range(count):
            if client.blpop([ENDED], timeout=limit) is None:
                raise SetupError("Celery's chains came to no end", "run the part on a machine that is less busy")
        return time.perf_counter() - begun


def best(by_pool: dict[str, Series], choose: Callable[..., str]) -> tuple[Series, dict[str, Any]]:
    """Return the series with the least (`min`) or greatest (`max`) median, and what is to be told of all pools."""
    way = choose(by_pool, key=lambda way: by_pool[way].median)
    return by_pool[way], {"baseline_pool": way, "baseline_pools": {way: one.runs for way, one in by_pool.items()}}
