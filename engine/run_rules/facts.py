"""Facts for a page of campaigns and all rules of a group: two statements, however many they are."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Protocol

from engine.rules.fields import BASE_METRICS, METRIC_FIELDS, days_running, derive, spend_pct_of_budget
from engine.rules.windows import Window, days, preceding
from engine.store import campaigns

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from datetime import date, datetime
    from decimal import Decimal
    from uuid import UUID

    from sqlalchemy import Connection, Row

    from engine.actions.base import Campaign
    from engine.rules.tree import Operand
    from engine.rules.trust import Trust

_FIRST_DAY: Final = dt.date(1, 1, 1)  # lifetime has no first day
_CHANGEABLE: Final = frozenset({"budget", "bid_amount", "status", "name", "objective", "tags"})
"""Fields that effects change: a later rule reads them as the earlier ones leave them."""
_NOTHING: Final[Mapping[str, Decimal | None]] = {}


@dataclass(frozen=True, slots=True)
class Sums:
    """The base metrics of one campaign summed over one span of days; None = no row reports it."""

    values: Mapping[str, Decimal | None]
    observed_at: datetime
    """When the newest of the rows was observed."""


class SumsBySpan(Protocol):
    """Sums by campaign and span key."""

    def get(self, key: tuple[UUID, str], /) -> Sums | None:
        """Return the sums, or None where the span has no row."""


@dataclass(frozen=True, slots=True)
class Page:
    """Campaigns and their metrics' sums, as the database had them when the page was read."""

    now: datetime
    today: date
    rows: Mapping[UUID, Any]
    """Rows of `campaigns.page`, or what has their columns as attributes."""
    sums: SumsBySpan

    def facts(
        self, operands: Iterable[Operand], campaign: Campaign, withheld: Mapping[str, str] | None = None
    ) -> dict[str, object]:
        """Return what the operands are for a campaign, by `Operand.key`; None = unknown, as what is `withheld` is."""
        found = {operand.key: self._value(operand, campaign) for operand in operands}
        return found | dict.fromkeys(withheld) if withheld else found

    def withheld(self, operands: Iterable[Operand], campaign_id: UUID, trust: Trust) -> dict[str, str]:
        """Return the operands whose data a rule does not trust, by `Operand.key`, with the reason."""
        doubts = {}
        for operand in operands:
            window = self._window_of(operand, campaign_id)
            sums = None if window is None else self.sums.get((campaign_id, _span_key(operand, window)))
            if window is not None and sums is not None:
                doubt = trust.doubt(window, sums.values, self.now - sums.observed_at, previous=operand.previous)
                if doubt is not None:
                    doubts[operand.key] = doubt
        return doubts

    def _window_of(self, operand: Operand, campaign_id: UUID) -> Window | None:
        """Return the window that an operand's value comes from: that of a metric, or of a budget's spend."""
        if operand.field != "spend_pct_of_budget":
            return operand.window
        return Window.TODAY if self.rows[campaign_id].budget_type == "daily" else Window.LIFETIME

    def ages(self, operands: Iterable[Operand], campaign_id: UUID) -> dict[str, float]:
        """Return how old the newest observation behind each metric operand is, in seconds."""
        ages = {}
        for operand in operands:
            found = self.sums.get((campaign_id, _span_key(operand)))
            if found is not None and operand.field in METRIC_FIELDS:
                ages[operand.key] = round((self.now - found.observed_at).total_seconds(), 3)
        return ages

    def _value(self, operand: Operand, campaign: Campaign) -> object:
        if operand.field in METRIC_FIELDS:
            return derive(operand.field, self._metrics(campaign.campaign_id, _span_key(operand)))
        if operand.field in _CHANGEABLE:
            return getattr(campaign, operand.field)
        row = self.rows[campaign.campaign_id]
        match operand.field:
            case "days_running":
                return days_running(row.start_date, self.today)
            case "spend_pct_of_budget":
                spent = [self._metrics(campaign.campaign_id, window).get("spend") for window in ("today", "lifetime")]
                return spend_pct_of_budget(
                    row.budget_type, campaign.budget, spend_today=spent[0], spend_lifetime=spent[1]
                )
            case field:
                return getattr(row, field)

    def _metrics(self, campaign_id: UUID, span: str) -> Mapping[str, Decimal | None]:
        found = self.sums.get((campaign_id, span))
        return found.values if found else _NOTHING


def load(
    connection: Connection,
    org_id: UUID,
    rows: Sequence[Row[Any]],
    operands: Iterable[Operand],
    *,
    now: datetime,
    today: date,
) -> Page:
    """Read what the operands need for the campaigns in `rows` (ascending by id)."""
    wanted = spans(operands, today)
    sums = {}
    if wanted and rows:
        ids = rows[0].campaign_id, rows[-1].campaign_id
        for row in campaigns.sums(connection, org_id, wanted, low=ids[0], high=ids[1], now=now):
            sums[row.campaign_id, row.key] = Sums(_decimals(row), row.observed_at)
    return Page(now, today, {row.campaign_id: row for row in rows}, sums)


def _decimals(row: Row[Any]) -> dict[str, Decimal | None]:
    # sum(bigint) and sum(numeric) are both numeric in SQL; NULL = no row reported the metric
    return {metric: getattr(row, metric) for metric in BASE_METRICS}


def spans(operands: Iterable[Operand], today: date) -> dict[str, tuple[date, date]]:
    """Return the spans of days, first and last, that the operands' values are sums over, by key."""
    found: dict[str, tuple[date, date]] = {}
    for operand in operands:
        if operand.field == "spend_pct_of_budget":
            found |= {window.value: _days(window, today) for window in (Window.TODAY, Window.LIFETIME)}
        elif operand.window is not None:
            before = preceding(operand.window, today) if operand.previous else None
            found[_span_key(operand)] = before or _days(operand.window, today)
    return found


def _span_key(operand: Operand, window: Window | None = None) -> str:
    key = str(window or operand.window)
    return f"{key}:previous" if operand.previous else key


def _days(window: Window, today: date) -> tuple[date, date]:
    first, last = days(window, today)
    return first or _FIRST_DAY, last
