"""A rule evaluated at its planned times over history, one after another, by the planner that workers use. No database.

What a worker would have written is kept here for the next time: campaigns as the effects leave them, cooldowns, the
day's count and the day's budget changes, effects that wait for approval, failures in a row. It begins without any.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final

from core.db import RESERVED_ORG
from core.ids import uuid7
from engine.chunk import Item
from engine.rules.deciding import deciding_leaves
from engine.run_rules.breaker import in_a_row
from engine.run_rules.ended import ended
from engine.run_rules.facts import Page, Sums, spans
from engine.run_rules.narrow import Narrowest
from engine.run_rules.plan import close_gates, plan_page
from engine.run_rules.state import Asked, Memory, Overlay, Run
from engine.schedule.zones import local_day
from engine.store.executions import HELD_SEARCH
from models.enums import CampaignStatus, ExecutionStatus, RuleStatus, TriggerType

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from datetime import date, datetime
    from decimal import Decimal
    from uuid import UUID
    from zoneinfo import ZoneInfo

    from engine.actions.base import Campaign, Effect
    from engine.backtest.history import Known
    from engine.backtest.past import PastCampaign
    from engine.backtest.planned import Time
    from engine.run_rules.compiled import Rule

_KEPT: Final = ("name", "status", "budget", "bid_amount", "objective", "tags", "end_date")
"""The columns that effects change."""
_NEW: Final[dict[str, Any]] = {
    "status": RuleStatus.ACTIVE.value,
    "failures": 0,
    "acted_on": None,
    "acted_today": 0,
    "delay": timedelta(0),
}
"""What a rule is taken as when it begins; that its actions follow each other after a delay is not replayed."""


@dataclass(frozen=True, slots=True)
class Happened:
    """One effect that there would have been, and the leaves of the trace that decided for it."""

    effect: Effect
    campaign: str
    """The campaign's name."""
    currency: str | None
    decided_by: tuple[Mapping[str, Any], ...]
    """Empty beyond the first 1,000 campaigns of a run, as in a live trace."""


@dataclass(frozen=True, slots=True)
class Firing:
    """One planned time and what it came to; the status is its execution's."""

    time: Time
    status: ExecutionStatus
    skip_reason: str | None
    counts: Mapping[str, int]
    happened: tuple[Happened, ...]


@dataclass(slots=True)
class State:
    """What a replay goes on from: the campaigns, what is known of their metrics, the rule with its counters."""

    rule: Rule
    campaigns: dict[UUID, PastCampaign]
    known: Known
    zone: ZoneInfo
    """The org's: its days bound windows, limits and net changes."""
    never_touch: frozenset[UUID] = frozenset()
    last_acted: dict[tuple[UUID, UUID], datetime] = field(default_factory=dict)
    held: dict[Asked, datetime] = field(default_factory=dict)
    day: date | None = None
    net: dict[str | None, Decimal] = field(default_factory=dict)
    """The budget changes of `day`, by currency."""
    org_id: UUID = RESERVED_ORG
    org_name: str = ""
    broken_at: datetime | None = None
    """When the breaker paused the rule; from then on it is inactive."""


def replay(state: State, times: Sequence[Time]) -> Iterator[Firing]:
    """Yield what becomes of each planned time, in order. `state` is as the last of them left it."""
    state.rule = replace(state.rule, **_NEW)
    for time in times:
        yield _evaluate(state, time)


def _evaluate(state: State, time: Time) -> Firing:
    now = time.at
    state.known.advance(now)
    memory = _memory(state, now)
    item = Item(state.rule.rule_id, uuid7(now), TriggerType.SCHEDULE.value, scheduled_for=now)
    run = Run(item, state.rule)
    run.missed = _Unrecorded(state.rule.program.distance, 0)
    close_gates(run, memory)
    overlay = Overlay(_page(state, now, memory.today), dict(memory.net))
    if run.stopped is None:
        plan_page(run, overlay, memory)
    end = ended(run)
    firing = Firing(time, end.status, end.skip_reason, run.counts, tuple(_happened(run, state.campaigns)))
    _remember(state, run, overlay, memory, end.status)
    return firing


