"""Do again what a dead letter was to do, once; or let a task that waits for its next attempt have it at once.

What has ended is immutable: an execution that failed stays a failure, an occurrence that was lost stays lost. So an
evaluation is done again as a new one, which a person asked for; a delivery goes out again under its old key.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final
from uuid import UUID

from core.ids import uuid7
from engine import chunk, redeliver
from engine.control_tasks.frame import Dealt
from engine.store import dead_letters, deliveries, maintenance, task_lists, tasks
from models.audit_actions import AuditAction
from models.enums import ActionStatus, TaskKind, TaskState, TriggerType
from models.queue_enums import Handling

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlalchemy import Row

    from core.errors import ConflictError
    from engine.control_tasks.frame import Case

_SENDABLE: Final = (ActionStatus.FAILED, ActionStatus.DISCARDED, ActionStatus.UNKNOWN)
_RECORDED: Final = 100
"""Executions that the audit entry of a retry names."""


def retry(case: Case) -> Dealt:
    """Do a dead letter's work again, or hasten a retry that waits; raises ConflictError where that would be wrong."""
    if case.shared:
        raise case.refuse("carries evaluations of several orgs", "run the rule yourself: `cmis rules run`")
    match TaskState(case.row.state):
        case TaskState.FAILED | TaskState.DEAD if case.row.handled_at is not None:
            again = task_lists.retried_as(case.connection, case.org_id, case.task_id)
            return Dealt(case.task_id, "unchanged", f"it was {case.row.handled_as} already", again)
        case TaskState.FAILED | TaskState.DEAD:
            return _again(case)
        case TaskState.READY:
            return _hasten(case)
        case _:
            remedy = "only what failed or died is done again, and only a retry that waits is hastened"
            raise case.refuse(f"is {case.row.state}", remedy)


def _again(case: Case) -> Dealt:
    match case.row.kind:
        case TaskKind.EVALUATE_RULES:
            return _evaluate(case)
        case TaskKind.DELIVER:
            return _deliver(case)
        case TaskKind.APPLY_ACTIONS:
            raise _closed(case)
        case TaskKind.RUN_WORKFLOW:
            raise _of_workflow(case)
        case _:
            raise case.refuse("is upkeep, which is done each hour anew", "discard it")


def _evaluate(case: Case) -> Dealt:
    """Enqueue the evaluations anew, as ones that a person asked for: their old executions have ended."""
    row, now = case.row, case.now
    groups = [_fresh(case, group) for group in chunk.groups(case.payload)]
    made = {
        "org_id": case.org_id,
        "task_id": uuid7(now),
        "kind": row.kind,
        "queue": row.queue,
        "payload": chunk.payload(groups),
        "run_at": now,
        "timeout_seconds": row.timeout_seconds,
        "attempt": 0,
        "priority": row.priority,
        "retry_of": case.task_id,
    }
    tasks.insert(case.connection, [made], now=now)
    executions = [one.execution_id for group in groups for one in _evaluations(group)]
    return _done(case, made["task_id"], executions=[str(one) for one in executions[:_RECORDED]])


def _fresh(case: Case, group: chunk.Group) -> chunk.Group:
    items = tuple(item._replace(**_asked(case, item)) for item in group.items)
    alone = group.optimization
    return chunk.Group(group.org_id, items, None if alone is None else replace(alone, **_asked(case, alone)))


def _asked(case: Case, one: chunk.Item | chunk.Optimization) -> dict[str, Any]:
    """Return what is different in an evaluation that is done again: it belongs to no planned time."""
    return {
        "execution_id": uuid7(case.now),
        "trigger": TriggerType.MANUAL.value,
        "job_id": None,
        "origin": None,
        "scheduled_for": None,
        "requested_by": case.context.user_id,
        "context": (one.context or {}) | {"retry_of": str(case.task_id)},
    }


def _evaluations(group: chunk.Group) -> Sequence[chunk.Item | chunk.Optimization]:
    return group.items if group.optimization is None else [group.optimization]


def _deliver(case: Case) -> Dealt:
    """Send again, under its key, whatever of the delivery has not arrived for certain."""
    sent = 0
    while left := _carried(case, *_SENDABLE):
        redeliver.retry_in(case.connection, case.org_id, left[0].action_id, case.note)
        sent += 1
    if not sent:
        raise case.refuse("has nothing left that could be sent again", "discard it; `cmis tasks show` says what was")
    made = task_lists.retried_as(case.connection, case.org_id, case.task_id)
    return _done(case, made)


def _done(case: Case, made: UUID | None, **details: Any) -> Dealt:
    dead_letters.handle(case.connection, case.org_id, case.task_id, Handling.RETRIED, case.note, now=case.now)
    case.record(AuditAction.TASK_RETRIED, retried_as=str(made), **details)
    maintenance.wake_schedulers(case.connection)
    return Dealt(case.task_id, "retried", retried_as=made)


def _closed(case: Case) -> ConflictError:
    """Return why actions that followed after a delay are not applied any more."""
    [group] = chunk.groups(case.payload)
    message = "was to apply actions after a delay: they failed with it, and their execution is closed"
    return case.refuse(message, f"run the rule again: `cmis rules run {group.items[0].rule_id}`; then discard the task")


def _of_workflow(case: Case) -> ConflictError:
    """Return how a person goes on with a run whose steps failed with their task."""
    [item, *_] = case.payload["items"]
    if item.get("start") is not None:
        message = "was to start a run of a workflow for its job, whose planned time has ended without one"
        return case.refuse(
            message, f"run the job now: `cmis jobs run {item['start']['job_id']}`; then discard the task"
        )
    instance_id, step_id = item["instance_id"], item.get("step_id")
    message = f"is of the run {instance_id} of a workflow, whose steps failed with it, or were given to other tasks"
    verb = f"`cmis workflows retry {instance_id} {step_id or 'STEP'}`"
    return case.refuse(message, f"see `cmis workflows show {instance_id}`, and {verb}; then discard the task")


def _hasten(case: Case) -> Dealt:
    """Let a retry that waits be made at once; what waits for another reason is left to wait for it."""
    if case.row.kind == TaskKind.RUN_WORKFLOW:
        [item, *_] = case.payload["items"]
        verb = f"`cmis workflows retry {item['instance_id']} STEP` hastens a step"
        raise case.refuse("is ready, and of a run of a workflow", verb)
    if case.row.run_at <= case.now:
        return Dealt(case.task_id, "unchanged", "it is due already")
    if case.row.kind != TaskKind.DELIVER and case.row.attempt == 0:
        raise case.refuse("was not tried yet, and waits for its time", "`cmis tasks why` says for how long")
    waiting = _carried(case, ActionStatus.QUEUED) if case.row.kind == TaskKind.DELIVER else []
    if waiting:
        redeliver.retry_in(case.connection, case.org_id, waiting[0].action_id, case.note)
    else:
        dead_letters.hasten(case.connection, case.org_id, case.task_id, now=case.now)
    case.record(AuditAction.TASK_RETRIED, hastened=True)
    maintenance.wake_schedulers(case.connection)
    return Dealt(case.task_id, "hastened", "its next attempt is due at once")


def _carried(case: Case, *statuses: ActionStatus) -> list[Row[Any]]:
    """Lock what a delivery carries, and return what is still in this task's hands and in one of these states."""
    ids = [UUID(one) for one in case.payload["action_ids"]]
    rows = deliveries.lock(case.connection, case.org_id, ids)
    return [row for row in rows if row.task_id == case.task_id and row.status in statuses]
