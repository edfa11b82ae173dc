"""A condition tree, or a whole rule, in plain English, so that a person can check that it says what they meant.

The words carry the logic without precedence: a group inside a group stands in brackets, `none of (A; B)` separates its
nodes by semicolons, a text is quoted as in JSON, and no comparison has a bare "and" or "or" of its own.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from datetime import timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Final

from engine.rules.fields import METRIC_AND_ENTITY_FIELDS, METRIC_FIELDS, ValueType
from engine.rules.tree import Change, Condition, Leaf, Logic, Multiple, Operand, Operator, Range, Value
from engine.rules.windows import Window

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_MAX_LISTED: Final = 20
_PLAIN: Final = range(-12, 31)  # powers of ten; a number beyond them is written with an exponent

_NOUNS: Final[Mapping[str, str]] = {
    "ctr": "click-through rate",
    "cpc": "cost per click",
    "cpm": "cost per 1,000 impressions",
    "cpa": "cost per acquisition",
    "roas": "return on ad spend",
    "conversion_rate": "conversion rate",
    "bid_amount": "bid amount",
    "days_running": "days running",
    "spend_pct_of_budget": "percent of the budget spent",
}
_PLURAL: Final = frozenset({"impressions", "clicks", "conversions", "tags", "days_running"})
_RATES: Final = frozenset({"ctr", "conversion_rate"})  # fractions that people speak of in percent

_OVER: Final[Mapping[Window, str]] = {
    Window.TODAY: "today",
    Window.YESTERDAY: "yesterday",
    Window.LAST_3D: "over the last 3 days",
    Window.LAST_7D: "over the last 7 days",
    Window.LAST_14D: "over the last 14 days",
    Window.LAST_30D: "over the last 30 days",
    Window.LIFETIME: "over the lifetime",
}
_BEFORE: Final[Mapping[Window | None, str]] = {
    Window.TODAY: "yesterday",
    Window.YESTERDAY: "the day before",
    Window.LAST_3D: "the 3 days before",
    Window.LAST_7D: "the 7 days before",
    Window.LAST_14D: "the 14 days before",
    Window.LAST_30D: "the 30 days before",
    None: "the period before",
}

OPPOSITE: Final[Mapping[Operator, Operator]] = {
    one: other
    for pair in (
        (Operator.GREATER, Operator.AT_MOST),
        (Operator.AT_LEAST, Operator.LESS),
        (Operator.EQUAL, Operator.NOT_EQUAL),
        (Operator.IN, Operator.NOT_IN),
        (Operator.CONTAINS, Operator.NOT_CONTAINS),
        (Operator.IS_NULL, Operator.IS_NOT_NULL),
    )
    for one, other in (pair, pair[::-1])
}
"""Pairs of which one is true exactly where the other is false, and unknown where the other is."""

# Each as (one thing does, several things do).
_VERBS: Final[Mapping[Operator, tuple[str, str]]] = {
    Operator.GREATER: ("is above", "are above"),
    Operator.AT_LEAST: ("is at least", "are at least"),
    Operator.LESS: ("is below", "are below"),
    Operator.AT_MOST: ("is at most", "are at most"),
    Operator.EQUAL: ("is", "are"),
    Operator.NOT_EQUAL: ("is not", "are not"),
    Operator.BETWEEN: ("is from", "are from"),
    Operator.IN: ("is one of", "are one of"),
    Operator.NOT_IN: ("is none of", "are none of"),
    Operator.CONTAINS: ("contains", "contain"),
    Operator.NOT_CONTAINS: ("does not contain", "do not contain"),
    Operator.STARTS_WITH: ("starts with", "start with"),
    Operator.ENDS_WITH: ("ends with", "end with"),
    Operator.IS_NULL: ("has no value", "have no value"),
    Operator.IS_NOT_NULL: ("has a value", "have a value"),
}
_LIST_VERBS: Final[Mapping[Operator, tuple[str, str]]] = {
    Operator.IN: ("includes one of", "include one of"),
    Operator.NOT_IN: ("includes none of", "include none of"),
}


def sentence(condition: Condition) -> str:
    """Return the tree in words, without a full stop; of a long list of values the first 20 are named."""
    return _sentence(condition, outermost=True)


@dataclass(frozen=True, slots=True)
class Terms:
    """What a rule says besides its conditions and actions."""

    one_entity: bool = False
    """Whether it is for a single campaign."""
    event_type: str | None = None
    """Of which type the events are that trigger it."""
    about_event: bool = False
    """Whether it is about the event itself, and not about campaigns."""
    cooldown: timedelta = timedelta(0)
    max_executions_per_day: int | None = None
    delay: timedelta = timedelta(0)
    """How long each following action waits."""
    min_sample: Mapping[str, Decimal] = field(default_factory=dict)
    """Base metric → how much of it a window must hold."""
    max_data_age: timedelta | None = None


def rule_sentence(condition: Condition, actions: Sequence[str], terms: Terms) -> str:
    """Return a rule in words. `actions` are phrases in the imperative ("pause the campaign"), in their order."""
    whom = _whom(terms)
    joint = f", then after {duration(terms.delay)} " if terms.delay else ", then "
    told = [f"{whom}: if {sentence(condition)}, then {joint.join(actions)}."]
    doubts = [f"fewer than {number_text(least)} {metric}" for metric, least in terms.min_sample.items()]
    if terms.max_data_age is not None:
        doubts.append(f"data older than {duration(terms.max_data_age)} (but for the lifetime)")
    if doubts:
        told.append(f"What comes from {' or '.join(doubts)} counts as unknown.")
    if terms.cooldown:
        told.append(_cooldown(terms))
    if terms.max_executions_per_day is not None:
        times = "time" if terms.max_executions_per_day == 1 else "times"
        told.append(f"It acts at most {number_text(Decimal(terms.max_executions_per_day))} {times} a day.")
    return " ".join(told)


def predicate(leaf: Leaf, *, plural: bool = False) -> str:
    """Return what a leaf says of its operand, without naming it: `is above 50`."""
    if isinstance(leaf.value, Change):
        verb = "rose" if leaf.value.percent > 0 else "fell"
        percent = number_text(abs(leaf.value.percent))
        return f"{verb} by at least {percent} % against {_BEFORE[leaf.operand.window]}"
    spec = METRIC_AND_ENTITY_FIELDS.get(leaf.operand.field)
    verbs = _LIST_VERBS if spec is not None and spec.type is ValueType.LIST else {}
    verb = verbs.get(leaf.operator, _VERBS[leaf.operator])[plural]
    return verb if leaf.value is None else f"{verb} {_value(leaf.value, leaf.operand)}"


def is_plural(operand: Operand) -> bool:
    """Return whether the field's name takes a plural verb."""
    return operand.field in _PLURAL


