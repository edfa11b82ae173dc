"""Why a rule does, or does not, act on a campaign now: tried as a dry run, and told gate by gate."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from core.db import repeat_on_conflict
from core.errors import InputError
from engine.actions.registry import parse_actions
from engine.dry_run import evaluate_in
from engine.find import find_campaign, find_rule
from engine.gate_report import Evaluated, Gate, missed_by, report, stopped_at
from engine.rule_document import refuse_event_rule
from engine.rules.gates import SkipReason
from engine.rules.guardrails import stored, strictest
from engine.store import acted, executions, orgs

if TYPE_CHECKING:
    from uuid import UUID

    from sqlalchemy import Connection, Row

    from core.db import Context, Database
    from engine.actions.base import Params
    from engine.rules.nearest import NearestMiss

Verdict: TypeAlias = Literal["would_fire", "would_ask", "stopped", "would_fail"]
"""It acts · all that it would do waits for a person · a gate stops it · the evaluation itself fails."""


@dataclass(frozen=True, slots=True)
class Why:
    """The answer, and what is on record of the rule and the campaign."""

    evaluated: Evaluated
    error: dict[str, Any] | None
    """What is wrong where the rule cannot be evaluated at all."""
    last_acted: Row[Any] | None
    """The last execution in which it acted on the campaign."""
    last_evaluation: Row[Any] | None
    """Its last execution, whatever came of it."""

    @property
    def gates(self) -> list[Gate]:
        """All gates in their order; none where the rule cannot be evaluated."""
        return [] if self.error else report(self.evaluated)

    @property
    def stopped_by(self) -> Gate | None:
        """The gate that stops it."""
        return next((gate for gate in self.gates if gate.result == "stopped"), None)

    @property
    def verdict(self) -> Verdict:
        """What would come of it."""
        if self.error:
            return "would_fail"
        if stopped_at(self.evaluated) is None:
            return "would_fire"
        return "would_ask" if any(action.status == "held" for action in self.evaluated.actions) else "stopped"

    @property
    def nearest_miss(self) -> NearestMiss | None:
        """The cheapest change with which the conditions would hold, where it is they that stop it."""
        return None if self.error else missed_by(self.evaluated)


def why(database: Database, context: Context, rule: UUID | str, entity: UUID | str) -> Why:
    """Say what stops a rule for a campaign now, or what it would do; nothing is written.

    Both are named by id or exact name. Raises NotFoundError on `rule` or `entity`, and TransientError where a worker
    would try again later.
    """

    def answer() -> Why:
        with database.rehearsal(context) as connection:
            found = _ask(connection, context, rule, entity)
        if found.verdict == "would_fire" and _bounded_together(found.evaluated):
            with database.rehearsal(context) as connection:
                return _among_others(connection, context, found)
        return found

    return repeat_on_conflict(answer)


def _ask(connection: Connection, context: Context, rule_reference: UUID | str, entity: UUID | str) -> Why:
    """Try the rule on the campaign alone."""
    org_id = context.org_id
    rule = find_rule(connection, org_id, rule_reference)
    refuse_event_rule(rule.trigger_type, "rule", "tried without one")
    campaign = find_campaign(connection, org_id, entity, "entity")
    org = orgs.moment(connection, org_id)
    memory = acted.memory(connection, org_id, rule.rule_id, campaign.campaign_id)
    last_acted = executions.get(connection, org_id, memory.execution_id) if memory else None
    before = executions.listing(connection, org_id, since=rule.created_at, rule_id=rule.rule_id, limit=1)
    waiting = acted.waiting(connection, org_id, rule.rule_id, campaign.campaign_id, now=org.now)
    tried = evaluate_in(connection, context, rule, only=campaign.campaign_id, as_if_active=False)
    reason = tried.execution.skip_reason
    evaluated = Evaluated(
        rule=rule,
        campaign=campaign,
        org=org,
        skip_reason=None if reason is None else SkipReason(reason),
        entity=next(iter(tried.execution.conditions_evaluated.get("entities", ())), None),
        actions=tried.actions,
        last_acted_at=memory.last_acted_at if memory else None,
        waiting=[one for one in waiting if (one.type, one.params) in _wanted(rule)],
    )
    return Why(evaluated, tried.execution.error, last_acted, next(iter(before), None))


def _wanted(rule: Row[Any]) -> list[tuple[str, Params]]:
    """Return the rule's actions; none where they cannot be read any more."""
    try:
        return [(spec.kind, spec.params) for spec in parse_actions(rule.actions, "actions")]
    except InputError:
        return []


def _bounded_together(evaluated: Evaluated) -> bool:
    """Say whether a guardrail bounds what the rule does to all its campaigns together."""
    bounds = strictest(stored(evaluated.org.guardrails), stored(evaluated.rule.guardrails))
    together = bounds.max_entities_per_run is not None or bounds.max_daily_net_change is not None
    return together and evaluated.rule.entity_id is None


def _among_others(connection: Connection, context: Context, alone: Why) -> Why:
    """Try the rule on all its campaigns, and take from that what it does to the one."""
    campaign_id = alone.evaluated.campaign.campaign_id
    tried = evaluate_in(connection, context, alone.evaluated.rule, only=None, as_if_active=False)
    actions = [action for action in tried.actions if action.entity_id == campaign_id]
    # Nothing to record of a campaign that it would act on if it were alone: what it would do waits for approval.
    reason = None if actions else SkipReason.GUARDRAIL
    evaluated = replace(alone.evaluated, actions=actions, skip_reason=reason)
    return replace(alone, evaluated=evaluated, error=tried.execution.error)
