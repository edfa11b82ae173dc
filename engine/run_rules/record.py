"""Turn what was planned into rows: executions, effects, audit, counters, cooldowns, outcomes; written in bulk."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from core.ids import uuid7
from engine.run_rules.breaker import in_a_row, trip
from engine.run_rules.ended import broken, ended, status_of
from engine.run_rules.later import followers
from engine.run_rules.work import occurrence_key
from engine.store import audit, executions, occurrences, rules, tasks
from models.audit_actions import AuditAction
from models.enums import ExecutionStatus

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime
    from uuid import UUID

    from sqlalchemy import Connection

    from engine.actions.base import Effect
    from engine.chunk import Item
    from engine.run_rules.ended import Carrier, Ended, Failed
    from engine.run_rules.state import Memory, Run

SHOWN_ACTIONS: Final = 1000
_ASKER: Final = "requested_by"
_COUNTERS: Final = ("success", "partial", "failure", "skipped")
_COUNTED: Final = {status: {name: int(status == name) for name in _COUNTERS} for status in ExecutionStatus}
"""What an execution of a status adds to each counter of its rule."""


def begin(
    connection: Connection, carrier: Carrier, runs: Sequence[Run], failures: Sequence[Failed], memory: Memory
) -> None:
    """Write the executions and what they are about to do: whatever changes a campaign names an effect that is there."""
    now, org_id = memory.now, carrier.org_id
    rows = [_execution(run, memory, carrier) for run in runs] + [_failure(failed, carrier) for failed in failures]
    effects = [effect.row() for run in runs for effect in run.effects]
    later = [one for run in runs for one in followers(run, memory)]
    if later:
        carriers = {(one.execution_id, one.position): one.task_id for one in later}
        effects = [row | {"task_id": carriers.get((row["execution_id"], row["position"]))} for row in effects]
    executions.insert(connection, org_id, carrier.task_id, rows, now=now)
    executions.insert_actions(connection, org_id, carrier.task_id, effects, now=now)
    tasks.insert(connection, [one.row(org_id) for one in later], now=now)


def finish(
    connection: Connection, carrier: Carrier, runs: Sequence[Run], failures: Sequence[Failed], memory: Memory
) -> None:
    """Write all else that the evaluations leave behind, once their effects are applied."""
    now, org_id = memory.now, carrier.org_id
    done = [ended(run) for run in runs] + [broken(failed) for failed in failures]
    effects = [effect for run in runs for effect in run.effects]
    askers = {one.item.execution_id: one.item.requested_by for one in done}
    audit.record(connection, org_id, [*_executed(done, now), *taken(effects, askers, now)], now=now)
    rules.count(connection, org_id, [*_counters(runs, memory), *map(_failure_counter, failures)], now=now)
    rules.remember(connection, org_id, _cooldowns(runs), now=now)
    trip(connection, org_id, runs, failures, now=now)
    occurrences.finish(connection, org_id, _outcomes(done), now=now)


def _execution(run: Run, memory: Memory, carrier: Carrier) -> dict[str, Any]:
    end = ended(run)
    return _item_columns(run.item, carrier) | {
        "rule_version": run.rule.version,
        "status": end.status.value,
        "skip_reason": end.skip_reason,
        "duration_ms": round(run.seconds * 1000),
        "conditions_evaluated": {"counts": dict(run.counts), "entities": run.shown_entities},
        "actions_executed": [_summary(effect) for effect in run.effects[:SHOWN_ACTIONS]],
        "results": end.results,
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


def _executed(ended: Sequence[Ended], now: datetime) -> list[dict[str, Any]]:
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


def taken(effects: Sequence[Effect], askers: Mapping[UUID, UUID | None], now: datetime) -> list[dict[str, Any]]:
    """Return the audit entries of the effects that are applied; `askers`: who asked for the execution, if anybody."""
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
    acted = run.acted
    return {
        "rule_id": run.rule.rule_id,
        **_COUNTED[status],
        "acted_on": memory.today if acted else None,
        "acted_today": memory.acted_today(run.rule) + 1 if acted else None,
        "failures_in_a_row": in_a_row(run.rule.failures, status),
        "executed": status is not ExecutionStatus.SKIPPED,
    }


def _failure_counter(failed: Failed) -> dict[str, Any]:
    acted = {"acted_on": None, "acted_today": None}
    failures = {"failures_in_a_row": failed.failures + 1, "executed": True}
    return {"rule_id": failed.item.rule_id, **_COUNTED[ExecutionStatus.FAILURE], **acted, **failures}


def _cooldowns(runs: Sequence[Run]) -> list[dict[str, Any]]:
    pairs = {
        (effect.rule_id, effect.entity_id): effect.execution_id for run in runs for effect in run.effects if effect.acts
    }
    return [{"rule_id": key[0], "entity_id": key[1], "execution_id": value} for key, value in pairs.items()]


def _outcomes(ended: Sequence[Ended]) -> list[dict[str, Any]]:
    """Pair runs of jobs with their outcomes. Effects that are held do not keep a run open, queued ones do (SPEC §5)."""
    outcomes = []
    for one in ended:
        if one.item.job_id is not None and not one.results.get("queued"):
            outcome = "success" if one.status is ExecutionStatus.RUNNING else one.status.value
            outcomes.append(occurrence_key(one.item) | {"outcome": outcome})
    return outcomes
