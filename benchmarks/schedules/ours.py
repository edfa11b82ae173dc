"""One burst of our own: the real scheduler process, as the Procfile starts it, and no worker."""

from __future__ import annotations

import re
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

import redis

from benchmarks.burst import Burst, burst
from benchmarks.watch import Watch
from core.errors import SetupError
from dev.fleet import fleet
from dev.launch import tail
from models.enums import Queue

if TYPE_CHECKING:
    from collections.abc import Mapping

    from benchmarks.schedules.arm import Jobs
    from benchmarks.servers import Bench
    from dev.site import Site

UNTAKEN: Final = {"CMIS_QUEUE_AT_ONCE": "1000000"}
"""No worker runs: how fast one takes messages is never known, and all are to be published."""
SINGLE: Final = {"CMIS_CHUNK": "1", "CMIS_ORG_UNFINISHED": "1000000", "CMIS_QUEUE_WAITING": "1000000"}
"""One message per job, and no cap that would hold messages back because no worker takes them."""
_LEAD: Final = 2.0
_QUIET: Final = 1.0
_SECONDS: Final = 30.0
_EARLY: Final = 0.2


class UnfinishedError(Exception):
    """Our scheduler did not do all of what is measured: there is no figure, whatever it was busy with."""


@dataclass(frozen=True, slots=True)
class Dispatched:
    """One run: the burst, how many messages it took, and the scheduler's resident memory (bytes) afterwards."""

    burst: Burst
    messages: int
    memory: int


def dispatch(bench: Bench, site: Site, jobs: Jobs, count: int, settings: Mapping[str, str] | None = None) -> Dispatched:
    """Let `count` jobs fall due at one instant under a running scheduler, and see each of them published.

    Raises UnfinishedError if some are not published, or not fully recorded, within half a minute.
    """
    jobs.reset()
    bench.flush()
    env = {**site.full_env(), **UNTAKEN, **(settings or {})}
    with fleet(0, 1, env, bench.run / "logs") as running, redis.Redis.from_url(bench.broker_url) as client:
        [scheduler] = running.schedulers
        due = jobs.arm(count, _LEAD)
        watch = Watch(client, Queue.RULES.value)
        watch.look()
        time.sleep(max(0.0, due - time.time() - _EARLY))
        carried = _watch(watch, jobs, count, due)
        found = burst(count, due, watch.published(), carried)
        behind = jobs.behind(due)
        if found.reached < count or behind:
            said = " / ".join(tail(scheduler.log, 3).splitlines())
            raise UnfinishedError(f"{found.reached} of {count} due jobs published, {behind} not advanced: {said}")
        return Dispatched(found, len(carried), resident(scheduler.pid))


def _watch(watch: Watch, jobs: Jobs, count: int, due: float) -> dict[str, int]:
    """Watch until all runs are recorded and their messages out; the database is asked only while nothing comes."""
    patience = 0.0
    while True:
        patience += _QUIET
        in_time = watch.until(lambda: watch.quiet > patience, due + _SECONDS)  # noqa: B023 - called at once
        carried = jobs.carried(due)
        if not in_time or sum(carried.values()) >= count:
            return carried


def resident(pid: int) -> int:
    """Return a process's resident memory in bytes."""
    status = Path(f"/proc/{pid}/status").read_text(encoding="ascii", errors="replace")
    found = re.search(r"^VmRSS:\s+(\d+) kB$", status, re.MULTILINE)
    if found is None:
        raise SetupError(f"the memory of process {pid} cannot be read", "run the benchmarks on Linux")
    return int(found[1]) * 1024
