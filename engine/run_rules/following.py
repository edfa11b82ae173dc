"""Apply the actions that followed after a delay: what they change is planned now, and bounded now, as any effect is.

The parameters are those of the version that ran; the rule as it is now says whether they still happen.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final

from core.errors import TransientError
from core.ids import uuid7
from engine import push
from engine.actions.base import Effect
from engine.actions.registry import KINDS, ActionSpec
from engine.actions.start_workflow import unstartable
from engine.deliver.enqueue import carried
from engine.rules.guardrails import stored
from engine.run_rules.breaker import trip_closed
from engine.run_rules.compiled import idle_rule
from engine.run_rules.facts import load
from engine.run_rules.happened import Happened
from engine.run_rules.locking import MOVING, PLANS, facts_hold, remember
from engine.run_rules.plan import plan_effect, rounds
from engine.run_rules.record import taken
from engine.run_rules.state import Asked, Overlay, Run
from engine.store import audit, campaigns, delayed, events, occurrences, orgs, rules, tasks
from models.audit_actions import AuditAction
from models.enums import ExecutionStatus, RuleStatus

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime
    from uuid import UUID

    from sqlalchemy import Connection, Row

    from engine.chunk import Item
    from engine.run_rules.compiled import Rule
    from engine.run_rules.state import Memory
    from engine.run_rules.work import Work

_NO_CHANGE: Final = "there is nothing to change"
_ASKED: Final = "the same action already waits for approval"
_NOTHING_TO_DO: Final = frozenset({_NO_CHANGE, _ASKED})
"""Why an action is discarded that counts neither for its execution nor against it: no evaluation records it."""


@dataclass(frozen=True, slots=True)
class _Due:
    """The actions of one place in a rule's list, with what decides whether they still happen."""

    org: Row[Any]
    """Its zone and guardrails, as of now."""
    item: Item
    rule: Rule
    event: Happened | None
    """What triggered the execution, if it is not forgotten."""
    actions: Sequence[Row[Any]]
    failed: frozenset[UUID]
    """Entities of which an earlier action failed."""
    changed: frozenset[UUID]
    """Entities that earlier actions changed."""
    cancelled: bool

    def unwanted(self, entity_id: UUID) -> str | None:
        """Return why an action is not to happen any more, if so."""
        if self.cancelled:
            return "the run was cancelled"
        if self.rule.status != RuleStatus.ACTIVE:
            return f"the rule is {self.rule.status}"
        if self.rule.stop_on_error and entity_id in self.failed:
            return "an earlier action of the rule failed for this campaign"
        return None


def apply(connection: Connection, org_id: UUID, work: Work) -> dict[str, int]:
    """Plan and apply the queued actions of a claimed task; returns how many ended in which status.

    Raises TransientError if campaigns keep moving. The caller finishes the task.
    """
    due = _lock(connection, org_id, work)
    _, memory = remember(connection, org_id, [due.item.rule_id])
    specs = [ActionSpec(action.type, action.params) for action in due.actions]
    memory.unstartable = unstartable(connection, org_id, specs)
    for _ in range(PLANS):
        run, overlay = _plan(connection, due, memory)
        if facts_hold(connection, org_id, [run], [overlay], memory):
            break
    else:
        raise TransientError(MOVING)
    _write(connection, due, work, run, memory)
    return dict(Counter(effect.status for effect in run.effects))


def give_up(connection: Connection, org_id: UUID, work: Work, error: dict[str, Any]) -> None:
    """Fail the queued actions of a task that failed for good, and settle their execution."""
    due = _lock(connection, org_id, work)
    rows = [
        {"action_id": action.action_id, "status": "failed", "before": {}, "after": {}, "error": error}
        for action in due.actions
    ]
    delayed.finish(connection, org_id, work.claim.task_id, rows, now=work.now)
    _settle(connection, due, str(error["message"]), work.now)


def _lock(connection: Connection, org_id: UUID, work: Work) -> _Due:
    """Lock the rule, then read what was queued and what became of the actions before."""
    [group] = work.groups
    [item] = group.items
    rules.lock(connection, org_id, [item.rule_id])
    # Only now: a lock may be waited for, and no decision may be older than the effects of whoever held it.
    org = orgs.moment(connection, org_id)
    rule = _rule(connection, org, item.rule_id)
    event = None if item.event_id is None else events.get(connection, org_id, item.event_id)
    key = (org_id, item.execution_id, work.claim.task_id)
    others = delayed.before(connection, *key)
    planned = [] if item.scheduled_for is None else [item.scheduled_for]
    cancelled = (item.job_id, item.origin, item.scheduled_for) in occurrences.cancelled(connection, org_id, planned)
    return _Due(
        org,
        item,
        rule,
        None if event is None else Happened.of(event, rule.program.operands),
        delayed.queued(connection, *key),
        frozenset(other.entity_id for other in others if other.failed),
        frozenset(other.entity_id for other in others if other.changed),
        cancelled,
    )


