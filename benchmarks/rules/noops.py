"""Messages per second that workers of bare Celery drain: as two prefork children, as threads, as two solo processes."""

from __future__ import annotations

import os
import signal
import sys
import time
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any, Final

import redis

from benchmarks.peer_venv import completed
from benchmarks.report import say
from benchmarks.rules.noop_app import QUEUE, READY
from benchmarks.rules.staged import Staged
from benchmarks.watch import Watch
from core.errors import SetupError
from dev.launch import has_ended, spawn, stop, tail, wait_until
from dev.site import ROOT

if TYPE_CHECKING:
    from pathlib import Path

    from benchmarks.servers import Bench

POOLS: Final = {"prefork": ("prefork", "2", 1), "threads": ("threads", "2", 1), "solo": ("solo", "1", 2)}
"""Each way to use two cores: the pool, its concurrency, and how many workers."""
_READY_SECONDS: Final = 60.0
_DRAIN_SECONDS: Final = 60.0
_STOP_SECONDS: Final = 10.0


class Noops:
    """The same messages, drained again and again."""

    def __init__(self, bench: Bench, count: int) -> None:
        self._bench = bench
        self._count = count
        self._env = _environment(bench)
        bench.flush()
        completed([sys.executable, "-m", "benchmarks.rules.noop_app", str(count)], self._env)
        with redis.Redis.from_url(bench.broker_url) as client:
            self._messages = Staged.taken(client, QUEUE)
        self.runs: dict[str, list[float]] = {name: [] for name in POOLS}

    def run(self) -> None:
        """Let each pool drain them once more."""
        for name, (pool, concurrency, workers) in POOLS.items():
            self._bench.flush()
            arguments = [f"--pool={pool}", f"--concurrency={concurrency}"]
            with ExitStack() as stack, redis.Redis.from_url(self._bench.broker_url) as client:
                logs = [self._start(stack, f"{name}{number}", arguments) for number in range(workers)]
                for log in logs:
                    _await_ready(log)
                self.runs[name].append(self._drain(client))
            say(f"  bare Celery, {name}: {self.runs[name][-1]:,.0f}/s")

    def _start(self, stack: ExitStack, name: str, arguments: list[str]) -> tuple[Any, Path]:
        log = self._bench.run / f"{name}.log"
        quiet = ["--loglevel=WARNING", "--without-gossip", "--without-mingle", "--without-heartbeat"]
        command = [sys.executable, "-m", "celery", "-A", "benchmarks.rules.noop_app", "worker", f"--hostname={name}@%h"]
        with log.open("wb") as output:
            process = spawn([*command, *arguments, *quiet], output=output, env=self._env, cwd=ROOT)
        stack.callback(stop, process, signal.SIGTERM, _STOP_SECONDS)
        return process, log

    def _drain(self, client: redis.Redis) -> float:
        """Return messages per second, from when all are there to when the last is taken."""
        watch = Watch(client, QUEUE)
        begun = time.time()
        self._messages.release(client)
        if not watch.until(lambda: not watch.messages, begun + _DRAIN_SECONDS):
            raise SetupError("bare Celery did not drain its queue", "run the part on a machine that is less busy")
        return self._count / (time.time() - begun)


def _environment(bench: Bench) -> dict[str, str]:
    kept = {name: os.environ[name] for name in ("PATH", "HOME", "LANG", "TMPDIR") if name in os.environ}
    return kept | {"CELERY_BROKER_URL": bench.broker_url, "PYTHONPATH": str(ROOT)}


def _await_ready(started: tuple[Any, Path]) -> None:
    process, log = started
    wait_until(lambda: READY in log.read_text(errors="replace") or has_ended(process), _READY_SECONDS)
    if READY not in log.read_text(errors="replace"):
        raise SetupError(f"bare Celery is not ready:\n{tail(log)}\n", "its message above says what to mend")
