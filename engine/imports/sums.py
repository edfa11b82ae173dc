"""Rows of any level (ads, ad sets, age groups) summed to campaign and day, exactly, in Decimal."""

from __future__ import annotations

from dataclasses import dataclass, field
from decimal import Decimal
from typing import TYPE_CHECKING, Final, NamedTuple

from core.errors import InputError
from engine.imports.cells import CellError
from engine.imports.columns import METRICS
from engine.imports.numbers import KINDS, LIMIT, Kind, iso_currency

if TYPE_CHECKING:
    from datetime import date

    from engine.imports.rows import Observation

MAX_CAMPAIGN_DAYS: Final = 300_000
"""Bounds memory: only the sums are held, never the rows."""
_STORED: Final = Decimal("0.000001")
_WHOLE: Final = Decimal(1)


class CampaignKey(NamedTuple):
    """What a campaign is known by inside an org: the ad platform and the platform's own id of it."""

    platform: str
    external_id: str


@dataclass(slots=True)
class CampaignFacts:
    """What the file says of a campaign itself: `name` and `objective` of its latest day, and its days' span."""

    name: str | None
    objective: str | None
    currency: str | None
    first_day: date
    last_day: date

    @property
    def iso_currency(self) -> str | None:
        """The ISO 4217 code, None where the file gave none or only an ambiguous sign such as `$`."""
        return iso_currency(self.currency)


Values = list[Decimal | None]


@dataclass(slots=True)
class Sums:
    """Campaign-days of one file. A metric is None as long as no row of that campaign-day reports it."""

    campaigns: dict[CampaignKey, CampaignFacts] = field(default_factory=dict)
    days: dict[tuple[CampaignKey, date], Values] = field(default_factory=dict)

    def add(self, row: Observation) -> None:
        """Add one row. Raises CellError, and takes nothing of it, where currencies mix or a sum grows absurdly large.

        Raises InputError above MAX_CAMPAIGN_DAYS.
        """
        key = CampaignKey(row.platform, row.campaign)
        facts = self.campaigns.get(key)
        if facts and facts.currency and row.currency and facts.currency != row.currency:
            raise CellError(f"an amount in {row.currency} for a campaign in {facts.currency}")
        self._add_values(key, row)
        if facts is None:
            self.campaigns[key] = CampaignFacts(row.name, row.objective, row.currency, row.day, row.day)
        else:
            _merge(facts, row)

    def totals(self) -> dict[str, Decimal | None]:
        """Metric → sum over everything as it is stored; None = the file does not report the metric."""
        totals: dict[str, Decimal | None] = dict.fromkeys(METRICS)
        for values in self.days.values():
            for metric, value in zip(METRICS, values, strict=True):
                if value is not None:
                    totals[metric] = (totals[metric] or Decimal(0)) + stored(metric, value)
        return totals

    def _add_values(self, key: CampaignKey, row: Observation) -> None:
        present = self.days.get((key, row.day))
        if present is None:
            if len(self.days) >= MAX_CAMPAIGN_DAYS:
                message = f"more than {MAX_CAMPAIGN_DAYS:,} campaign-days"
                raise InputError.of("file", message, "export a shorter period per file")
            self.days[key, row.day] = list(row.values)
            return
        summed = [_plus(old, new) for old, new in zip(present, row.values, strict=True)]
        if any(value is not None and value >= LIMIT for value in summed):
            raise CellError(f"the campaign's sum of the day would reach {LIMIT:,}")
        present[:] = summed


def stored(metric: str, value: Decimal) -> Decimal:
    """Return a sum of `metric` as the database keeps it: a whole number for counts, else six decimals."""
    return value.quantize(_WHOLE if KINDS[metric] is Kind.COUNT else _STORED)


def _plus(old: Decimal | None, new: Decimal | None) -> Decimal | None:
    if old is None or new is None:
        return new if old is None else old
    return old + new


def _merge(facts: CampaignFacts, row: Observation) -> None:
    if row.day >= facts.last_day:
        facts.name = row.name or facts.name
        facts.objective = row.objective or facts.objective
    facts.currency = facts.currency or row.currency
    facts.first_day = min(facts.first_day, row.day)
    facts.last_day = max(facts.last_day, row.day)
