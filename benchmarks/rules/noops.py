"""Messages per second that workers of bare Celery drain: as two prefork children, as threads, as two solo processes."""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING, Final

import redis

from benchmarks.bare_celery import POOLS, environment, workers
from benchmarks.peer_venv import completed
from benchmarks.report import say
from benchmarks.rules.noop_app import QUEUE, READY
from benchmarks.rules.staged import Staged
from benchmarks.watch import Watch
from core.errors import SetupError

if TYPE_CHECKING:
    from benchmarks.servers import Bench

_APP: Final = "benchmarks.rules.noop_app"
_DRAIN_SECONDS: Final = 60.0


class Noops:
    """The same messages, drained again and again."""

    def __init__(self, bench: Bench, count: int) -> None:
        self._bench = bench
        self._count = count
        bench.flush()
        completed([sys.executable, "-m", _APP, str(count)], environment(bench))
        with redis.Redis.from_url(bench.broker_url) as client:
            self._messages = Staged.taken(client, QUEUE)
        self.runs: dict[str, list[float]] = {name: [] for name in POOLS}

    def run(self) -> None:
        """Let each pool drain them once more."""
        for name in POOLS:
            self._bench.flush()
            with (
                workers(self._bench, name, _APP, READY),
                redis.Redis.from_url(self._bench.broker_url) as client,
            ):
                self.runs[name].append(self._drain(client))
            say(f"  bare Celery, {name}: {self.runs[name][-1]:,.0f}/s")

    def _drain(self, client: redis.Redis) -> float:
        """Return messages per second, from when all are there to when the last is taken."""
        watch = Watch(client, QUEUE)
        begun = time.time()
        self._messages.release(client)
        if not watch.until(lambda: not watch.messages, begun + _DRAIN_SECONDS):
            raise SetupError("bare Celery did not drain its queue", "run the part on a machine that is less busy")
        return self._count / (time.time() - begun)
