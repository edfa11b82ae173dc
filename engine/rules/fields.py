"""The fields that a rule can read, their types, and the formulas of those that are computed.

Every formula returns None, *unknown*, where an input is missing or a denominator is zero; never 0 in its place
(SPEC §3). Ratios are ratios of sums over the window, not means of daily ratios, so that quiet days do not
count as much as busy ones.
"""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import date


class ValueType(StrEnum):
    """What kind of value a field holds; `any` is a field of which only the facts will tell."""

    NUMBER = "number"
    STRING = "string"
    LIST = "list"
    ANY = "any"


@dataclass(frozen=True, slots=True)
class FieldSpec:
    """The type of a field, and whether it is a metric: summed over a window of days."""

    type: ValueType
    windowed: bool = False


@dataclass(frozen=True, slots=True)
class Ratio:
    """A metric computed from two sums: numerator ÷ denominator, times `scale`."""

    numerator: str
    denominator: str
    scale: Decimal = Decimal(1)

    def of(self, sums: Mapping[str, Decimal | None]) -> Decimal | None:
        """Return the ratio of two sums; a missing sum or a zero denominator is None."""
        numerator, denominator = sums.get(self.numerator), sums.get(self.denominator)
        if numerator is None or not denominator:
            return None
        return numerator * self.scale / denominator


BASE_METRICS: Final = ("impressions", "clicks", "conversions", "spend", "revenue")

# The definitions that ad platforms share. Rates are fractions (0.02 is 2 %), money is in the campaign's currency.
RATIOS: Final[Mapping[str, Ratio]] = MappingProxyType(
    {
        "ctr": Ratio("clicks", "impressions"),  # click-through rate
        "cpc": Ratio("spend", "clicks"),  # cost per click
        "cpm": Ratio("spend", "impressions", Decimal(1000)),  # cost per mille: per 1,000 impressions
        "cpa": Ratio("spend", "conversions"),  # cost per acquisition
        "roas": Ratio("revenue", "spend"),  # return on ad spend
        "conversion_rate": Ratio("conversions", "clicks"),  # conversions per click
    }
)

METRIC_FIELDS: Final[Mapping[str, FieldSpec]] = MappingProxyType(
    {name: FieldSpec(ValueType.NUMBER, windowed=True) for name in (*BASE_METRICS, *RATIOS)}
)

ENTITY_FIELDS: Final[Mapping[str, FieldSpec]] = MappingProxyType(
    {
        "budget": FieldSpec(ValueType.NUMBER),
        "bid_amount": FieldSpec(ValueType.NUMBER),
        "status": FieldSpec(ValueType.STRING),
        "name": FieldSpec(ValueType.STRING),
        "platform": FieldSpec(ValueType.STRING),
        "objective": FieldSpec(ValueType.STRING),
        "tags": FieldSpec(ValueType.LIST),
        "days_running": FieldSpec(ValueType.NUMBER),
        "spend_pct_of_budget": FieldSpec(ValueType.NUMBER),
    }
)

METRIC_AND_ENTITY_FIELDS: Final[Mapping[str, FieldSpec]] = MappingProxyType({**METRIC_FIELDS, **ENTITY_FIELDS})

PAYLOAD_FIELDS: Final[Mapping[str, FieldSpec]] = MappingProxyType({})
"""The fields of a rule that events trigger: no names, but any dotted path into the payload is one, of any type."""
PAYLOAD_FIELD: Final = FieldSpec(ValueType.ANY)


def fields_for(trigger_type: str) -> Mapping[str, FieldSpec]:
    """Return the fields that the conditions of a rule with this trigger read."""
    return PAYLOAD_FIELDS if trigger_type == "event" else METRIC_AND_ENTITY_FIELDS


def derive(field: str, sums: Mapping[str, Decimal | None]) -> Decimal | None:
    """Return the value of a metric field from the base metrics' sums over its window.

    A base metric is its sum; a ratio is as `RATIOS` defines it. A missing sum or a zero denominator is None.
    """
    ratio = RATIOS.get(field)
    return sums.get(field) if ratio is None else ratio.of(sums)


def days_running(start: date | None, today: date) -> Decimal | None:
    """Return the whole days since the start, both dates in the org's zone (SPEC §3): 0 on the first day.

    None where there is no start, and for a start in the future: a campaign that does not run yet has no running
    time, and a negative one would satisfy every "runs less than" rule.
    """
    if start is None or start > today:
        return None
    return Decimal((today - start).days)


def spend_pct_of_budget(
    budget_type: str,
    budget: Decimal | None,
    *,
    spend_today: Decimal | None,
    spend_lifetime: Decimal | None,
) -> Decimal | None:
    """Return the part of the budget that is spent, in percent (SPEC §3).

    Today's spend ÷ a `daily` budget, or lifetime spend ÷ a `lifetime` one; None where either is missing or the
    budget is zero.
    """
    spend = spend_today if budget_type == "daily" else spend_lifetime
    if spend is None or not budget:
        return None
    return spend * 100 / budget
