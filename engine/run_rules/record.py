"""Turn what was planned into rows: executions, effects, audit, counters, cooldowns, outcomes; written in bulk."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from sqlalchemy.exc import DBAPIError

from core.db import first_line
from core.errors import CmisError, TransientError
from core.ids import uuid7
from engine.retry import classify
from engine.rules.gates import skip_reason
from engine.run_rules.breaker import in_a_row, trip
from engine.run_rules.work import occurrence_key
from engine.store import audit, executions, occurrences, rules
from models.enums import AuditAction, ExecutionStatus, RuleStatus

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import date, datetime
    from uuid import UUID

    from sqlalchemy import Connection, Row

    from engine.actions.base import Effect
    from engine.chunk import Item
    from engine.run_rules.plan import Memory, Run

SHOWN_ACTIONS: Final = 1000
_SHOWN_TEXT: Final = 500
_ASKER: Final = "requested_by"


@dataclass(frozen=True, slots=True)
class Failed:
    """An evaluation that ended in an error instead of a plan, and the rule as it was tried."""

    item: Item
    rule_name: str
    rule_version: int
    active: bool
    failures: int
    """Those of the rule in a row before this one."""
    error: dict[str, Any]

    @classmethod
    def of(cls, item: Item, row: Row[Any], error: BaseException) -> Failed:
        """Return the failure of a locked rule's evaluation."""
        active = row.status == RuleStatus.ACTIVE
        return cls(item, row.name, row.version, active, row.failures_in_a_row, error_document(error))

    @classmethod
    def of_run(cls, run: Run, error: BaseException) -> Failed:
        """Return the failure of an evaluation that had begun."""
        rule = run.rule
        active = rule.status == RuleStatus.ACTIVE
        return cls(run.item, rule.name, rule.version, active, rule.failures, error_document(error))


@dataclass(frozen=True, slots=True)
class Carrier:
    """The task that carries the evaluations, as their records name it."""

    org_id: UUID
    task_id: UUID
    attempt: int


def begin(
    connection: Connection, carrier: Carrier, runs: Sequence[Run], failures: Sequence[Failed], memory: Memory
) -> None:
    """Write the executions and what they are about to do: whatever changes a campaign names an effect that is there."""
    now, org_id = memory.now, carrier.org_id
    rows = [_execution(run, memory, carrier) for run in runs] + [_failure(failed, carrier) for failed in failures]
    effects = [_action(effect) for run in runs for effect in run.effects]
    executions.insert(connection, org_id, carrier.task_id, rows, now=now)
    executions.insert_actions(connection, org_id, carrier.task_id, effects, now=now)


def finish(
    connection: Connection, carrier: Carrier, runs: Sequence[Run], failures: Sequence[Failed], memory: Memory
) -> None:
    """Write all else that the evaluations leave behind, once their effects are applied."""
    now, org_id = memory.now, carrier.org_id
    ended = [_ended(run) for run in runs] + [_failed(failed) for failed in failures]
    effects = [effect for run in runs for effect in run.effects]
    askers = {one.item.execution_id: one.item.requested_by for one in ended}
    audit.record(connection, org_id, [*_executed(ended, now), *_taken(effects, askers, now)], now=now)
    rules.count(connection, org_id, [*_counters(runs, memory), *map(_failure_counter, failures)], now=now)
    rules.remember(connection, org_id, _cooldowns(runs), now=now)
    trip(connection, org_id, runs, failures, now=now)
    occurrences.finish(connection, org_id, _outcomes(ended), now=now)


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


class _Ended(NamedTuple):
    """How one evaluation ended."""

    item: Item
    status: ExecutionStatus
    skip_reason: str | None
    results: dict[str, int]
    error: dict[str, Any] | None


def _ended(run: Run) -> _Ended:
    status = status_of(run.effects)
    skipped = (run.stopped or skip_reason(run.reached)).value if status is ExecutionStatus.SKIPPED else None
    return _Ended(run.item, status, skipped, dict(Counter(effect.status for effect in run.effects)), None)


def _failed(failed: Failed) -> _Ended:
    return _Ended(failed.item, ExecutionStatus.FAILURE, None, {}, failed.error)


def _execution(run: Run, memory: Memory, carrier: Carrier) -> dict[str, Any]:
    ended = _ended(run)
    return _item_columns(run.item, carrier) | {
        "rule_version": run.rule.version,
        "status": ended.status.value,
        "skip_reason": ended.skip_reason,
        "duration_ms": round(run.seconds * 1000),
        "conditions_evaluated": {"counts": dict(run.counts), "entities": run.entities},
        "actions_executed": [_summary(effect) for effect in run.effects[:SHOWN_ACTIONS]],
        "results": ended.results,
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
        "error": _why(effect),
    }


def _why(effect: Effect) -> dict[str, Any] | None:
    """Return why an effect is held or failed."""
    if effect.reason is None:
        return None
    held = {} if effect.guardrail is None else {"guardrail": effect.guardrail}
    return {"code": effect.status.upper(), "message": effect.reason, **held}


def _executed(ended: Sequence[_Ended], now: datetime) -> list[dict[str, Any]]:
    return [
        {
            "audit_id": uuid7(now),
            "action": AuditAction.RULE_EXECUTED.value,
            "entity_type": "rule",
            "entity_id": one.item.rule_id,
            "rule_id": one.item.rule_id,
            "execution_id": one.item.execution_id,
            "user_id": one.item.requested_by,
            "details": {
                "status": one.status.value,
                "skip_reason": one.skip_reason,
                "results": one.results,
                "error": one.error,
            },
        }
        for one in ended
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
        "failures_in_a_row": in_a_row(run.rule.failures, status),
        "executed": status is not ExecutionStatus.SKIPPED,
    }


def _failure_counter(failed: Failed) -> dict[str, Any]:
    counts = {"success": 0, "partial": 0, "failure": 1, "skipped": 0}
    acted = {"acted_on": None, "acted_today": None}
    failures = {"failures_in_a_row": failed.failures + 1, "executed": True}
    return {"rule_id": failed.item.rule_id, **counts, **acted, **failures}


def _cooldowns(runs: Sequence[Run]) -> list[dict[str, Any]]:
    pairs = {
        (effect.rule_id, effect.entity_id): effect.execution_id
        for run in runs
        for effect in run.effects
        if effect.status == "succeeded"
    }
    return [{"rule_id": key[0], "entity_id": key[1], "execution_id": value} for key, value in pairs.items()]


def _outcomes(ended: Sequence[_Ended]) -> list[dict[str, Any]]:
    """Pair runs of jobs with their outcomes. Effects that are held do not keep a run open (SPEC §5)."""
    outcomes = []
    for one in ended:
        if one.item.job_id is not None:
            outcome = "success" if one.status is ExecutionStatus.RUNNING else one.status.value
            outcomes.append(occurrence_key(one.item) | {"outcome": outcome})
    return outcomes
