"""Chains of bare Celery: as two prefork children, as threads, as two solo processes."""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING, Final

import redis

from benchmarks.bare_celery import POOLS, environment, workers
from benchmarks.peer_venv import completed
from benchmarks.report import say
from benchmarks.rules.staged import Staged
from benchmarks.workflows.chain_app import ENDED, QUEUE, READY
from benchmarks.workflows.scale import MANY_SECONDS, SINGLE_SECONDS
from core.errors import SetupError

if TYPE_CHECKING:
    from benchmarks.servers import Bench
    from benchmarks.workflows.scale import Scale

_APP: Final = "benchmarks.workflows.chain_app"


class Chains:
    """The same chains, run again and again: their first messages appear in the queue at one instant."""

    def __init__(self, bench: Bench, scale: Scale) -> None:
        self._bench = bench
        self._scale = scale
        self._one = self._published(1)
        self._all = self._published(scale.instances)
        self.single: dict[str, list[float]] = {way: [] for way in POOLS}
        """By pool, the seconds of each chain that ran alone."""
        self.many: dict[str, list[float]] = {way: [] for way in POOLS}
        """By pool, steps per second of all chains at once."""

    def run(self) -> None:
        """Let each pool run one chain some times, and all at once."""
        for way in POOLS:
            self._bench.flush()
            with workers(self._bench, way, _APP, READY), self._client() as client:
                self._seconds(client, self._one, 1, SINGLE_SECONDS)  # each process opens its connection to publish
                self._seconds(client, self._one, 1, SINGLE_SECONDS)
                for _ in range(self._scale.singles):
                    self.single[way].append(self._seconds(client, self._one, 1, SINGLE_SECONDS))
                seconds = self._seconds(client, self._all, self._scale.instances, MANY_SECONDS)
                self.many[way].append(self._scale.total / seconds)
            alone = min(self.single[way][-self._scale.singles :])
            say(f"  bare chains, {way}: one in {alone * 1000:,.0f} ms, all {self.many[way][-1]:,.0f} steps/s")

    def _published(self, count: int) -> Staged:
        self._bench.flush()
        completed([sys.executable, "-m", _APP, str(count), str(self._scale.steps)], environment(self._bench))
        with self._client() as client:
            return Staged.taken(client, QUEUE)

    def _client(self) -> redis.Redis:
        return redis.Redis.from_url(self._bench.broker_url, socket_timeout=2 * MANY_SECONDS)  # it blocks until the end

    def _seconds(self, client: redis.Redis, messages: Staged, count: int, limit: float) -> float:
        """Return the seconds from when the first messages are there to when the last chain is at its end."""
        begun = time.perf_counter()
        messages.release(client)
        for _ in range(count):
            if client.blpop([ENDED], timeout=limit) is None:
                raise SetupError("Celery's chains came to no end", "run the part on a machine that is less busy")
        return time.perf_counter() - begun
