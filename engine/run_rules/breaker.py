"""The breaker: a rule whose executions keep failing is paused, and its people are told."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from core.ids import uuid7
from engine.store import executions, rules
from models.enums import ExecutionStatus

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from datetime import datetime
    from uuid import UUID

    from sqlalchemy import Connection

    from engine.run_rules.ended import Failed
    from engine.run_rules.state import Run


def in_a_row(before: int, status: ExecutionStatus) -> int | None:
    """Return how many executions in a row have failed after one that ended so; None where it says nothing.

    Skipped ones and those that wait for approval say nothing; one of which a part succeeded is no failure.
    """
    match status:
        case ExecutionStatus.FAILURE:
            return before + 1
        case ExecutionStatus.SUCCESS | ExecutionStatus.PARTIAL:
            return 0
        case _:
            return None


def trip(
    connection: Connection, org_id: UUID, runs: Sequence[Run], failures: Sequence[Failed], *, now: datetime
) -> None:
    """Pause the active rules that have now failed as often in a row as their guardrails allow, and notify of each.

    Their failures are counted already.
    """
    failed = [*_failed_by_effects(runs), *_failed_by_errors(failures)]
    if failed:
        tripped = rules.trip(connection, org_id, [row["rule_id"] for row in failed])
        notices = [{"notification_id": uuid7(now), **row} for row in failed if row["rule_id"] in tripped]
        executions.insert_notifications(connection, org_id, notices, now=now)


def trip_closed(
    connection: Connection, org_id: UUID, rule_id: UUID, execution_id: UUID, last_failure: str | None, *, now: datetime
) -> None:
    """Pause an active rule, as `trip` does, one of whose executions was closed as failed after its evaluation.

    That execution is counted.
    """
    [rule] = rules.lock(connection, org_id, [rule_id])
    if rules.trip(connection, org_id, [rule_id]):
        last = f", at last: {last_failure}" if last_failure else ""
        said = f"Its actions failed {rule.failures_in_a_row} times in a row{last}."
        row = {"notification_id": uuid7(now), **_notice(rule.name, rule_id, execution_id, said)}
        executions.insert_notifications(connection, org_id, [row], now=now)


def _failed_by_effects(runs: Sequence[Run]) -> Iterator[dict[str, Any]]:
    for run in runs:
        if run.effects and all(effect.status == "failed" for effect in run.effects):
            said = f"Its actions failed {run.rule.failures + 1} times in a row, at last: {run.effects[-1].reason}."
            yield _notice(run.rule.name, run.rule.rule_id, run.item.execution_id, said)


def _failed_by_errors(failures: Sequence[Failed]) -> Iterator[dict[str, Any]]:
    for failed in failures:
        said = f"It failed {failed.failures + 1} times in a row, at last: {failed.error['message']}"
        yield _notice(failed.rule_name, failed.item.rule_id, failed.item.execution_id, said)


def _notice(name: str, rule_id: UUID, execution_id: UUID, said: str) -> dict[str, Any]:
    return {
        "channel": "in_app",
        "title": f"Rule “{name}” was paused"[:200],
        "body": f"{said} Look into it, then activate the rule again.",
        "rule_id": rule_id,
        "execution_id": execution_id,
        "action_id": None,
        "entity_id": None,
    }