def _memory(state: State, now: datetime) -> Memory:
    today = local_day(now, state.zone)
    if today != state.day:
        state.day, state.net = today, {}
    waiting = {key for key, asked in state.held.items() if asked > now - HELD_SEARCH}
    return Memory(now, today, state.last_acted, waiting, state.never_touch, state.net, state.org_id, state.org_name)


def _page(state: State, now: datetime, today: date) -> Page:
    rows = {key: row for key, row in state.campaigns.items() if row.status != CampaignStatus.ARCHIVED}
    return Page(now, today, rows, _SumsOfTime(state.known, spans(state.rule.program.operands, today)))


def _remember(state: State, run: Run, overlay: Overlay, memory: Memory, status: ExecutionStatus) -> None:
    """Keep what a worker would have written."""
    for campaign_id, campaign in overlay.changed.items():
        state.campaigns[campaign_id] = _changed(state.campaigns[campaign_id], campaign)
    state.net = overlay.net
    for effect in run.effects:
        if effect.acts:
            state.last_acted[run.rule.rule_id, effect.entity_id] = memory.now
        elif effect.status == "held":
            state.held[Asked.of(effect, effect.kind)] = memory.now
    rule = run.rule
    if run.acted:
        rule = replace(rule, acted_on=memory.today, acted_today=memory.acted_today(rule) + 1)
    state.rule = _after_breaker(state, rule, status, memory.now)


def _after_breaker(state: State, rule: Rule, status: ExecutionStatus, now: datetime) -> Rule:
    failures = in_a_row(rule.failures, status)
    if failures is None:
        return rule
    most = rule.guardrails.max_failures_in_a_row
    if status is ExecutionStatus.FAILURE and most is not None and failures >= most:
        state.broken_at = now
        return replace(rule, failures=0, status=RuleStatus.PAUSED.value)
    return replace(rule, failures=failures)


def _changed(row: PastCampaign, campaign: Campaign) -> PastCampaign:
    return replace(row, **{name: getattr(campaign, name) for name in _KEPT})


def _happened(run: Run, campaigns: Mapping[UUID, PastCampaign]) -> Iterator[Happened]:
    if not run.effects:
        return
    traces = {entity["entity_id"]: entity["trace"] for entity in run.entities if entity["result"] == "true"}
    leaves: dict[UUID, tuple[Mapping[str, Any], ...]] = {}
    for effect in run.effects:
        entity_id = effect.entity_id
        if entity_id not in leaves:
            trace = traces.get(entity_id)
            leaves[entity_id] = () if trace is None else tuple(deciding_leaves(trace.document()))
        campaign = campaigns[entity_id]
        yield Happened(effect, campaign.name, campaign.currency, leaves[entity_id])


class _SumsOfTime:
    """Sums over the spans of one simulated time; each is looked up once, although facts and ages ask for it."""

    __slots__ = ("_found", "_known", "_spans")

    def __init__(self, known: Known, wanted: Mapping[str, tuple[date, date]]) -> None:
        self._known = known
        self._spans = wanted
        self._found: dict[tuple[UUID, str], Sums | None] = {}

    def get(self, key: tuple[UUID, str], /) -> Sums | None:
        """Return the sums of a campaign over a span of days."""
        try:
            return self._found[key]
        except KeyError:
            days = self._spans.get(key[1])
            found = self._found[key] = None if days is None else self._known.sums(key[0], *days)
            return found


class _Unrecorded(Narrowest):
    """Near misses are not looked at: a replay tells what would have happened."""

    def nearness(self, facts: Mapping[str, object]) -> float | None:
        """Keep none."""
        del facts
        return None
