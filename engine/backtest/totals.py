"""What a replay comes to: runs and why there were none, campaigns, budgets, and what was spent after pauses."""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass, field
from datetime import timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Final

from engine.rules.guardrails import net_change
from engine.schedule.zones import local_day
from models.enums import CampaignStatus

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from datetime import date
    from uuid import UUID
    from zoneinfo import ZoneInfo

    from engine.backtest.history import Known
    from engine.backtest.replay import Firing

_DAY: Final = timedelta(days=1)


@dataclass(slots=True)
class Totals:
    """Sums over all planned times. Money is by currency; None = of unknown currency."""

    planned: int = 0
    acted: int = 0
    """Planned times at which at least one effect was applied."""
    skipped: Counter[str] = field(default_factory=Counter)
    """Planned times at which nothing happened, by the reason."""
    effects: Counter[str] = field(default_factory=Counter)
    """Effects by status: succeeded, queued (what would be delivered outside), held, failed."""
    campaigns: set[UUID] = field(default_factory=set)
    """Those that an effect was applied to."""
    net_budget: dict[str | None, Decimal] = field(default_factory=dict)
    """By how much all budget changes together moved the sum of budgets."""
    spent_after_pause: dict[str | None, Decimal] = field(default_factory=dict)
    """What the stored metrics of the span report as spent by campaigns on whole days on which the replay has them
    paused. An observation: other campaigns might have spent it, and what was paused in truth has spent nothing."""
    on_the_boundary: int = 0
    """Planned times at which a cooldown ends to the second. Live runs start seconds after their times, one a little
    later than another, so that chance may decide there."""


def totals(firings: Sequence[Firing], known: Known, zone: ZoneInfo, last_day: date, cooldown: timedelta) -> Totals:
    """Sum up; `known` stands at the end of the span, whose last day in the org's zone is `last_day`."""
    found = Totals(planned=len(firings), on_the_boundary=_on_the_boundary(firings, cooldown))
    net: defaultdict[str | None, Decimal] = defaultdict(Decimal)
    for firing in firings:
        statuses = Counter(one.effect.status for one in firing.happened)
        found.effects.update(statuses)
        found.acted += any(one.effect.acts for one in firing.happened)
        if firing.skip_reason is not None:
            found.skipped[firing.skip_reason] += 1
        for one in firing.happened:
            if one.effect.acts:
                found.campaigns.add(one.effect.entity_id)
                if "budget" in one.effect.before:
                    net[one.currency] += net_change(one.effect.before, one.effect.after)
    found.net_budget = dict(net)
    found.spent_after_pause = _spent(firings, known, zone, last_day)
    return found


def _on_the_boundary(firings: Sequence[Firing], cooldown: timedelta) -> int:
    acted = {firing.time.at for firing in firings if any(one.effect.acts for one in firing.happened)}
    return len({at + cooldown for at in acted} & {firing.time.at for firing in firings}) if cooldown else 0


def _spent(firings: Sequence[Firing], known: Known, zone: ZoneInfo, last_day: date) -> dict[str | None, Decimal]:
    spent: defaultdict[str | None, Decimal] = defaultdict(Decimal)
    for campaign_id, currency, first, last in _pauses(firings, zone, last_day):
        sums = known.sums(campaign_id, first, last) if first <= last else None
        value = None if sums is None else sums.values.get("spend")
        if value is not None:
            spent[currency] += value
    return dict(spent)


def _pauses(firings: Sequence[Firing], zone: ZoneInfo, last_day: date) -> Iterator[tuple[UUID, str | None, date, date]]:
    """Yield the whole days, first and last, on which campaigns are paused by the replay."""
    since: dict[UUID, tuple[str | None, date]] = {}
    for firing in firings:
        day = local_day(firing.time.at, zone)
        for one in firing.happened:
            effect = one.effect
            if effect.status != "succeeded" or "status" not in effect.before:
                continue
            if effect.after["status"] == CampaignStatus.PAUSED:
                since.setdefault(effect.entity_id, (one.currency, day + _DAY))
            elif effect.entity_id in since:
                currency, first = since.pop(effect.entity_id)
                yield effect.entity_id, currency, first, day - _DAY
    for campaign_id, (currency, first) in since.items():
        yield campaign_id, currency, first, last_day
