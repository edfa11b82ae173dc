"""Turn what was planned into rows: executions, effects, audit, counters, cooldowns, outcomes; written in bulk."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from sqlalchemy.exc import DBAPIError

from core.db import first_line
from core.errors import CmisError, TransientError
from core.ids import uuid7
from engine.retry import classify
from engine.rules.gates import skip_reason
from engine.store import audit, executions, occurrences, rules
from models.enums import AuditAction, ExecutionStatus

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import date, datetime
    from uuid import UUID

    from sqlalchemy import Connection

    from engine.actions.base import Effect
    from engine.chunk import Item
    from engine.run_rules.plan import Memory, Run

SHOWN_ACTIONS: Final = 1000
_SHOWN_TEXT: Final = 500
_ASKER: Final = "requested_by"


@dataclass(frozen=True, slots=True)
class Failed:
    """An evaluation that ended in an error instead of a plan, and the version of the rule that it was tried with."""

    item: Item
    rule_version: int
    error: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Carrier:
    """The task that carries the evaluations, as their records name it."""

    org_id: UUID
    task_id: UUID
    attempt: int


def write(
    connection: Connection, carrier: Carrier, runs: Sequence[Run], failures: Sequence[Failed], memory: Memory
) -> None:
    """Write everything that the evaluations leave behind, but for the effects themselves."""
    now, org_id = memory.now, carrier.org_id
    rows = [_execution(run, memory, carrier) for run in runs] + [_failure(failed, carrier) for failed in failures]
    effects = [effect for run in runs for effect in run.effects]
    items = [run.item for run in runs] + [failed.item for failed in failures]
    askers = {item.execution_id: item.requested_by for item in items}
    executions.insert(connection, org_id, carrier.task_id, rows, now=now)
    executions.insert_actions(connection, org_id, carrier.task_id, [_action(effect) for effect in effects], now=now)
    audit.record(connection, org_id, [*_executed(rows, askers, now), *_taken(effects, askers, now)], now=now)
    rules.count(connection, org_id, [*_counters(runs, memory), *map(_failure_counter, failures)], now=now)
    rules.remember(connection, org_id, _cooldowns(runs), now=now)
    occurrences.finish(connection, org_id, _outcomes(items, rows), now=now)


def error_document(error: BaseException) -> dict[str, Any]:
    """Return a stable code and a bounded message, fit for the tenant's eyes; an unexpected error is a bug of ours."""
    if isinstance(error, CmisError):
        code = error.code
    else:
        code = TransientError.code if classify(error) == "transient" else CmisError.code
    message = first_line(error) if isinstance(error, DBAPIError) else str(error)
    return {"code": code, "type": type(error).__name__, "message": message[:_SHOWN_TEXT]}


def status_of(effects: Sequence[Effect]) -> ExecutionStatus:
    """Decide an execution's status from its effects: open while one is held, then all, some or none succeeded."""
    statuses = Counter(effect.status for effect in effects)
    if not effects:
        return ExecutionStatus.SKIPPED
    if statuses["held"]:
        return ExecutionStatus.RUNNING
    if not statuses["failed"]:
        return ExecutionStatus.SUCCESS
    return ExecutionStatus.PARTIAL if statuses["succeeded"] else ExecutionStatus.FAILURE


def _execution(run: Run, memory: Memory, carrier: Carrier) -> dict[str, Any]:
    status = status_of(run.effects)
    skipped = run.stopped or skip_reason(run.reached)
    return _item_columns(run.item, carrier) | {
        "rule_version": run.rule.version,
        "status": status.value,
        "skip_reason": skipped.value if status is ExecutionStatus.SKIPPED else None,
        "duration_ms": round(run.seconds * 1000),
        "conditions_evaluated": {"counts": dict(run.counts), "entities": run.entities},
        "actions_executed": [_summary(effect) for effect in run.effects[:SHOWN_ACTIONS]],
        "results": dict(Counter(effect.status for effect in run.effects)),
        "acted_on": memory.today if run.acted else None,
    }


def _failure(failed: Failed, carrier: Carrier) -> dict[str, Any]:
    return _item_columns(failed.item, carrier) | {
        "rule_version": failed.rule_version,
        "status": ExecutionStatus.FAILURE.value,
        "skip_reason": None,
        "duration_ms": 0,
        "conditions_evaluated": {},
        "actions_executed": [],
        "results": {},
        "error": failed.error,
    }


