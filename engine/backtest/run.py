"""Try a rule on the past. Nothing is written: what a read-only snapshot gave is replayed in memory."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING

from engine.backtest.history import Known
from engine.backtest.replay import Firing, State, replay
from engine.backtest.totals import Totals, totals
from engine.schedule.zones import local_day, zone

if TYPE_CHECKING:
    from datetime import datetime

    from engine.backtest.subject import Progress, Subject


@dataclass(frozen=True, slots=True)
class Backtest:
    """What a rule would have done."""

    subject: Subject
    firings: tuple[Firing, ...]
    totals: Totals
    broken_at: datetime | None
    """When the breaker would have paused the rule; None = never."""


def run(subject: Subject, progress: Progress) -> Backtest:
    """Replay the rule over its planned times; `progress` counts them."""
    org_zone = zone(subject.timezone)
    known = Known(subject.history)
    state = State(
        subject.rule,
        dict(subject.campaigns),
        known,
        org_zone,
        subject.never_touch,
        org_id=subject.org_id,
        org_name=subject.org_name,
    )
    firings = []
    for firing in replay(state, subject.times):
        firings.append(firing)
        progress(len(firings), len(subject.times))
    known.advance(subject.end)
    cooldown = timedelta(minutes=subject.rule.cooldown_minutes)
    found = totals(firings, known, org_zone, local_day(subject.end, org_zone), cooldown)
    return Backtest(subject, tuple(firings), found, state.broken_at)
