"""Whether the system as a whole is well, from the heartbeat rows and from what waits; every problem says what to do.

What is judged is ability: that each kind of work has somebody alive who does it, and that nothing is late. A process
that died and has successors is told of, and is no problem.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Final

from engine.store import processes as store
from engine.store.activity import broker_losses
from engine.store.dropped import dropped_messages
from models.enums import Queue
from models.process_enums import ProcessKind, ProcessState

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from core.db import Database
    from engine.store.activity import BrokerLosses

SEEN_SECONDS: Final = 35.0
"""Three beats and a half: a process that was not seen for longer is taken for gone."""
IDLE_SECONDS: Final = 60.0
LATE_SECONDS: Final = 60.0
"""How long a job or a task that is due may wait before that is a problem."""
LOST_SECONDS: Final = 600.0
"""How long a process that vanished without a last word is told of."""


@dataclass(frozen=True, slots=True)
class Process:
    """One process: its row, and what is thought of it. `verdict`: well, waiting, idle, stuck, lost or stopped."""

    row: Mapping[str, Any]
    verdict: str
    reason: str | None

    @property
    def serves(self) -> bool:
        """Say whether work may be expected of it."""
        return self.verdict in {"well", "waiting"}


@dataclass(frozen=True, slots=True)
class Facts:
    """What else counts. Ages in seconds, None = nothing is due; `late`: by queue tasks that are due, and the oldest.

    Tasks are counted up to `store.processes.MOST`.
    """

    clock_is_shifted: bool
    revision: str | None
    job_late: float | None
    lease_late: float | None
    late: Mapping[str, tuple[int, float]]


@dataclass(frozen=True, slots=True)
class Health:
    """The answer: well if there is no problem. Notes are worth knowing and nobody's alarm."""

    processes: tuple[Process, ...]
    problems: tuple[str, ...]
    notes: tuple[str, ...]
    broker: BrokerLosses | None = None
    """How often the broker lost its messages, and what was published again for it."""
    dropped: Mapping[str, int] = field(default_factory=dict)
    """Messages that workers have dropped, by reason."""

    @property
    def well(self) -> bool:
        """Say whether nothing needs a person."""
        return not self.problems


def look(database: Database, head: str, *, broker: str | None, test_clock: bool) -> Health:
    """Read everything as the readonly role and judge it. `broker`: why it cannot be used, None if it can.

    `head` is the newest revision of the schema that this program knows.
    """
    with database.snapshot() as connection:
        store.read_by_index(connection)
        rows = [dict(row._mapping) for row in store.listed(connection)]  # noqa: SLF001 - SQLAlchemy's documented accessor
        found = store.facts(connection)
        late = {row.queue: (row.tasks, row.oldest) for row in store.late(connection)}
        losses, dropped = broker_losses(connection), dropped_messages(connection)
    facts = Facts(found.clock_is_shifted and not test_clock, found.revision, found.job_late, found.lease_late, late)
    return replace(judge([judged(row) for row in rows], facts, head, broker), broker=losses, dropped=dropped)


def judged(row: Mapping[str, Any]) -> Process:
    """Return a process with what is thought of it."""
    seen, reason = row["seen_ago"], row["reason"]
    if row["state"] == ProcessState.STOPPED:
        return Process(row, "stopped", reason)
    if seen > SEEN_SECONDS:
        return Process(row, "lost", f"not seen for {seen:.0f} s")
    if row["state"] == ProcessState.STUCK:
        return Process(row, "stuck", reason)
    if row["state"] == ProcessState.WAITING:
        return Process(row, "waiting", reason)
    if (quiet := _quiet(row)) > IDLE_SECONDS:
        return Process(row, "idle", reason or f"neither took work nor asked for any for {quiet:.0f} s")
    return Process(row, "well", reason)


def _quiet(row: Mapping[str, Any]) -> float:
    """Return for how long it has neither taken work nor asked for any."""
    ages = [age for age in (row["claimed_ago"], row["polled_ago"], row["up_for"]) if age is not None]
    return float(min(ages))


def judge(processes: Sequence[Process], facts: Facts, head: str, broker: str | None) -> Health:
    """Return the whole answer."""
    problems = [*_of_servers(facts, head, broker), *_of_schedulers(processes), *_of_queues(processes, facts)]
    problems += [
        f"{_name(one)} is {one.verdict}: {one.reason}"
        for one in processes
        if one.verdict in {"waiting", "idle", "stuck"}
    ]
    problems += _of_lateness(facts)
    notes = [
        f"{_name(one)} is lost: {one.reason}"
        for one in processes
        if one.verdict == "lost" and one.row["seen_ago"] < LOST_SECONDS
    ]
    unserved = sorted({queue.value for queue in Queue} - _served(processes) - set(facts.late))
    notes += [f"no process serves the queue {queue}, in which nothing is due" for queue in unserved]
    return Health(tuple(processes), tuple(problems), tuple(notes))


def _name(one: Process) -> str:
    return f"the {one.row['kind']} {one.row['host']}:{one.row['pid']}"


def _served(processes: Sequence[Process]) -> set[str]:
    return {queue for one in processes if one.serves for queue in one.row["queues"]}


def _of_servers(facts: Facts, head: str, broker: str | None) -> list[str]:
    problems = [] if broker is None else [f"the broker cannot be used: {broker}"]
    if facts.clock_is_shifted:
        problems.append("the clock is shifted, as only tests may: as the owner, set cmis.clock_offset to zero")
    if facts.revision != head:
        said = f"the schema is at revision {facts.revision or 'none'}, and this program at {head}"
        problems.append(f"{said}: run `cmis migrate`, or this release's program")
    return problems


def _of_schedulers(processes: Sequence[Process]) -> list[str]:
    if any(one.serves for one in processes if one.row["kind"] == ProcessKind.SCHEDULER):
        return []
    return ["no scheduler is alive: nothing falls due and nothing is sent; start `celery -A worker beat`"]


def _of_queues(processes: Sequence[Process], facts: Facts) -> list[str]:
    served = _served(processes)
    return [
        f"no process serves the queue {queue}, in which {_many(tasks)} are due: start a worker with -Q {queue}"
        for queue, (tasks, _) in facts.late.items()
        if queue not in served
    ]


def _many(tasks: int) -> str:
    return f"{tasks} tasks" if tasks < store.MOST else f"at least {store.MOST:,} tasks"


def _of_lateness(facts: Facts) -> list[str]:
    problems = [
        f"in the queue {queue} {_many(tasks)} are due, the oldest for {oldest:.0f} s: `cmis tasks why` says what for"
        for queue, (tasks, oldest) in facts.late.items()
        if oldest > LATE_SECONDS
    ]
    if facts.job_late is not None and facts.job_late > LATE_SECONDS:
        why = "none is at work, or too many tasks of due jobs are unfinished"
        problems.append(f"a job has been due for {facts.job_late:.0f} s, and no scheduler took it: {why}")
    if facts.lease_late is not None and facts.lease_late > LATE_SECONDS:
        problems.append(f"a lease expired {facts.lease_late:.0f} s ago, and no scheduler took it back")
    return problems
