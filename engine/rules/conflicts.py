"""Whether two rules work against each other: opposite effects on the same entities, on conditions that hold together.

Pausing and resuming are compared over time: one rule sees an active campaign and the other a paused one, so that both
never act at one moment, but where the rest of their conditions can hold together they undo each other for ever. Hence
the status is given to each: a rule that pauses acts on active campaigns only, one that resumes on paused ones.
"""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Context, Decimal
from enum import StrEnum
from typing import TYPE_CHECKING, Final

from engine.rules.document import json_number
from engine.rules.satisfy import View, common_facts
from engine.rules.sentence import number_text, quoted
from engine.rules.tree import Condition, Operand, operands

if TYPE_CHECKING:
    from collections.abc import Mapping
    from uuid import UUID

_SHOWN: Final = Context(prec=6)


class EffectKind(StrEnum):
    """What a rule's action does to an entity, as far as another can do the opposite."""

    PAUSE = "pause"
    RESUME = "resume"
    BUDGET_UP = "budget_up"
    BUDGET_DOWN = "budget_down"
    BID_UP = "bid_up"
    BID_DOWN = "bid_down"


OPPOSITE_OF: Final[Mapping[EffectKind, EffectKind]] = {
    EffectKind.PAUSE: EffectKind.RESUME,
    EffectKind.RESUME: EffectKind.PAUSE,
    EffectKind.BUDGET_UP: EffectKind.BUDGET_DOWN,
    EffectKind.BUDGET_DOWN: EffectKind.BUDGET_UP,
    EffectKind.BID_UP: EffectKind.BID_DOWN,
    EffectKind.BID_DOWN: EffectKind.BID_UP,
}

_SEEN_BY: Final[Mapping[EffectKind, Mapping[str, object]]] = {
    EffectKind.PAUSE: {"status": "active"},
    EffectKind.RESUME: {"status": "paused"},
}
_PHRASES: Final[Mapping[EffectKind, str]] = {
    EffectKind.PAUSE: "pauses",
    EffectKind.RESUME: "resumes",
    EffectKind.BUDGET_UP: "raises the budget of",
    EffectKind.BUDGET_DOWN: "lowers the budget of",
    EffectKind.BID_UP: "raises the bid of",
    EffectKind.BID_DOWN: "lowers the bid of",
}


@dataclass(frozen=True, slots=True)
class Side:
    """What counts of one rule: its tree, the kinds of its effects, its only entity or None for all."""

    condition: Condition
    effects: frozenset[EffectKind]
    entity_id: UUID | None = None


@dataclass(frozen=True, slots=True)
class Conflict:
    """The opposite effects of the first and the second rule, and facts (by `Operand.key`) under which both trees hold.

    For pausing against resuming the facts leave the status out: each holds with the status that it acts on.
    """

    first: EffectKind
    second: EffectKind
    example: Mapping[str, object]
    text: str

    def document(self) -> dict[str, object]:
        """Return the conflict as JSON."""
        return {
            "effects": [self.first.value, self.second.value],
            "example": {key: _json(value) for key, value in self.example.items()},
            "text": self.text,
        }


def conflict(one: Side, other: Side) -> Conflict | None:
    """Return how two rules work against each other, with an example that has been evaluated; None if none was found.

    Two rules for different entities never do. Trees that spread out beyond the bounds of `satisfy` may do unseen.
    """
    if one.entity_id is not None and other.entity_id is not None and one.entity_id != other.entity_id:
        return None
    for effect in EffectKind:
        opposite = OPPOSITE_OF[effect]
        if effect not in one.effects or opposite not in other.effects:
            continue
        views = [View(one.condition, _SEEN_BY.get(effect, {})), View(other.condition, _SEEN_BY.get(opposite, {}))]
        example = common_facts(views)
        if example is not None:
            return Conflict(effect, opposite, example, _text(effect, opposite, example, views))
    return None


def _text(first: EffectKind, second: EffectKind, example: Mapping[str, object], views: list[View]) -> str:
    read = {operand.quantity: operand for view in views for operand in operands(view.condition)}
    told = [
        f"{_name(operand)} {_shown(example[operand.key])}"
        for _, operand in sorted(read.items(), key=lambda item: item[1].key)
        if operand.key in example
    ]
    whom = f"a campaign with {', '.join(told)}" if told else "any campaign"
    return f"one {_PHRASES[first]} and the other {_PHRASES[second]} {whom}"


def _name(operand: Operand) -> str:
    if operand.window is None:
        return operand.field
    return f"{operand.field} ({'before ' if operand.previous else ''}{operand.window})"


def _shown(value: object) -> str:
    match value:
        case Decimal():
            return number_text(_SHOWN.create_decimal(value))
        case list():
            return f"[{', '.join(_shown(item) for item in value)}]"
        case None:
            return "without a value"
        case bool():
            return "true" if value else "false"
        case _:
            return quoted(str(value))


def _json(value: object) -> object:
    if isinstance(value, list):
        return [_json(item) for item in value]
    return json_number(value) if isinstance(value, Decimal) else value