def number_text(value: Decimal) -> str:
    """Return a number as people write it: exact, thousands apart, no trailing zeros, extremes with an exponent."""
    if not value:
        return "0"
    if value.adjusted() not in _PLAIN:
        return str(value)
    whole, point, fraction = f"{value:,f}".partition(".")
    fraction = fraction.rstrip("0")
    return f"{whole}{point}{fraction}" if fraction else whole


def quoted(text: str) -> str:
    """Return a text as a JSON string that shows as it is: whatever is not printable is escaped."""
    told = json.dumps(text, ensure_ascii=False)
    return "".join(mark if mark.isprintable() else json.dumps(mark)[1:-1] for mark in told)


def duration(span: timedelta) -> str:
    """Return whole seconds in the largest unit that holds them without a rest: `1 day`, `90 minutes`."""
    seconds = round(span.total_seconds())
    amount, unit = next(
        (seconds // size, name)
        for size, name in ((86400, "day"), (3600, "hour"), (60, "minute"), (1, "second"))
        if seconds % size == 0
    )
    return f"{amount:,} {unit}" if amount == 1 else f"{amount:,} {unit}s"


def _sentence(condition: Condition, *, outermost: bool) -> str:
    if isinstance(condition, Leaf):
        plural = is_plural(condition.operand)
        return f"{_subject(condition.operand)} {predicate(condition, plural=plural)}"
    if condition.logic is Logic.NONE:
        return f"none of ({'; '.join(_sentence(node, outermost=True) for node in condition.nodes)})"
    if len(condition.nodes) == 1:  # `all` and `any` of one node say what the node says
        return _sentence(condition.nodes[0], outermost=outermost)
    joint = ", and " if condition.logic is Logic.ALL else ", or "
    joined = joint.join(_sentence(node, outermost=False) for node in condition.nodes)
    return joined if outermost else f"({joined})"


def _whom(terms: Terms) -> str:
    when = "" if terms.event_type is None else f"When {quoted(terms.event_type)} happens"
    if terms.about_event:
        return when
    if terms.one_entity:
        return f"{when}, for its one campaign" if when else "For its one campaign"
    return f"{when}, for the campaign that it names or else for each" if when else "For each campaign"


def _cooldown(terms: Terms) -> str:
    span = duration(terms.cooldown)
    if terms.about_event:
        return f"After it acted it rests for {span}."
    return f"After it acted on a campaign it leaves that one alone for {span}."


def _subject(operand: Operand) -> str:
    if operand.window is None:  # a metric's name without a window is a path into a payload
        return operand.field if operand.field in METRIC_FIELDS else _NOUNS.get(operand.field, operand.field)
    return f"{_NOUNS.get(operand.field, operand.field)} {_OVER[operand.window]}"


def _value(value: Value, subject: Operand) -> str:
    match value:
        case Range(low=low, high=high):
            return f"{_scalar(low, subject)} to {_scalar(high, subject)}"
        case tuple():
            listed = ", ".join(_scalar(item, subject) for item in value[:_MAX_LISTED])
            rest = len(value) - _MAX_LISTED
            return listed if rest <= 0 else f"{listed} … ({rest:,} more)"
        case Multiple(operand=other, times=times):
            factor = "" if times is None else f"{number_text(times)} times "
            return f"{factor}{_other(other, subject)}"
        case Decimal() | str() | bool():
            return _scalar(value, subject)
        case _:
            raise TypeError(f"a leaf's value cannot be a {type(value).__name__} here")


def _other(operand: Operand, subject: Operand) -> str:
    if operand.field != subject.field:
        return _subject(operand)
    return "its value" if operand.window is None else f"its value {_OVER[operand.window]}"


def _scalar(value: Decimal | str | bool, subject: Operand) -> str:  # noqa: FBT001 - one of a leaf's values
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return quoted(value)
    told = number_text(value)
    rate = subject.field in _RATES and subject.window is not None
    return f"{told} ({number_text(value * 100)} %)" if rate and value else told
