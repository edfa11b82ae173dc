"""Find due jobs, decide each planned time, record it and enqueue its work: one short transaction per batch.

Any number of schedulers may do this at once: a claimed job is skipped by the others; the commit is the only hand-over.
"""

from __future__ import annotations

import logging
from collections import Counter, deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from sqlalchemy.exc import DBAPIError

from core import faults
from core.clock import monotonic
from core.db import first_line, must_restart, repeat_on_conflict, sqlstate
from engine import chunk
from engine.decide_job import Decided, decide_job, failed_job
from engine.pack import pack, pack_alone, pack_starts
from engine.retry import classify
from engine.store import dispatch as store

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime
    from uuid import UUID

    from sqlalchemy import Connection

    from core.db import Database
    from engine.store.claimed import ClaimedJob

logger = logging.getLogger(__name__)

BATCH: Final = 500
SECONDS: Final = 0.5
COMPUTED: Final = 5_000
ROTATION: Final = 10_000
"""How many orgs one round serves at most."""
ORGS_AT_THEIR_CAP: Final = 100
"""How many times an org's cap may be unfinished in all; then nobody's due jobs are taken, until some of it is done."""
ROUND: Final = 20_000
"""How many jobs one round takes at most: shares shrink as orgs grow in number, so that a round stays about a second."""
ROUND_SECONDS: Final = 1.0
"""How old a round's list of orgs may be: an org whose job came due since is in the next."""
ROUND_PAUSE: Final = 0.1
"""How long no other round begins after one that is over early: its list costs with the orgs that exist."""


@dataclass(frozen=True, slots=True)
class Dispatched:
    """What one batch did: jobs decided, runs enqueued, their tasks; `more` = some jobs are still due."""

    jobs: int = 0
    runs: int = 0
    tasks: int = 0
    more: bool = False
    held_back: bool = False
    """Whether due jobs wait because too much of what earlier ones have made is unfinished."""


