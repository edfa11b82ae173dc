"""Optimise: evaluate every active rule of an org in one transaction, on all its campaigns or on one."""

from __future__ import annotations

from typing import TYPE_CHECKING

from core import clock
from core.ids import uuid7
from engine import chunk
from engine.lease import owned
from engine.run_rules.compiled import RANKS
from engine.run_rules.ended import Carrier
from engine.run_rules.group import Unfinished, Wave, run_wave
from engine.run_rules.optimized import record_done
from engine.run_rules.splitting import split_off
from engine.run_rules.work import Finished, Work, occurrence_key
from engine.store import occurrences, rules, tasks
from models.enums import Outcome

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from uuid import UUID

    from sqlalchemy import Connection


def optimize(connection: Connection, work: Work, one: chunk.Optimization) -> Finished:
    """Evaluate the active rules by priority, then id, a hundred at a time, and finish the task; the caller commits.

    A later rule sees the effects of the earlier ones. One that fails for a moment gets a task of its own.
    """
    org_id = work.claim.org_id
    if _is_cancelled(connection, org_id, one):
        outcome = occurrence_key(one) | {"outcome": Outcome.CANCELLED.value}
        occurrences.finish(connection, org_id, [outcome], now=work.now)
        return _finish(connection, work, Finished(0, 0, 1), {"cancelled": 1})
    # All of them before any campaign: the order of locks is that of an ordinary task.
    items = _items(work, one, rules.lock_active(connection, org_id))
    carrier = Carrier(org_id, work.claim.task_id, work.claim.attempt)
    again: list[Unfinished] = []
    for batch in _batches(items):
        work.still_ours()
        again += run_wave(connection, Wave(carrier, batch, work.now, work.still_ours))
    for unfinished in again:
        split_off(connection, work, org_id, unfinished)
    late = {unfinished.item.execution_id for unfinished in again}
    executed = [item.execution_id for item in items if item.execution_id not in late]
    now = clock.now(connection)
    counts = record_done(connection, carrier, one, executed, retried=len(late), started_at=work.now, now=now)
    return _finish(connection, work, Finished(len(executed), len(late)), counts)


def _is_cancelled(connection: Connection, org_id: UUID, one: chunk.Optimization) -> bool:
    planned = [] if one.scheduled_for is None else [one.scheduled_for]
    key = (one.job_id, one.origin, one.scheduled_for)
    return key in occurrences.cancelled(connection, org_id, planned)


def _items(work: Work, one: chunk.Optimization, urgency: Mapping[UUID, str]) -> list[chunk.Item]:
    """Return an evaluation of each rule, the most urgent first; each names what it is a part of."""
    named = {"optimization_id": one.execution_id, "job_id": one.job_id, "campaign_id": one.campaign_id}
    part_of = {name: str(value) for name, value in named.items() if value is not None}
    return [
        chunk.Item(
            rule_id,
            uuid7(work.now),
            one.trigger,
            requested_by=one.requested_by,
            context=(one.context or {}) | part_of,
            campaign_id=one.campaign_id,
        )
        for rule_id in sorted(urgency, key=lambda rule_id: (RANKS[urgency[rule_id]], rule_id))
    ]


def _batches(items: Sequence[chunk.Item]) -> Iterator[Sequence[chunk.Item]]:
    for start in range(0, len(items), chunk.MAX_ITEMS):
        yield items[start : start + chunk.MAX_ITEMS]


def _finish(connection: Connection, work: Work, done: Finished, result: Mapping[str, int]) -> Finished:
    owned(tasks.finish(connection, work.claim, "succeeded", now=work.now, result=dict(result)))
    return done
