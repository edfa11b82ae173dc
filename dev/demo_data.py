"""The demo's campaigns and metrics: synthetic, from a seeded generator, relative to a given instant.

No number here is of a real advertiser. Every campaign follows one of a few characters (a money-loser, a winner, one
that nobody clicks …), so that it is known beforehand which rules of `dev.demo_rules` strike it. The same seed and
instant give the same data on every machine. Pure data: `dev.demo_csv` writes it as exports; loading is the caller's.
"""

from __future__ import annotations

import random
from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Final, Literal

from dev.demo_rules import DemoRule, rules_of
from engine.schedule.zones import local_day, zone

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

SEED: Final = 20_260_101
DAYS: Final = 35
"""Days of metrics, today (until now, about half a day's worth) included."""
_CENT: Final = Decimal("0.01")
_FALL_DAYS: Final = 3

Dialect = Literal["meta", "european", "indian"]


@dataclass(frozen=True, slots=True)
class Character:
    """How a campaign behaves: ranges of daily impressions, rates as fractions, cost per click, and target ROAS."""

    impressions: tuple[int, int] = (4_000, 12_000)
    ctr: tuple[float, float] = (0.015, 0.03)
    conversion_rate: tuple[float, float] = (0.04, 0.08)
    cpc: tuple[float, float] = (0.6, 1.2)
    roas: tuple[float, float] = (1.9, 2.6)
    status: str = "active"
    falls: bool = False
    """In the last whole days only a third still converts."""


_STEADY: Final = Character()
CHARACTERS: Final[Mapping[str, Character]] = {
    "steady": _STEADY,
    "winner": replace(_STEADY, roas=(3.8, 5.0)),
    "loser": replace(_STEADY, conversion_rate=(0.007, 0.012), cpc=(1.1, 1.6), roas=(0.3, 0.8)),
    "unclicked": replace(_STEADY, impressions=(30_000, 60_000), ctr=(0.003, 0.006)),
    "fading": replace(_STEADY, falls=True),
    "shelved": replace(_STEADY, roas=(2.4, 2.8), status="paused"),
    "silent": replace(_STEADY, conversion_rate=(0.0, 0.0)),
}
_MIX: Final = (
    "steady", "winner", "loser", "steady", "unclicked", "steady", "fading", "winner", "steady", "shelved"
)  # fmt: skip
_OBJECTIVES: Final = ("sales", "leads", "traffic", "awareness")
_SEASONS: Final = ("Spring", "Summer", "Autumn", "Winter", "Clearance", "Launch")
_AUDIENCES: Final = ("Prospecting", "Retargeting", "Lookalike", "Brand", "Loyalty")


@dataclass(frozen=True, slots=True)
class Plan:
    """What an org is made of. `specials` are campaigns that a rule names: external id → (character, budget)."""

    name: str
    prefix: str
    timezone: str
    currency: str
    dialect: Dialect
    platforms: tuple[str, ...]
    money: int
    """What costs 1 in the characters costs so much in the org's currency."""
    campaigns: int
    specials: Mapping[str, tuple[str, int]]


PLANS: Final = (
    Plan(
        "Harbor & Pine Outdoor", "HP", "America/New_York", "USD", "meta", ("meta",), 1, 88,
        {"HP-SILENT": ("silent", 60), "HP-DIGEST": ("steady", 120)},
    ),
    Plan(
        "Lindenhof Möbel", "LM", "Europe/Berlin", "EUR", "european", ("google", "meta", "pinterest"), 1, 78,
        {"LM-FLOOR": ("steady", 12), "LM-COOL": ("steady", 150)},
    ),
    Plan("Kaveri Textiles", "KT", "Asia/Kolkata", "INR", "indian", ("google", "meta"), 80, 64, {}),
)  # fmt: skip
"""Zones with daylight saving time (two) and without."""


@dataclass(frozen=True, slots=True)
class Metric:
    """One campaign on one day; money in the org's currency, to the cent."""

    campaign: str
    day: date
    impressions: int
    clicks: int
    spend: Decimal
    conversions: int
    revenue: Decimal


