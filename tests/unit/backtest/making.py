"""Rules, campaigns and histories for tests of the replay, without a database."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any
from uuid import UUID

from engine.actions.registry import parse_actions
from engine.backtest.history import History, Observation
from engine.backtest.past import PastCampaign
from engine.backtest.planned import planned, tried
from engine.backtest.run import Backtest, run
from engine.backtest.subject import Subject
from engine.rules.conditions import parse
from engine.rules.guardrails import DEFAULTS
from engine.rules.tree import operands
from engine.rules.trust import Trust
from engine.run_rules.compiled import Program, Rule
from engine.run_rules.operands import Operands

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

START = datetime(2026, 3, 1, tzinfo=UTC)
"""A Sunday."""
SPENT = [{"field": "spend", "window": "yesterday", "operator": ">", "value": 0}]
ANY_BUDGET = [{"field": "budget", "operator": ">", "value": 0}]
RAISE = [{"type": "increase_budget", "value": 10}]
PAUSE = [{"type": "pause_campaign"}]


def rule(conditions: list[dict[str, Any]], actions: list[dict[str, Any]], **changes: Any) -> Rule:
    condition = parse(conditions, "and")
    made = Rule(
        rule_id=UUID(int=1000),
        name="rule",
        version=1,
        entity_id=None,
        program=Program(condition, Operands(operands(condition)), tuple(parse_actions(actions, "actions"))),
        stop_on_error=False,
        rank=2,
        status="draft",
        daily_limit=None,
        cooldown_minutes=0,
        guardrails=DEFAULTS,
        trust=Trust({}, None),
        delay=timedelta(0),
        failures=3,
        acted_on=date(2026, 3, 1),
        acted_today=7,
    )
    return replace(made, **changes)


def campaign(number: int = 1, **changes: Any) -> PastCampaign:
    made = PastCampaign(
        campaign_id=UUID(int=number),
        name=f"campaign {number}",
        platform="meta",
        objective=None,
        status="active",
        budget=Decimal(100),
        budget_type="daily",
        currency="EUR",
        bid_amount=None,
        tags=(),
        external_id=None,
        start_date=None,
        end_date=None,
    )
    return replace(made, **changes)


def spent(amounts: Mapping[int, object], *, observed: timedelta = timedelta(hours=1)) -> list[Observation]:
    """Return the spend of days of March, each known an hour after the day is over unless told otherwise."""
    return [
        Observation(
            date(2026, 3, day).toordinal(),
            datetime(2026, 3, day, tzinfo=UTC) + timedelta(days=1) + observed,
            None,
            (Decimal(str(amount)),),
        )
        for day, amount in amounts.items()
    ]


def backtest(
    tried_rule: Rule,
    campaigns: Sequence[PastCampaign],
    observations: Mapping[int, Sequence[Observation]] | None = None,
    *,
    days: int = 10,
    cron: str = "0 9 * * *",
    **changes: Any,
) -> Backtest:
    """Replay a rule over the first days of March; observations of spend by the campaign's number."""
    end = START + timedelta(days=days)
    sources = (tried(cron, changes.get("timezone", "UTC"), START),)
    subject = Subject(
        rule=tried_rule,
        stored=True,
        start=START,
        end=end,
        timezone="UTC",
        sources=sources,
        times=tuple(planned(sources, START, end)),
        campaigns={one.campaign_id: one for one in campaigns},
        rolled_back=0,
        history=History(("spend",), {UUID(int=number): seen for number, seen in (observations or {}).items()}),
        never_touch=frozenset(),
        org_id=UUID(int=9),
        org_name="org",
    )
    return run(replace(subject, **changes), lambda _done, _total: None)


def acted_days(found: Backtest) -> list[int]:
    """Return the days of the month on which something was done."""
    return [one.time.at.day for one in found.firings if any(h.effect.status == "succeeded" for h in one.happened)]
