"""A metric's curve over a backtest's span, as it was known at each planned time, and where the rule acted on it."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING, Final, Literal, TypeAlias

from engine.backtest.history import Known
from engine.rules.fields import METRIC_FIELDS, derive
from engine.rules.tree import Range, leaves
from engine.run_rules.facts import spans
from engine.schedule.zones import local_day, zone

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime
    from uuid import UUID

    from engine.backtest.replay import Happened
    from engine.backtest.run import Backtest
    from engine.rules.tree import Leaf, Operand

MAX_PANELS: Final = 6

Mark: TypeAlias = Literal["fired", "held", "failed"]
_MARKS: Final[dict[str, Mark]] = {"succeeded": "fired", "queued": "fired", "held": "held", "failed": "failed"}


@dataclass(frozen=True, slots=True)
class Marker:
    """What the rule did to the campaign at one time."""

    at: datetime
    mark: Mark
    value: Decimal | None
    """The metric's value then; None = unknown."""
    told: str


@dataclass(frozen=True, slots=True)
class Curve:
    """One campaign's values, at ascending times; None = unknown."""

    campaign: str
    points: tuple[tuple[datetime, Decimal | None], ...]
    markers: tuple[Marker, ...]


@dataclass(frozen=True, slots=True)
class Curves:
    """The curves of one metric, and the numbers that the rule compares it with."""

    operand: Operand
    thresholds: tuple[Decimal, ...]
    curves: tuple[Curve, ...]


def first_metric(leaves_: Sequence[Leaf]) -> Operand | None:
    """Return the first operand that is a metric, or None: the rule reads none."""
    return next((leaf.operand for leaf in leaves_ if leaf.operand.field in METRIC_FIELDS), None)


def curves(found: Backtest, operand: Operand, only: Sequence[UUID] = ()) -> Curves:
    """Return the curves of `only` these campaigns, or of up to six that the rule acted on most, the earliest first."""
    happened: defaultdict[UUID, list[tuple[datetime, Happened]]] = defaultdict(list)
    for firing in found.firings:
        for one in firing.happened:
            happened[one.effect.entity_id].append((firing.time.at, one))
    chosen = list(only)[:MAX_PANELS] or sorted(happened, key=lambda key: (-len(happened[key]), happened[key][0][0]))
    chosen = chosen[:MAX_PANELS] or list(found.subject.campaigns)[:MAX_PANELS]
    values = _values(found, operand, chosen)
    made = [
        Curve(
            found.subject.campaigns[campaign_id].name,
            tuple(values[campaign_id].items()),
            tuple(_marker(at, one, values[campaign_id].get(at)) for at, one in happened.get(campaign_id, ())),
        )
        for campaign_id in chosen
    ]
    return Curves(operand, _thresholds(found, operand), tuple(made))


def _values(found: Backtest, operand: Operand, chosen: Sequence[UUID]) -> dict[UUID, dict[datetime, Decimal | None]]:
    """Go over the times once more, for the chosen campaigns alone."""
    known = Known(found.subject.history, chosen)
    tz = zone(found.subject.timezone)
    values: dict[UUID, dict[datetime, Decimal | None]] = {campaign_id: {} for campaign_id in chosen}
    for time in found.subject.times:
        known.advance(time.at)
        [days] = spans([operand], local_day(time.at, tz)).values()
        for campaign_id in chosen:
            sums = known.sums(campaign_id, *days)
            values[campaign_id][time.at] = None if sums is None else derive(operand.field, sums.values)
    return values


def _marker(at: datetime, one: Happened, value: Decimal | None) -> Marker:
    effect = one.effect
    changes = [f"{key} {effect.before.get(key)} → {after}" for key, after in effect.after.items() if effect.before]
    told = ", ".join([f"{effect.kind} {effect.status}", *changes]) + (f": {effect.reason}" if effect.reason else "")
    return Marker(at, _MARKS[effect.status], value, told)


def _thresholds(found: Backtest, operand: Operand) -> tuple[Decimal, ...]:
    numbers: list[Decimal] = []
    for leaf in leaves(found.subject.rule.program.condition):
        if (leaf.operand.field, leaf.operand.window) == (operand.field, operand.window):
            match leaf.value:
                case Decimal() as value if not leaf.operand.previous:
                    numbers.append(value)
                case Range(low=low, high=high):
                    numbers += [low, high]
    return tuple(dict.fromkeys(numbers))