@dataclass(slots=True)
class Dispatcher:
    """One scheduler's dispatching. While little waits, the longest due jobs come first, whosever they are.

    In a crowd (a batch was full, or `org_cap` tasks are unfinished) orgs take turns: each gives a share of the batch,
    and one with `org_cap` unfinished tasks of its own gives none. Tasks of due jobs are meant: an org's schedules wait
    for none of its workflows, its events, and what it runs by hand. All that is remembered is whose turn it is.
    """

    database: Database
    chunk_size: int = chunk.MAX_ITEMS
    org_cap: int = 8
    crowded: bool = field(default=False, init=False)
    turns: deque[UUID] = field(default_factory=deque, init=False)
    """The orgs with due jobs, the next one first."""
    share: int = field(default=BATCH, init=False)
    round_began: float = field(default=-ROUND_SECONDS, init=False)

    def dispatch(self, limit: int = BATCH) -> Dispatched:
        """Dispatch up to `limit` due jobs, for 0.5 s and 5,000 planned times at most; the rest stays due."""
        done = repeat_on_conflict(lambda: self._dispatch(limit))
        faults.crash("dispatch.committed")
        return done

    def _dispatch(self, limit: int) -> Dispatched:
        with self.database.transaction(None) as connection:
            if not self.turns and not store.is_anything_due(connection):
                self.crowded = False
                return Dispatched()
            unfinished = store.unfinished_tasks(connection, self.org_cap * ORGS_AT_THEIR_CAP, self.org_cap)
            if unfinished >= self.org_cap * ORGS_AT_THEIR_CAP:
                return Dispatched(held_back=True)
            fair = self.crowded or unfinished >= self.org_cap
            rows = self._claim_in_turn(connection, limit) if fair else store.claim_due_jobs(connection, limit)
            if not fair and len(rows) >= limit:  # a crowd begins: a few of each org would share tasks
                fair, rows = True, self._claim_in_turn(connection, limit)
                self.round_began = -ROUND_SECONDS  # whoever came meanwhile is in the next round
            if not rows:
                return Dispatched(more=bool(self.turns), held_back=fair)
            now: datetime = rows[0].now
            decided = _decide(rows, now, sparing=fair)
            tasks = self._record(connection, decided, now)
            faults.crash("dispatch.before_commit")
        left = len(decided) < len(rows) or any(time and time <= now for time in (o.job["next_run_at"] for o in decided))
        runs = sum(len(one.due) + len(one.alone) + len(one.starts) for one in decided)
        return Dispatched(len(decided), runs, tasks, more=self.crowded or left, held_back=fair)

    def _claim_in_turn(self, connection: Connection, limit: int) -> Sequence[ClaimedJob]:
        """Lock the shares of the orgs whose turn it is; those that gave all of it come again in this round."""
        age = monotonic() - self.round_began
        if age > ROUND_SECONDS or (age > ROUND_PAUSE and not self.turns):
            self._begin_round(connection, limit)
        orgs = [self.turns.popleft() for _ in range(min(len(self.turns), max(1, limit // self.share)))]
        rows = store.claim_shares(connection, limit, orgs, share=self.share, cap=self.org_cap)
        given = Counter(row.org_id for row in rows)
        self.turns.extend(org_id for org_id in orgs if given[org_id] >= self.share)
        return rows

    def _begin_round(self, connection: Connection, limit: int) -> None:
        self.turns = deque(store.due_orgs(connection, ROTATION))
        self.round_began = monotonic()
        self.crowded = bool(self.turns)
        orgs = max(1, len(self.turns))
        self.share = max(1, min(limit, max(-(-limit // orgs), min(self.chunk_size, ROUND // orgs))))

    def _record(self, connection: Connection, decided: Sequence[Decided], now: datetime) -> int:
        """Record the batch at once; if the database refuses it, job by job: the one that it refuses fails alone.

        Returns the number of tasks.
        """
        try:
            return self._record_together(connection, decided, now)
        except DBAPIError as error:
            if _passes(error):
                raise
            logger.warning("a batch of %d jobs was refused, trying one by one: %s", len(decided), first_line(error))
        return sum(self._record_alone(connection, one, now) for one in decided)

    def _record_alone(self, connection: Connection, one: Decided, now: datetime) -> int:
        try:
            return self._record_together(connection, [one], now)
        except DBAPIError as error:
            if _passes(error):
                raise
            if sqlstate(error) == store.JOB_MOVED:
                logger.warning("job %s changed under its lock and is left as it is", one.row.job_id)
                return 0
            logger.exception("job %s cannot be recorded", one.row.job_id)
            failed = failed_job(one.row, first_line(error))
            if sqlstate(error) == store.BUFFER_GONE:
                failed = failed._replace(released=None)
            return self._record_together(connection, [failed], now)

    def _record_together(self, connection: Connection, decided: Sequence[Decided], now: datetime) -> int:
        tasks, carriers = pack([due for one in decided for due in one.due], now, self.chunk_size)
        others, their_carriers = pack_alone([alone for one in decided for alone in one.alone], now)
        begun, of_instances = pack_starts([start for one in decided for start in one.starts], now)
        tasks, carriers = tasks + others + begun, carriers | their_carriers | of_instances
        with connection.begin_nested():
            store.record(
                connection,
                now=now,
                jobs=[one.job for one in decided],
                occurrences=_carried([row for one in decided for row in one.occurrences], carriers),
                tasks=tasks,
                released=_carried([one.released for one in decided if one.released], carriers),
                cancelled=[one.cancelled for one in decided if one.cancelled],
            )
        return len(tasks)


def _passes(error: DBAPIError) -> bool:
    """Say whether the database's refusal is no job's fault: the whole batch is left for later, and no job stopped."""
    return must_restart(error) or classify(error) == "transient"


def _carried(rows: Sequence[dict[str, Any]], carriers: Mapping[UUID, UUID]) -> list[dict[str, Any]]:
    """Name the task that carries each run."""
    return [row | {"task_id": carriers.get(row.get("instance_id") or row["execution_id"])} for row in rows]


def _decide(rows: Sequence[ClaimedJob], now: datetime, *, sparing: bool) -> list[Decided]:
    """Decide the jobs, as many as the budget allows; the others stay due.

    `sparing`: in a crowd no rule, and no org of its optimisations, is given more evaluations at once than one task
    holds. They run one after another however many workers there are, and would only stand before those of others.
    Instances run beside each other.
    """
    repeats = Counter[int]()
    deadline = monotonic() + SECONDS
    decided: list[Decided] = []
    computed = 0
    for row in rows:
        target = (row.rule_id or row.org_id).int
        repeats[target] += row.template_id is None
        if sparing and row.template_id is None and repeats[target] > chunk.MAX_REPEATS:
            continue
        one = decide_job(row, now, COMPUTED - computed)
        decided.append(one)
        computed += one.computed
        if monotonic() > deadline or computed >= COMPUTED:
            break
    return decided
