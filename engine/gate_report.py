"""Each gate between a rule and one campaign: passed, stopped there, or not reached; read off a recorded evaluation.

The gates are those of the engine, in its order. Nothing is decided here: what stopped the rule is what the evaluation
says stopped it, and this module adds the numbers by which it did.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, timedelta
from typing import TYPE_CHECKING, Any, Final, Literal, TypeAlias

from engine.rules.conditions import parse
from engine.rules.gates import SkipReason
from engine.rules.nearest import nearest_miss
from engine.rules.traced import facts_shown
from engine.schedule.zones import local_day, zone
from models.enums import ActionStatus

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime

    from sqlalchemy import Row

    from engine.rules.nearest import NearestMiss

GateResult: TypeAlias = Literal["passed", "stopped", "not_reached"]
GATES: Final = ("rule_active", "daily_limit", "entity", "cooldown", "conditions", "change", "guardrails")
"""In their order. `entity`: the rule is for the campaign; `change`: there is something to do that can be done."""
_STOPPED_AT: Final = {
    SkipReason.RULE_INACTIVE: "rule_active",
    SkipReason.DAILY_LIMIT: "daily_limit",
    SkipReason.NO_ENTITIES: "entity",
    SkipReason.COOLDOWN: "cooldown",
    SkipReason.CONDITIONS_UNKNOWN: "conditions",
    SkipReason.CONDITIONS_NOT_MET: "conditions",
    SkipReason.NO_CHANGE: "change",
    SkipReason.GUARDRAIL: "guardrails",
}
_ASKED: Final = {ActionStatus.HELD: "waits for approval", ActionStatus.REJECTED: "was rejected"}
_ACTS: Final = frozenset({ActionStatus.SUCCEEDED, ActionStatus.QUEUED})
"""What an effect is that is applied, or will be in its turn: what uses up limit and cooldown."""


@dataclass(frozen=True, slots=True)
class Gate:
    """One gate: whether the rule passes it for the campaign, why not, and the numbers that it compares."""

    gate: str
    result: GateResult
    reason: str | None = None
    details: Mapping[str, Any] | None = None

    def document(self) -> dict[str, Any]:
        """Return the gate as JSON."""
        reason = {} if self.reason is None else {"reason": self.reason}
        return {"gate": self.gate, "result": self.result, **reason, **(self.details or {})}


@dataclass(frozen=True, slots=True)
class Evaluated:
    """What is known of one evaluation of a rule for one campaign alone."""

    rule: Row[Any]
    campaign: Row[Any]
    org: Row[Any]
    """Its zone, and the time."""
    skip_reason: SkipReason | None
    """None: it acts, or would if its guardrails or its actions let it."""
    entity: Mapping[str, Any] | None
    """What the execution tells of the campaign; None where it was not looked at."""
    actions: Sequence[Row[Any]]
    last_acted_at: datetime | None
    waiting: Sequence[Row[Any]]
    """Effects for which it does not ask again: they wait for approval, or a person rejected them."""

    @property
    def trace(self) -> Mapping[str, Any] | None:
        """The conditions leaf by leaf, if they were looked at."""
        return None if self.entity is None else self.entity.get("trace")


def stopped_at(evaluated: Evaluated) -> str | None:
    """Return the gate that stops the rule, or None if it would act."""
    if evaluated.skip_reason is not None:
        return _STOPPED_AT[evaluated.skip_reason]
    statuses = {ActionStatus(action.status) for action in evaluated.actions}
    if statuses & _ACTS:
        return None
    return "guardrails" if ActionStatus.HELD in statuses else "change"


def report(evaluated: Evaluated) -> list[Gate]:
    """Return all gates in their order."""
    stop = stopped_at(evaluated)
    last = len(GATES) if stop is None else GATES.index(stop)
    gates = []
    for place, name in enumerate(GATES):
        details = _DETAILS[name](evaluated) if place <= last and name in _DETAILS else None
        if place < last:
            gates.append(Gate(name, "passed", details=details))
        elif place == last:
            gates.append(Gate(name, "stopped", _REASONS[name](evaluated), details))
        else:
            gates.append(Gate(name, "not_reached"))
    return gates


def missed_by(evaluated: Evaluated) -> NearestMiss | None:
    """Return the cheapest change with which the conditions would hold; None where they do, or none was found."""
    if stopped_at(evaluated) != "conditions" or evaluated.trace is None:
        return None
    condition = parse(evaluated.rule.conditions, evaluated.rule.condition_logic)
    return nearest_miss(condition, facts_shown(condition, evaluated.trace))


def _acted_today(evaluated: Evaluated) -> int:
    today = local_day(evaluated.org.now, zone(evaluated.org.timezone))
    return evaluated.rule.acted_today if evaluated.rule.acted_on == today else 0


def _free_at(evaluated: Evaluated) -> datetime | None:
    """Return when the cooldown is over, or was."""
    if evaluated.last_acted_at is None:
        return None
    return evaluated.last_acted_at + timedelta(minutes=evaluated.rule.cooldown_minutes)


def _inactive(evaluated: Evaluated) -> str:
    return f"the rule is {evaluated.rule.status}"


def _limited(evaluated: Evaluated) -> str:
    acted, most = _acted_today(evaluated), evaluated.rule.max_executions_per_day
    return f"it acted {acted} of at most {most} times today ({evaluated.org.timezone})"


def _not_for_it(evaluated: Evaluated) -> str:
    if evaluated.rule.entity_id not in {None, evaluated.campaign.campaign_id}:
        return f"the rule is for campaign {evaluated.rule.entity_id} alone"
    return f"the campaign is {evaluated.campaign.status}"


def _cooling(evaluated: Evaluated) -> str:
    minutes, free = evaluated.rule.cooldown_minutes, _free_at(evaluated)
    until = "" if free is None else f", until {free.astimezone(UTC):%Y-%m-%d %H:%M:%S}Z"
    return f"it acted on the campaign and leaves it alone for {minutes} minutes{until}"


def _not_met(evaluated: Evaluated) -> str:
    unknown = evaluated.skip_reason is SkipReason.CONDITIONS_UNKNOWN
    said = "its conditions cannot be decided" if unknown else "its conditions do not hold"
    miss = missed_by(evaluated)
    return said if miss is None else f"{said}; {miss.text}"


def _nothing_to_do(evaluated: Evaluated) -> str:
    failed = [action.error["message"] for action in evaluated.actions if action.status == "failed"]
    return "; ".join(failed) or "the campaign already is as the actions would make it"


def _held(evaluated: Evaluated) -> str:
    held = [action.error for action in evaluated.actions if action.status == "held"]
    if held:
        return "; ".join(f"{error['guardrail']}: {error['message']}" for error in held) + "; it would wait for approval"
    asked = [f"action {one.action_id} {_ASKED[ActionStatus(one.status)]}" for one in evaluated.waiting]
    return f"it asked for that already: {', '.join(asked)}"


_REASONS: Final = {
    "rule_active": _inactive,
    "daily_limit": _limited,
    "entity": _not_for_it,
    "cooldown": _cooling,
    "conditions": _not_met,
    "change": _nothing_to_do,
    "guardrails": _held,
}
_DETAILS: Final = {
    "rule_active": lambda one: {"status": one.rule.status},
    "daily_limit": lambda one: {"acted_today": _acted_today(one), "limit": one.rule.max_executions_per_day},
    "cooldown": lambda one: {"last_acted_at": one.last_acted_at, "free_at": _free_at(one)},
    "conditions": lambda one: {"trace": one.trace},
}