def _item_columns(item: Item, carrier: Carrier) -> dict[str, Any]:
    return {
        "execution_id": item.execution_id,
        "rule_id": item.rule_id,
        "job_id": item.job_id,
        "trigger": item.trigger,
        "scheduled_for": item.scheduled_for,
        "attempt": carrier.attempt,
        "context": _context(item),
    }


def _context(item: Item) -> dict[str, Any]:
    """Return what the job gave to its run, and who asked for it; a job cannot name an asker."""
    given = {key: value for key, value in (item.context or {}).items() if key != _ASKER}
    return given if item.requested_by is None else given | {_ASKER: str(item.requested_by)}


def _summary(effect: Effect) -> dict[str, Any]:
    summary = {
        "action_id": str(effect.action_id),
        "type": effect.kind,
        "entity_id": str(effect.entity_id),
        "status": effect.status,
    }
    return summary if effect.reason is None else summary | {"reason": effect.reason}


def _action(effect: Effect) -> dict[str, Any]:
    return {
        "action_id": effect.action_id,
        "execution_id": effect.execution_id,
        "rule_id": effect.rule_id,
        "position": effect.position,
        "type": effect.kind,
        "params": effect.params,
        "entity_id": effect.entity_id,
        "before": effect.before,
        "after": effect.after,
        "idempotency_key": f"{effect.execution_id}:{effect.position}:{effect.entity_id}",
        "status": effect.status,
        "error": None if effect.reason is None else {"code": effect.status.upper(), "message": effect.reason},
    }


def _executed(
    rows: Sequence[dict[str, Any]], askers: Mapping[UUID, UUID | None], now: datetime
) -> list[dict[str, Any]]:
    return [
        {
            "audit_id": uuid7(now),
            "action": AuditAction.RULE_EXECUTED.value,
            "entity_type": "rule",
            "entity_id": row["rule_id"],
            "rule_id": row["rule_id"],
            "execution_id": row["execution_id"],
            "user_id": askers[row["execution_id"]],
            "details": {key: row[key] for key in ("status", "skip_reason", "results")} | {"error": row.get("error")},
        }
        for row in rows
    ]


def _taken(effects: Sequence[Effect], askers: Mapping[UUID, UUID | None], now: datetime) -> list[dict[str, Any]]:
    return [
        {
            "audit_id": uuid7(now),
            "action": AuditAction.ACTION_TAKEN.value,
            "entity_type": "campaign",
            "entity_id": effect.entity_id,
            "rule_id": effect.rule_id,
            "execution_id": effect.execution_id,
            "action_id": effect.action_id,
            "user_id": askers[effect.execution_id],
            "before": effect.before,
            "after": effect.after,
            "details": {"type": effect.kind},
        }
        for effect in effects
        if effect.status == "succeeded"
    ]


def _counters(runs: Sequence[Run], memory: Memory) -> list[dict[str, Any]]:
    return [_counter(run, status_of(run.effects), memory) for run in runs]


def _counter(run: Run, status: ExecutionStatus, memory: Memory) -> dict[str, Any]:
    acted_on: date | None = memory.today if run.acted else None
    return {
        "rule_id": run.rule.rule_id,
        **{name: int(status == name) for name in ("success", "partial", "failure", "skipped")},
        "acted_on": acted_on,
        "acted_today": memory.acted_today(run.rule) + 1 if run.acted else None,
        "executed": status is not ExecutionStatus.SKIPPED,
    }


def _failure_counter(failed: Failed) -> dict[str, Any]:
    counts = {"success": 0, "partial": 0, "failure": 1, "skipped": 0}
    return {"rule_id": failed.item.rule_id, **counts, "acted_on": None, "acted_today": None, "executed": True}


def _cooldowns(runs: Sequence[Run]) -> list[dict[str, Any]]:
    pairs = {
        (effect.rule_id, effect.entity_id): effect.execution_id
        for run in runs
        for effect in run.effects
        if effect.status == "succeeded"
    }
    return [{"rule_id": key[0], "entity_id": key[1], "execution_id": value} for key, value in pairs.items()]


def _outcomes(items: Sequence[Item], rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Pair runs of jobs with their outcomes. Effects that are held do not keep a run open (SPEC §5)."""
    outcomes = []
    for item, row in zip(items, rows, strict=True):
        if item.job_id is not None:
            outcome = "success" if row["status"] == ExecutionStatus.RUNNING.value else row["status"]
            key = {"job_id": item.job_id, "origin": item.origin, "scheduled_for": item.scheduled_for}
            outcomes.append(key | {"outcome": outcome})
    return outcomes
