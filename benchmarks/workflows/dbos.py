"""DBOS on the same server, in a database of its own: one workflow in one process, and many from a queue in two."""

from __future__ import annotations

import json
import os
import time
from contextlib import ExitStack, closing
from typing import TYPE_CHECKING, Any, Final

import psycopg

from benchmarks import peer_venv
from benchmarks.conversation import Conversation
from benchmarks.peer_venv import PeerError, completed
from benchmarks.workflows.scale import MANY_SECONDS, SINGLE_SECONDS
from benchmarks.workflows.series import Series, attempt
from dev.launch import wait_until
from dev.site import ROOT

if TYPE_CHECKING:
    from pathlib import Path

    from benchmarks.servers import Bench
    from benchmarks.workflows.scale import Scale

PROCESSES: Final = 2
CONCURRENCY: Final = {"PEER_CONCURRENCY": "5", "PEER_POLL_SECONDS": "0.02"}
"""How many workflows a process works on, and how often it looks for more: with which DBOS was fastest here."""
SLOW_DISK: Final = CONCURRENCY | {"PEER_CONCURRENCY": "10"}
"""The same on a slow disk, where more of them share a flush."""
_EVERY: Final = 0.005
_WARM: Final = 2
_TABLES: Final = "dbos.workflow_status, dbos.operation_outputs"
_ENDED: Final = "SELECT count(*) FROM dbos.workflow_status WHERE status = 'SUCCESS'"
_RECORDED: Final = "SELECT count(*) FROM dbos.operation_outputs"


class Dbos:
    """Its runs, one at a time."""

    def __init__(self, bench: Bench, database: str, scale: Scale) -> None:
        self._bench = bench
        self._database = database
        self._scale = scale
        self.versions: dict[str, str] = {}
        self.single = Series("DBOS, one workflow", "ms")
        self.many = Series("DBOS, many at once", "steps/s")
        self.slow = Series("DBOS, many at once on a slow disk", "steps/s")

    def run(self) -> None:
        """Run one workflow some times, and all at once."""
        attempt(self._run, self.single, self.many)

    def run_slow(self) -> None:
        """Run all at once, as the disk is now."""
        attempt(lambda: self.slow.add([self._rate(SLOW_DISK)]), self.slow)

    def _run(self) -> None:
        self.single.add(self._alone())
        self.many.add([self._rate(CONCURRENCY)])

    def _alone(self) -> list[float]:
        """Return the milliseconds of each of some workflows, called in a process that does nothing else."""
        with self._start("dbos_single", self._environment()) as process:
            self.versions = process.greeting()["versions"]
            self._reset()
            for _ in range(_WARM):
                process.ask(str(self._scale.steps), SINGLE_SECONDS)
            asked = [process.ask(str(self._scale.steps), SINGLE_SECONDS) for _ in range(self._scale.singles)]
            return [1000 * float(answer["seconds"]) for answer in asked]

    def _rate(self, settings: dict[str, str]) -> float:
        """Return steps per second, from the commit that enqueued all workflows to when the last one's end is seen."""
        env = self._environment() | settings
        with ExitStack() as stack:
            workers = [stack.enter_context(self._start("dbos_worker", env, number)) for number in range(PROCESSES)]
            for worker in workers:
                worker.greeting()
            self._seconds(env, self._scale.warm)
            return self._scale.total / self._seconds(env, self._scale.instances)

    def _seconds(self, env: dict[str, str], count: int) -> float:
        self._reset()
        fill: list[str | Path] = [peer_venv.python(), "-m", "benchmarks.peers.dbos_fill"]
        begun: float = json.loads(completed([*fill, str(count), str(self._scale.steps)], env))["at"]
        with closing(psycopg.connect(self._database, autocommit=True)) as connection:
            if not wait_until(lambda: _one(connection, _ENDED) >= count, MANY_SECONDS, _EVERY):
                raise PeerError(f"{_one(connection, _ENDED)} of {count} workflows were done after {MANY_SECONDS:.0f} s")
            seconds = time.time() - begun
            if (recorded := _one(connection, _RECORDED)) != count * self._scale.steps:
                raise PeerError(f"it recorded {recorded} steps of {count} workflows")
            return seconds

    def _reset(self) -> None:
        with closing(psycopg.connect(self._database, autocommit=True)) as connection:
            connection.execute(f"TRUNCATE {_TABLES} CASCADE")
            connection.execute(f"VACUUM (ANALYZE) {_TABLES}")
            connection.execute("CHECKPOINT")

    def _start(self, module: str, env: dict[str, str], number: int = 0) -> Conversation:
        command: list[str | Path] = [peer_venv.python(), "-m", f"benchmarks.peers.{module}"]
        return Conversation(command, env, self._bench.run / f"{module}{number}.log")

    def _environment(self) -> dict[str, str]:
        kept = {name: os.environ[name] for name in ("PATH", "HOME", "LANG", "TMPDIR") if name in os.environ}
        return kept | {"PEER_DATABASE_URL": self._database, "PYTHONPATH": str(ROOT)}


def _one(connection: psycopg.Connection[Any], query: str) -> int:
    row = connection.execute(query).fetchone()
    return 0 if row is None else int(row[0])
