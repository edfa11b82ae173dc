"""Deliver what one task carries, from its message to its result.

Three steps: the intent is committed (the claim, and the effects as running); the call is made, with no transaction
open; what became of it is committed under the claim's fence. What dies in between leaves effects of which nobody knows:
the next claim resolves them, by asking the receiver, by the key that it honours, or by leaving them to a person.
"""

from __future__ import annotations

import logging
import time
from typing import TYPE_CHECKING, Final, TypeAlias

from sqlalchemy.exc import DBAPIError

from core import faults
from core.db import ENGINE_ACTOR, Context, is_outage, repeat_on_conflict
from engine.deliver import outcome
from engine.deliver.admission import Waits
from engine.deliver.answers import Delivered, Unclear
from engine.deliver.beginning import Begun, Done, NotClaimed, begin
from engine.deliver.results import Ending, write
from engine.lease import Heartbeat, LostClaimError, ended

if TYPE_CHECKING:
    from uuid import UUID

    from core.db import Database
    from engine.deliver.answers import Answer
    from engine.deliver.post import Post

logger = logging.getLogger(__name__)

Result: TypeAlias = NotClaimed | Waits | Done

_WRITE_AGAIN: Final = (0.5, 1.0, 2.0, 4.0, 8.0)
"""Seconds between tries to write a result while the database is out of reach; a lease is longer."""


def run(database: Database, org_id: UUID, task_id: UUID, *, worker: str, post: Post) -> Result:
    """Claim the task if its delivery may be tried now, make the call, record what became of it."""
    begun = repeat_on_conflict(lambda: begin(database, org_id, task_id, worker, post))
    if not isinstance(begun, Begun):
        return begun
    faults.crash("deliver.claimed")
    try:
        with Heartbeat(database, begun.claim) as heartbeat:
            ending = _call(begun, heartbeat)
            faults.crash("deliver.called")
            _record(database, ending)
    except LostClaimError:
        logger.warning("task %s was taken over", task_id)
        return NotClaimed()
    return Done(ending.outcome)


def _call(begun: Begun, heartbeat: Heartbeat) -> Ending:
    """Make the call; what an attempt before this one left unknown is resolved first."""
    answer: Answer | None = None
    resolved: str | None = None
    if begun.doubtful:
        answer, resolved = _resolve(begun)
        if resolved is None:
            doubt = outcome.Doubtful(f"an attempt broke off; {begun.courier.channel} cannot tell whether it arrived")
            return _ending(begun, None, doubt, None)
    if answer is None:
        heartbeat.check_surely()
        answer = _delivered(begun)
    pace = outcome.Pace.of(begun.claim.payload)
    decided = outcome.decide(answer, attempt=begun.claim.attempt, age=begun.age, keyed=begun.courier.keyed, pace=pace)
    return _ending(begun, answer, decided, resolved)


def _resolve(begun: Begun) -> tuple[Answer | None, str | None]:
    """Return the answer of a call that need not be made again, and how the doubt is resolved; None = it is not."""
    found = begun.courier.find(begun.sent.messages[0], key=begun.key)
    if found:
        return Delivered(said="it had arrived"), "the receiver has it"
    if found is False:
        return None, "the receiver has it not: sent again under the same key"
    return None, "sent again under the same key" if begun.courier.keyed else None


def _delivered(begun: Begun) -> Answer:
    try:
        return begun.courier.deliver(begun.sent.messages, key=begun.key, now=begun.now)
    except Exception as error:  # a defect of the courier, or its time is up: what it had sent by then nobody knows
        said = begun.sent.without_secrets(f"{type(error).__name__}: {error}")
        logger.exception("the courier of %s failed", begun.courier.channel)
        return Unclear(said[:500])


def _ending(begun: Begun, answer: Answer | None, decided: outcome.Outcome, resolved: str | None) -> Ending:
    return Ending(begun.claim, begun.rows, decided, begun.way, answer, resolved, begun.sent.without_secrets)


def _record(database: Database, ending: Ending) -> None:
    """Commit the result. Only this process knows it: a database out of reach is waited for, as long as we may."""

    def body() -> None:
        with database.transaction(Context(ending.claim.org_id, ENGINE_ACTOR), ended(ending.claim)) as connection:
            write(connection, ending)
            faults.crash("deliver.before_commit")

    for pause in _WRITE_AGAIN:
        try:
            return repeat_on_conflict(body)
        except DBAPIError as error:
            if not is_outage(error):
                raise
            logger.warning("the result of task %s is not written yet: the database is away", ending.claim.task_id)
            time.sleep(pause)
    return repeat_on_conflict(body)
