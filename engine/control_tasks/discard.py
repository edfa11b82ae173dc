"""Give tasks up: what waits is cancelled with all that hangs on it, what is at work asked to stop, dead letters end."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final
from uuid import UUID

from core.ids import uuid7
from engine import chunk, redeliver
from engine.control_tasks.failures import UNREADABLE
from engine.control_tasks.frame import Dealt
from engine.run_rules.work import occurrence_key
from engine.run_workflow import items
from engine.store import audit, dead_letters, delayed, deliveries, instance_lists, maintenance, occurrences, rules
from models.audit_actions import AuditAction
from models.enums import ActionStatus, Outcome, TaskKind, TaskState
from models.queue_enums import Handling

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from sqlalchemy import Row

    from core.errors import ConflictError
    from engine.control_tasks.frame import Case

_OPEN: Final = frozenset({ActionStatus.QUEUED, ActionStatus.UNKNOWN})
_SHOWN: Final = 500
_CODE: Final = "DISCARDED"


def discard(case: Case) -> Dealt:
    """Give a task up; raises ConflictError where something else is to be done instead."""
    if case.shared:
        return _cancel_share(case)
    match TaskState(case.row.state):
        case TaskState.READY | TaskState.HELD:
            return _cancel(case)
        case TaskState.RUNNING:
            return _stop(case)
        case TaskState.FAILED | TaskState.DEAD:
            return _settle(case)
        case _:
            raise case.refuse(f"is {case.row.state}: nothing of it is left", "there is nothing to give up")


def _settle(case: Case) -> Dealt:
    """Deal with a dead letter; what nobody knows of its delivery is given up with it, as far as it can be read."""
    if case.row.handled_at is not None:
        return Dealt(case.task_id, "unchanged", f"it was {case.row.handled_as} already")
    unread = case.row.kind == TaskKind.DELIVER and not _given_up(case)
    dead_letters.handle(case.connection, case.org_id, case.task_id, Handling.DISCARDED, case.note, now=case.now)
    case.record(AuditAction.TASK_DISCARDED)
    return Dealt(case.task_id, "discarded", "what it was to deliver cannot be read" if unread else None)


def _given_up(case: Case) -> bool:
    """Discard what a dead delivery left open; False if it does not say what it carried."""
    try:
        ids = _effects(case)
    except UNREADABLE:
        return False
    _give_up(case, ids)
    return True


def _cancel(case: Case) -> Dealt:
    """End a task that nobody has begun, with what hangs on it."""
    match case.row.kind:
        case TaskKind.EVALUATE_RULES:
            _end_occurrences(case, _planned(case))
        case TaskKind.APPLY_ACTIONS:
            _discard_actions(case)
        case TaskKind.DELIVER:
            _give_up(case, _effects(case))
        case TaskKind.RUN_WORKFLOW:
            _end_starts(case)
        case _:
            raise case.refuse("is upkeep, which must be done", "leave it")
    dead_letters.cancel(case.connection, case.org_id, case.task_id, _error(case), now=case.now)
    case.record(AuditAction.TASK_DISCARDED)
    return Dealt(case.task_id, "cancelled")


def _planned(case: Case) -> list[dict[str, Any]]:
    """Return the keys of the runs of jobs that the task carries."""
    groups = chunk.groups(case.payload)
    one_by_one: Iterable[chunk.Item | chunk.Optimization] = (
        one for group in groups for one in (*group.items, group.optimization) if one is not None
    )
    return [occurrence_key(one) for one in one_by_one if one.job_id is not None]


def _end_occurrences(case: Case, planned: Iterable[dict[str, Any]]) -> None:
    ending = {"outcome": Outcome.CANCELLED.value, "reason": _error(case)["message"]}
    occurrences.finish(case.connection, case.org_id, [key | ending for key in planned], now=case.now)


def _discard_actions(case: Case) -> None:
    """Discard the actions that the task was to apply; the next one of the rule is released, or its execution ends."""
    connection, org_id = case.connection, case.org_id
    [group] = chunk.groups(case.payload)
    [item] = group.items
    rules.lock(connection, org_id, [item.rule_id])
    queued = delayed.queued(connection, org_id, item.execution_id, case.task_id)
    nothing = {"status": ActionStatus.DISCARDED.value, "before": {}, "after": {}, "error": _error(case)}
    rows = [{"action_id": one.action_id} | nothing for one in queued]
    delayed.finish(connection, org_id, case.task_id, rows, now=case.now)
    audit.record(connection, org_id, [_discarded(case, item, one) for one in queued], now=case.now)
    delayed.settle(connection, org_id, item.execution_id, now=case.now)
    maintenance.wake_schedulers(connection)


def _discarded(case: Case, item: chunk.Item, action: Row[Any]) -> dict[str, Any]:
    return {
        "audit_id": uuid7(case.now),
        "action": AuditAction.ACTION_DISCARDED.value,
        "entity_type": "campaign",
        "entity_id": action.entity_id,
        "rule_id": item.rule_id,
        "execution_id": item.execution_id,
        "action_id": action.action_id,
        "details": {"type": action.type, "reason": _error(case)["message"]},
    }


def _effects(case: Case) -> list[UUID]:
    return [UUID(one) for one in case.payload["action_ids"]]


def _give_up(case: Case, ids: Sequence[UUID]) -> None:
    """Discard what of a delivery waits, or is in doubt."""
    if not ids:
        return
    for row in deliveries.lock(case.connection, case.org_id, ids):
        if row.task_id == case.task_id and row.status in _OPEN:
            redeliver.discard_in(case.connection, case.org_id, row.action_id, case.note)


def _end_starts(case: Case) -> None:
    """End the runs of jobs whose instances are not made yet; raises ConflictError for instances that are there."""
    carried = items.read(case.payload)
    for item in carried:
        made = instance_lists.status(case.connection, case.org_id, item.instance_id) is not None
        if made or item.start is None:
            raise _steer_instead(case, item)
    _end_occurrences(case, [item.occurrence for item in carried])


def _steer_instead(case: Case, item: items.Item) -> ConflictError:
    message = f"is of the run {item.instance_id} of a workflow, which would wait for it for ever"
    skipping = f", or `cmis workflows skip {item.instance_id} {item.step_id}`" if item.step_id else ""
    return case.refuse(message, f"end the run: `cmis workflows cancel {item.instance_id}`{skipping}")


def _stop(case: Case) -> Dealt:
    """Ask a task at work to stop: its worker rolls back, and it is cancelled once its lease has ended."""
    if case.row.kind == TaskKind.RUN_WORKFLOW:
        [item, *_] = items.read(case.payload)
        raise _steer_instead(case, item)
    if case.row.kind not in {TaskKind.EVALUATE_RULES, TaskKind.APPLY_ACTIONS}:
        raise case.refuse("is at work, and what it does cannot be called back", "wait until it has ended")
    if not dead_letters.ask_to_stop(case.connection, case.org_id, case.task_id):
        return Dealt(case.task_id, "unchanged", "it was asked to stop before")
    case.record(AuditAction.TASK_DISCARDED)
    return Dealt(case.task_id, "asked_to_stop", "it is cancelled when its worker stops")


def _cancel_share(case: Case) -> Dealt:
    """Have the org's runs left out of a chunk that others share: its worker reads that before it begins each."""
    if case.row.finished_at is not None:
        raise case.refuse(f"is {case.row.state}: nothing of it is left", "there is nothing to give up")
    asked = occurrences.request_cancel(case.connection, case.org_id, _planned(case))
    if not asked:
        return Dealt(case.task_id, "unchanged", "its runs have ended, or were asked to stop before")
    case.record(AuditAction.TASK_DISCARDED, runs=asked)
    return Dealt(case.task_id, "asked_to_stop", f"{asked} runs of your org are left out of it")


def _error(case: Case) -> dict[str, str]:
    return {"code": _CODE, "message": f"given up: {case.note}"[:_SHOWN] if case.note else "given up by a person"}