@dataclass(frozen=True, slots=True)
class DemoOrg:
    """One org of the demo. `campaigns` are objects with the columns of SPEC §2 that an import does not know."""

    name: str
    timezone: str
    currency: str
    dialect: Dialect
    today: date
    campaigns: Sequence[dict[str, object]]
    characters: Mapping[str, str]
    metrics: Sequence[Metric]
    rules: Sequence[DemoRule]


def build(now: datetime, seed: int = SEED) -> list[DemoOrg]:
    """Return the demo's orgs as of the instant `now` (aware)."""
    return [_org(plan, now, random.Random(f"{seed}:{plan.prefix}")) for plan in PLANS]


def _org(plan: Plan, now: datetime, chance: random.Random) -> DemoOrg:
    today = local_day(now, zone(plan.timezone))
    kinds = {f"{plan.prefix}-{number:04d}": _MIX[number % len(_MIX)] for number in range(plan.campaigns)}
    kinds |= {external_id: kind for external_id, (kind, _) in plan.specials.items()}
    campaigns = [_campaign(plan, external_id, kind, today, chance) for external_id, kind in kinds.items()]
    metrics = [
        metric
        for external_id, kind in kinds.items()
        for metric in _metrics(external_id, CHARACTERS[kind], plan.money, today, chance)
    ]
    rules = rules_of(plan.prefix, plan.timezone, now)
    return DemoOrg(
        plan.name, plan.timezone, plan.currency, plan.dialect, today, campaigns, kinds, metrics, rules
    )  # fmt: skip


def _campaign(plan: Plan, external_id: str, kind: str, today: date, chance: random.Random) -> dict[str, object]:
    budget = plan.specials[external_id][1] if external_id in plan.specials else chance.randrange(40, 400, 5)
    lifetime = external_id not in plan.specials and chance.random() < 0.1  # noqa: PLR2004 - every tenth
    objective = chance.choice(_OBJECTIVES)
    return {
        "external_id": external_id,
        "name": f"Synthetic {chance.choice(_SEASONS)} {chance.choice(_AUDIENCES)} {external_id}",
        "platform": chance.choice(plan.platforms),
        "objective": objective,
        "status": CHARACTERS[kind].status,
        "budget": Decimal(budget * plan.money * (DAYS if lifetime else 1)),
        "budget_type": "lifetime" if lifetime else "daily",
        "currency": plan.currency,
        "bid_amount": Decimal(chance.randrange(50, 250) * plan.money) * _CENT,
        "tags": ["synthetic", objective],
        "start_date": today - timedelta(days=chance.randrange(DAYS, 4 * DAYS)),
    }


def _metrics(external_id: str, character: Character, money: int, today: date, chance: random.Random) -> list[Metric]:
    ctr, rate, cpc, roas = (
        chance.uniform(*span) for span in (character.ctr, character.conversion_rate, character.cpc, character.roas)
    )
    impressions = chance.randint(*character.impressions)
    value = roas * cpc / rate if rate else 0.0  # of one conversion: what makes revenue ÷ spend come out as `roas`
    found = []
    for back in range(DAYS - 1, -1, -1):
        share = chance.uniform(0.85, 1.15) * (0.5 if back == 0 else 1)
        shown = round(impressions * share)
        clicks = round(shown * ctr * chance.uniform(0.95, 1.05))
        faded = 1 / 3 if character.falls and back <= _FALL_DAYS else 1
        conversions = round(clicks * rate * faded * chance.uniform(0.95, 1.05))
        found.append(
            Metric(
                external_id,
                today - timedelta(days=back),
                shown,
                clicks,
                _amount(clicks * cpc * chance.uniform(0.97, 1.03) * money),
                conversions,
                _amount(conversions * value * chance.uniform(0.97, 1.03) * money),
            )
        )
    return found


def _amount(value: float) -> Decimal:
    return Decimal(repr(value)).quantize(_CENT)