def _plan(connection: Connection, due: _Due, memory: Memory) -> tuple[Run, Overlay]:
    rows = campaigns.some(connection, due.org.org_id, [action.entity_id for action in due.actions])
    page = load(connection, due.org.org_id, rows, (), now=memory.now, today=memory.today)
    overlay = Overlay(page, dict(memory.net))
    run = Run(due.item, due.rule, due.event, changed=set(due.changed))
    for action in due.actions:
        effect = _effect(due, run, overlay, memory, action)
        run.effects.append(effect)
        if effect.status == "succeeded" and effect.before:
            run.changed.add(effect.entity_id)
            overlay.put(overlay.get(effect.entity_id), effect)
    return run, overlay


def _effect(due: _Due, run: Run, overlay: Overlay, memory: Memory, action: Row[Any]) -> Effect:
    """Return what becomes of one queued action."""
    spec = ActionSpec(action.type, action.params)
    key = (action.action_id, due.item.execution_id, due.item.rule_id, action.position, spec.kind, spec.params)
    nothing = Effect(*key, action.entity_id, {}, {}, "discarded", due.unwanted(action.entity_id))
    if nothing.reason:
        return nothing
    if action.entity_id not in overlay.page.rows:
        return replace(nothing, reason="the campaign is archived")
    if spec.kind not in KINDS:
        return replace(nothing, status="failed", reason=f"the action {spec.kind} is not known any more")
    planned = plan_effect(run, overlay, memory, action.position, spec, overlay.get(action.entity_id))
    if planned is None:
        return replace(nothing, reason=_NO_CHANGE)
    if planned.status == "held" and Asked.of(planned, planned.kind) in memory.held:
        return replace(nothing, reason=_ASKED)
    return replace(planned, action_id=action.action_id)


def _write(connection: Connection, due: _Due, work: Work, run: Run, memory: Memory) -> None:
    """Write the intents, then the effects and their audit; then settle the execution."""
    org_id = due.org.org_id
    parcels = carried(run.effects, now=memory.now)
    carriers = {action_id: parcel.task_id for parcel in parcels for action_id in parcel.action_ids}
    rows = [_row(effect) | {"task_id": carriers.get(effect.action_id)} for effect in run.effects]
    if delayed.finish(connection, org_id, work.claim.task_id, rows, now=memory.now) != len(rows):
        message = "a queued action was decided by somebody else"
        raise TransientError(message)
    tasks.insert(connection, [parcel.row(org_id, now=memory.now) for parcel in parcels], now=memory.now)
    for effects in rounds([run]):
        KINDS[effects[0].kind].apply(connection, org_id, effects, now=memory.now)
    changed = [push.Applied.of(effect) for effect in run.effects if effect.status == "succeeded"]
    push.pushes(connection, org_id, changed, now=memory.now)
    entries = [*taken(run.effects, due.item.requested_by, memory.now), *_discarded(run.effects, memory)]
    audit.record(connection, org_id, entries, now=memory.now)
    failed = [effect.reason for effect in run.effects if effect.status == "failed"]
    _settle(connection, due, failed[-1] if failed else None, memory.now)


def _row(effect: Effect) -> dict[str, Any]:
    row = effect.row()
    nothing = effect.status == "discarded" and effect.reason in _NOTHING_TO_DO
    return row | {"error": row["error"] | {"code": "NOTHING_TO_DO"}} if nothing else row


def _discarded(effects: Sequence[Effect], memory: Memory) -> list[dict[str, Any]]:
    return [
        {
            "audit_id": uuid7(memory.now),
            "action": AuditAction.ACTION_DISCARDED.value,
            "entity_type": "campaign",
            "entity_id": effect.entity_id,
            "rule_id": effect.rule_id,
            "execution_id": effect.execution_id,
            "action_id": effect.action_id,
            "details": {"type": effect.kind, "reason": effect.reason},
        }
        for effect in effects
        if effect.status == "discarded"
    ]


def _settle(connection: Connection, due: _Due, last_failure: str | None, now: datetime) -> None:
    status = delayed.settle(connection, due.org.org_id, due.item.execution_id, now=now)
    if status == ExecutionStatus.FAILURE:
        trip_closed(connection, due.org.org_id, due.item.rule_id, due.item.execution_id, last_failure, now=now)


def _rule(connection: Connection, org: Row[Any], rule_id: UUID) -> Rule:
    """Return the locked rule with its guardrails, delays and counts; its actions are those of the version that ran."""
    [row] = rules.lock(connection, org.org_id, [rule_id])
    return idle_rule(row, rules.definitions(connection, org.org_id, [rule_id])[rule_id], stored(org.guardrails))
