"""What an optimisation leaves behind beside the executions of its rules: its result, and its occurrence's outcome."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from engine.run_rules.work import occurrence_key
from engine.store import occurrences, optimizations
from models.enums import ExecutionStatus, OptimizationStatus

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime
    from uuid import UUID

    from sqlalchemy import Connection

    from engine import chunk
    from engine.run_rules.ended import Carrier
    from engine.store.optimizations import Tally

COUNTED: Final = ("evaluated", "acted", "held", "failed", "skipped", "retried")
"""What an optimisation counts of its rules, in the order in which it is told."""
_FAILED: Final = frozenset({ExecutionStatus.FAILURE, ExecutionStatus.PARTIAL})


def record_done(
    connection: Connection,
    carrier: Carrier,
    one: chunk.Optimization,
    executed: Sequence[UUID],
    *,
    retried: int,
    started_at: datetime,
    now: datetime,
) -> dict[str, int]:
    """Write the result of an optimisation from the executions that it made, and return the counts.

    `retried`: rules that failed for a moment; their executions come later, and count in no result.
    """
    tally = optimizations.tally(connection, carrier.org_id, executed)
    counts = counts_of(tally, retried)
    result = {"status": status_of(tally, retried).value, "counts": counts}
    _record(connection, carrier, one, result | {"started_at": started_at}, now=now)
    return counts


def record_failed(
    connection: Connection, carrier: Carrier, one: chunk.Optimization, error: Mapping[str, Any], *, now: datetime
) -> None:
    """Write the result of an optimisation that ended in an error: no rule was evaluated."""
    result = {"status": OptimizationStatus.FAILURE.value, "counts": {}, "error": error, "started_at": now}
    _record(connection, carrier, one, result, now=now)


def counts_of(tally: Sequence[Tally], retried: int) -> dict[str, int]:
    """Count rules: evaluated, and of these acted, with an effect held, failed (wholly or in part), skipped."""
    of = {status: sum(one.executions for one in tally if one.status == status) for status in ExecutionStatus}
    return {
        "evaluated": sum(of.values()),
        "acted": sum(one.executions for one in tally if one.acted),
        "held": sum(one.executions for one in tally if one.held),
        "failed": of[ExecutionStatus.FAILURE] + of[ExecutionStatus.PARTIAL],
        "skipped": of[ExecutionStatus.SKIPPED],
        "retried": retried,
    }


def status_of(tally: Sequence[Tally], retried: int) -> OptimizationStatus:
    """Decide the result as an execution's is: of the rules that did something all, some or none succeeded.

    A rule that is retried has neither failed nor succeeded yet, so that the whole is `partial`.
    """
    statuses = {ExecutionStatus(one.status) for one in tally} - {ExecutionStatus.SKIPPED}
    if not statuses and not retried:
        return OptimizationStatus.SKIPPED
    if retried or (statuses & _FAILED and statuses != {ExecutionStatus.FAILURE}):
        return OptimizationStatus.PARTIAL
    return OptimizationStatus.FAILURE if statuses & _FAILED else OptimizationStatus.SUCCESS


def _record(
    connection: Connection, carrier: Carrier, one: chunk.Optimization, result: Mapping[str, Any], *, now: datetime
) -> None:
    row = {
        "org_id": carrier.org_id,
        "optimization_id": one.execution_id,
        "job_id": one.job_id,
        "campaign_id": one.campaign_id,
        "trigger": one.trigger,
        "scheduled_for": one.scheduled_for,
        "task_id": carrier.task_id,
        "requested_by": one.requested_by,
        "finished_at": now,
    }
    optimizations.create(connection, row | dict(result))
    if one.job_id is not None:
        outcome = {"outcome": result["status"]}
        occurrences.finish(connection, carrier.org_id, [occurrence_key(one) | outcome], now=now)
