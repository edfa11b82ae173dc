"""Turn what was planned into rows, and write them in bulk: executions and effects, with all that they leave behind."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from core.ids import uuid7
from engine.deliver.enqueue import carried
from engine.run_rules.breaker import in_a_row, trip
from engine.run_rules.ended import broken, ended
from engine.run_rules.later import followers
from engine.store import executions, tasks
from models.audit_actions import AuditAction
from models.enums import EntityType, ExecutionStatus

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime
    from uuid import UUID

    from sqlalchemy import Connection

    from engine.actions.base import Effect
    from engine.chunk import Item
    from engine.run_rules.ended import Carrier, Ended, Failed
    from engine.run_rules.state import Memory, Run

SHOWN_ACTIONS: Final = 1000
_ASKER: Final = "requested_by"


def write(
    connection: Connection, carrier: Carrier, runs: Sequence[Run], failures: Sequence[Failed], memory: Memory
) -> None:
    """Write all that evaluations leave behind, before their effects are applied: what changes a campaign names one.

    Both is in one savepoint, so that nothing of it is there without the effects.
    """
    now, org_id = memory.now, carrier.org_id
    rows = [_execution(run, memory, carrier) for run in runs]
    rows += [_failure(failed, memory, carrier) for failed in failures]
    effects = [_effect(effect, run, memory) for run in runs for effect in run.effects]
    later = [one for run in runs for one in followers(run, memory)]
    parcels = carried((effect for run in runs for effect in run.effects), now=now)
    if later or parcels:
        carriers = {(one.execution_id, one.position): one.task_id for one in later}
        by_effect = {action_id: parcel.task_id for parcel in parcels for action_id in parcel.action_ids}
        for one in effects:
            one["task_id"] = by_effect.get(one["action_id"]) or carriers.get((one["execution_id"], one["position"]))
    seen = [{"counts": dict(run.counts), "entities": run.shown_entities} for run in runs] + [{} for _ in failures]
    executions.insert(connection, org_id, carrier.task_id, rows, seen, now=now)
    executions.insert_actions(connection, org_id, carrier.task_id, effects, now=now)
    carrying = [one.row(org_id) for one in later] + [parcel.row(org_id, now=now) for parcel in parcels]
    tasks.insert(connection, carrying, now=now)
    trip(connection, org_id, runs, failures, now=now)


def _execution(run: Run, memory: Memory, carrier: Carrier) -> dict[str, Any]:
    end, rule, acted = ended(run), run.rule, run.acted
    return {
        **_common(end, carrier, memory.now),
        "acted_on": memory.today if acted else None,
        "acted_today": memory.acted_today(rule) + 1 if acted else None,
        "duration_ms": round(run.seconds * 1000),
        "rule_version": rule.version,
        "actions_executed": [_summary(effect) for effect in run.effects[:SHOWN_ACTIONS]],
        "failures_in_a_row": in_a_row(rule.failures, end.status),
    }


def _failure(failed: Failed, memory: Memory, carrier: Carrier) -> dict[str, Any]:
    return {
        **_common(broken(failed), carrier, memory.now),
        "duration_ms": 0,
        "rule_version": failed.rule_version,
        "actions_executed": [],
        "failures_in_a_row": failed.failures + 1,
    }


def _common(end: Ended, carrier: Carrier, now: datetime) -> dict[str, Any]:
    """Return what all executions have; shorter keys first, as PostgreSQL orders them: it need not sort them then."""
    item = end.item
    return {
        "error": end.error,
        "job_id": item.job_id,
        "origin": item.origin,
        "status": end.status.value,
        "attempt": carrier.attempt,
        "context": _context(item),
        "outcome": _outcome(end),
        "results": end.results,
        "rule_id": item.rule_id,
        "trigger": item.trigger,
        "user_id": item.requested_by,
        "audit_id": uuid7(now),
        "skip_reason": end.skip_reason,
        "execution_id": item.execution_id,
        "scheduled_for": item.scheduled_for,
    }


def _effect(effect: Effect, run: Run, memory: Memory) -> dict[str, Any]:
    """Return an effect's row; what is applied is in the audit log."""
    asker = run.item.requested_by
    taken = {"audit_id": uuid7(memory.now), "user_id": asker} if effect.status == "succeeded" else {}
    about = EntityType.EVENT if run.rule.about_event else EntityType.CAMPAIGN
    return effect.row() | taken | {"acts": effect.acts, "entity_type": about.value}


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


def taken(effects: Sequence[Effect], asker: UUID | None, now: datetime) -> list[dict[str, Any]]:
    """Return the audit entries of an execution's effects that are applied; `asker`: who asked for it, if anybody."""
    return [
        {
            "audit_id": uuid7(now),
            "action": AuditAction.ACTION_TAKEN.value,
            "entity_type": "campaign",
            "entity_id": effect.entity_id,
            "rule_id": effect.rule_id,
            "execution_id": effect.execution_id,
            "action_id": effect.action_id,
            "user_id": asker,
            "before": effect.before,
            "after": effect.after,
            "details": {"type": effect.kind},
        }
        for effect in effects
        if effect.status == "succeeded"
    ]


def _outcome(end: Ended) -> str | None:
    """Return how a job's run ends. What is held or delivered does not keep it open, what follows does (SPEC §5)."""
    if end.item.job_id is None or end.goes_on:
        return None
    return "success" if end.status is ExecutionStatus.RUNNING else end.status.value
