"""What is read every few seconds: of the processes from /proc, of the database from its statistics, of the broker."""

from __future__ import annotations

import statistics
from collections import defaultdict
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Self

import psycopg
import redis

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from chaos.arena import Arena

_PROC: Final = Path("/proc")
_MIB: Final = 1024 * 1024
# Of the product's own sessions, and of whoever else holds back the removal of dead rows.
_DATABASE: Final = """
SELECT (SELECT count(*) FROM pg_stat_activity
         WHERE datname = current_database() AND application_name LIKE 'cmis%') AS connections,
       (SELECT coalesce(max(extract(epoch FROM clock_timestamp() - xact_start)), 0) FROM pg_stat_activity
         WHERE datname = current_database() AND backend_type = 'client backend' AND pid <> pg_backend_pid()) AS oldest,
       (SELECT sum(n_dead_tup) FROM pg_stat_user_tables WHERE schemaname = 'cmis') AS dead,
       (SELECT count(*) FROM cmis.tasks WHERE state IN ('ready', 'running') AND run_at <= cmis.clock()) AS unfinished,
       pg_database_size(current_database()) AS size"""


@dataclass(frozen=True, slots=True)
class Process:
    """One process at one moment: proportional memory in MiB (shared pages count by who shares them), and open files."""

    role: str
    memory: float
    files: int


class Reader:
    """Reads an arena. Its own session is an administrator's, since others' transactions are hidden from all else."""

    def __init__(self, arena: Arena, database: psycopg.Connection[Any], broker: redis.Redis) -> None:
        self._arena = arena
        self._database = database
        self._broker = broker

    @classmethod
    @contextmanager
    def open(cls, arena: Arena) -> Iterator[Self]:
        """Connect to both servers."""
        with (
            psycopg.connect(arena.administrator_url(), autocommit=True, application_name="soak") as database,
            redis.Redis.from_url(arena.valkey.url) as broker,
        ):
            yield cls(arena, database, broker)

    def read(self) -> dict[str, float]:
        """Return all quantities by name, processes' by their role."""
        return {**self._of_processes(), **self._of_database(), **self._of_broker()}

    def _of_database(self) -> dict[str, float]:
        row = self._database.execute(_DATABASE).fetchone()
        connections, oldest, dead, unfinished, size = row if row is not None else (0, 0, 0, 0, 0)
        return {
            "connections": float(connections),
            "oldest transaction s": float(oldest),
            "dead rows": float(dead or 0),
            "unfinished tasks": float(unfinished),
            "database MiB": float(size) / _MIB,
        }

    def _of_broker(self) -> dict[str, float]:
        memory: Any = self._broker.info("memory")
        keys: Any = self._broker.dbsize()
        return {
            "broker keys": float(keys),
            "broker MiB": float(memory["used_memory"]) / _MIB,
            "messages waiting": float(sum(self._arena.waiting().values())),
        }

    def _of_processes(self) -> dict[str, float]:
        roots = {place.pid: place.kind for place in self._arena.crew.running()}
        by_role = defaultdict(list)
        for process in processes(roots):
            by_role[process.role].append(process)
        found: dict[str, float] = {}
        for role, members in sorted(by_role.items()):
            found[f"{role} MiB"] = statistics.fmean(one.memory for one in members)
            found[f"{role} files"] = statistics.fmean(one.files for one in members)
        return found


def processes(roots: Mapping[int, str]) -> Iterator[Process]:
    """Yield these processes and what they forked, as far as they live: `worker`, `worker's child`.

    What a child starts in its turn, callables' keepers and runners, comes and goes with the work: it is left out.
    """
    parents = dict(_parents())
    for pid, parent in parents.items():
        role = roots.get(pid) or (f"{roots[parent]}'s child" if parent in roots else None)
        if role is None:
            continue
        try:
            yield Process(role, _memory(pid), sum(1 for _ in (_PROC / str(pid) / "fd").iterdir()))
        except OSError:  # it has just ended
            continue


def _parents() -> Iterator[tuple[int, int]]:
    for stat in _PROC.glob("[0-9]*/stat"):
        try:
            fields = stat.read_text(errors="replace").rpartition(")")[2].split()
        except OSError:
            continue
        yield int(stat.parent.name), int(fields[1])


def _memory(pid: int) -> float:
    for line in (_PROC / str(pid) / "smaps_rollup").read_text().splitlines():
        if line.startswith("Pss:"):
            return int(line.split()[1]) / 1024
    return 0.0
