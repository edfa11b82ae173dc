"""Facts for a page of campaigns and all rules of a group: two statements, however many they are."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, NamedTuple, Protocol

from engine.rules.fields import BASE_METRICS, days_running, spend_pct_of_budget
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
    from engine.run_rules.operands import Operands

_FIRST_DAY: Final = dt.date(1, 1, 1)  # lifetime has no first day
_CHANGEABLE: Final = frozenset({"budget", "bid_amount", "status", "name", "objective", "tags"})
"""Fields that effects change: a later rule reads them as the earlier ones leave them."""
_NOTHING: Final[Mapping[str, Decimal | None]] = {}
_UNSEEN: Final[tuple[object, dict[str, object], object]] = None, {}, None


class Sums(NamedTuple):
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
    _known: dict[UUID, tuple[object, dict[str, object], object]] = field(
        default_factory=dict, repr=False, compare=False
    )
    """Of each campaign, as it was when it was read last, what is known, and what was asked for last."""

    def facts(
        self, operands: Operands, campaign: Campaign | Row[Any], withheld: Mapping[str, str] | None = None
    ) -> dict[str, object]:
        """Return what the operands are for a campaign, by `Operand.key`; None = unknown, as what is `withheld` is.

        What other rules have read of the campaign, while it is the same, is in it, too: nothing is computed twice.
        """
        seen, known, read = self._known.get(campaign.campaign_id, _UNSEEN)
        if seen is not campaign:
            known, read = {}, None
        if read is not operands:  # rules that read the same share them
            self._learn(known, operands, campaign)
            self._known[campaign.campaign_id] = campaign, known, operands
        return {**known, **dict.fromkeys(withheld)} if withheld else known

    def _learn(self, known: dict[str, object], operands: Operands, campaign: Campaign | Row[Any]) -> None:
        """Add what is not known yet."""
        for span, metrics, _ in operands.spans:
            sums = self._metrics(campaign.campaign_id, span)
            for key, name, ratio in metrics:
                if key not in known:
                    known[key] = sums.get(name) if ratio is None else ratio.of(sums)
        for operand in operands.others:
            if operand.key not in known:
                known[operand.key] = self._value(operand, campaign)

    def withheld(self, operands: Iterable[Operand], campaign_id: UUID, trust: Trust) -> dict[str, str]:
        """Return the operands whose data a rule does not trust, by `Operand.key`, with the reason."""
        doubts = {}
        for operand in operands:
            window = self._window_of(operand, campaign_id)
            sums = None if window is None else self.sums.get((campaign_id, operand.span or window.value))
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

    def ages(self, operands: Operands, campaign_id: UUID) -> dict[str, str]:
        """Return how old the newest observation behind each metric operand is, in seconds, written as JSON."""
        ages: dict[str, str] = {}
        for span, _, keys in operands.spans:
            sums = self.sums.get((campaign_id, span))
            if sums is not None:
                ages.update(dict.fromkeys(keys, f"{(self.now - sums.observed_at).total_seconds():.3f}"))
        return ages

    def _value(self, operand: Operand, campaign: Campaign | Row[Any]) -> object:
        name = operand.field
        if name in _CHANGEABLE:
            return getattr(campaign, name)
        row = self.rows[campaign.campaign_id]
        match name:
            case "days_running":
                return days_running(row.start_date, self.today)
            case "spend_pct_of_budget":
                spent = [self._metrics(campaign.campaign_id, window).get("spend") for window in ("today", "lifetime")]
                return spend_pct_of_budget(
                    row.budget_type, campaign.budget, spend_today=spent[0], spend_lifetime=spent[1]
                )
            case _:
                return getattr(row, name)

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
    """Read what the operands need for the campaigns in `rows`."""
    wanted = spans(operands, today)
    sums = {}
    if wanted and rows:
        found = campaigns.sums(connection, org_id, wanted, [row.campaign_id for row in rows], now=now)
        for row in found:
            # sum(bigint) and sum(numeric) are both numeric in SQL; NULL = no row reported the metric
            sums[row.campaign_id, row.key] = Sums(dict(zip(BASE_METRICS, row[2:-1], strict=True)), row.observed_at)
    return Page(now, today, {row.campaign_id: row for row in rows}, sums)


def spans(operands: Iterable[Operand], today: date) -> dict[str, tuple[date, date]]:
    """Return the spans of days, first and last, that the operands' values are sums over, by key."""
    found: dict[str, tuple[date, date]] = {}
    for operand in operands:
        if operand.field == "spend_pct_of_budget":
            found |= {window.value: _days(window, today) for window in (Window.TODAY, Window.LIFETIME)}
        elif operand.window is not None:
            before = preceding(operand.window, today) if operand.previous else None
            found[operand.span or ""] = before or _days(operand.window, today)
    return found


def _days(window: Window, today: date) -> tuple[date, date]:
    first, last = days(window, today)
    return first or _FIRST_DAY, last
