"""A backtest gives what really happens: the scheduler and the workers live through the days, and then it is replayed.

The real file is not ours to publish: CMIS_REAL_EXPORT names it, and without it its tests are skipped. A generated one
is always there, and is restated day by day.
"""

from __future__ import annotations

import os
import random
from collections import Counter
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final
from zoneinfo import ZoneInfo

import pytest

from engine import invariants
from engine.backtest.run import run
from engine.backtest.subject import Question, read
from engine.imports.read import ReadOptions, read_export
from engine.imports.sums import CampaignFacts, CampaignKey, Sums
from tests.acceptance.days import ZONE, Planned, Stage, live_until, replayed, set_clock
from tests.world import World

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from uuid import UUID

    from dev.site import Site
    from engine.backtest.run import Backtest

_MAPPING: Final = {"spend": "Spent", "conversions": "Total_Conversion"}
_TWICE: Final = "0 9,21 * * *"
_DAILY: Final = "0 9 * * *"
_FIRST: Final = date(2023, 8, 1)
_DAYS: Final = 31


def _rule(name: str, conditions: list[dict[str, Any]], actions: list[dict[str, Any]], **values: Any) -> dict[str, Any]:
    return {"name": name, "conditions": conditions, "actions": actions, "cooldown_minutes": 0} | values


def _leaf(field: str, operator: str, value: object, window: str) -> dict[str, Any]:
    return {"field": field, "operator": operator, "value": value, "window": window}


_RAISE: Final = [{"type": "increase_budget", "value": 20}]
_LOWER: Final = [{"type": "decrease_budget", "value": 30}]
_PAUSE: Final = [{"type": "pause_underperforming"}]
_NOTIFY: Final = [{"type": "notify", "params": {"message": "look"}}]

BY_AD_SET: Final = [
    (_rule("costly", [_leaf("cpa", ">", 50, "lifetime")], _PAUSE, cooldown_minutes=2000), _DAILY),
    (
        _rule(
            "few at once",
            [_leaf("spend", ">", 30, "yesterday")],
            _PAUSE,
            guardrails={"max_entities_per_run": 2},
        ),
        _DAILY,
    ),
    (_rule("broken", [{"field": "budget", "operator": "is_null"}, _leaf("spend", ">", 0, "last_7d")], _RAISE), _TWICE),
]
"""For the real file's 691 campaigns."""
BY_CAMPAIGN: Final = [
    (_rule("raise", [_leaf("cpa", "<", 6, "last_3d")], _RAISE, cooldown_minutes=2160), _TWICE),
    (
        _rule(
            "lower within bounds",
            [_leaf("cpa", ">", 4, "last_3d")],
            _LOWER,
            guardrails={"budget_floor": 40, "max_daily_net_change": 45},
        ),
        _TWICE,
    ),
    (_rule("once a day", [_leaf("spend", ">", 0, "yesterday")], _RAISE, max_executions_per_day=1), _TWICE),
    (_rule("sampled", [_leaf("cpa", ">", 1, "last_3d")], _NOTIFY, min_sample={"impressions": 500_000}), _DAILY),
    (_rule("fresh", [_leaf("spend", ">", 0, "last_3d")], _NOTIFY, max_data_age="12h"), _TWICE),
    (_rule("jump", [_leaf("spend", "changed_pct", 40, "last_3d")], [*_PAUSE, *_RAISE]), _DAILY),
    (
        _rule(
            "many kinds",
            [_leaf("cpa", ">", 2, "last_3d"), {"field": "tags", "operator": "not_contains", "value": "tired"}],
            [
                {"type": "adjust_bid", "params": {"percent": -10, "floor": 1}},
                {"type": "tag_entity", "params": {"tag": "seen"}},
                {"type": "set_field", "params": {"field": "objective", "value": "leads"}},
            ],
            cooldown_minutes=2880,
        ),
        _DAILY,
    ),
    (_rule("today", [_leaf("spend", ">", 0, "today")], _PAUSE), _TWICE),
    (
        _rule(
            "compared",
            [{"any": [
                _leaf("cpa", ">", {"field": "cpa", "window": "last_14d", "times": 1.2}, "last_3d"),
                {"field": "spend_pct_of_budget", "operator": ">", "value": 500},
            ]}],
            [{"type": "adjust_budget", "params": {"amount": -7.35}}],
        ),
        _DAILY,
    ),
]  # fmt: skip
"""For few campaigns that report each day."""


@pytest.fixture
def world(database: Site) -> Iterator[World]:
    made = World.open(database)
    yield made
    broken = {one.name: one.offenders for one in invariants.check(made.reader, drained=True) if one.offenders}
    assert broken == {}
    made.close()


@pytest.fixture
def export() -> Path:
    path = os.environ.get("CMIS_REAL_EXPORT")
    if not path:
        pytest.skip("CMIS_REAL_EXPORT names no file: the real export is not part of the repository")
    return Path(path)


def _local(day: date, hour: int) -> datetime:
    return datetime.combine(day, time(hour), ZoneInfo(ZONE)).astimezone(UTC)


def _silently(_done: int, _total: int) -> None: ...


@dataclass(frozen=True)
class Lives:
    """For each rule an org in which it lives, and one org in which none of them ever runs."""

    live: tuple[Stage, ...]
    never: Stage

    @classmethod
    def begin(cls, world: World, rules: Sequence[Planned], keys: Sequence[CampaignKey]) -> Lives:
        """Make all of them on the first day."""
        set_clock(world.site, _local(_FIRST, 1))
        live = [Stage.make(world, rule[0]["name"], [rule], keys, live=True) for rule in rules]
        return cls(tuple(live), Stage.make(world, "never", rules, keys, live=False))

    def take_in(self, sums: Sums, *, replace: bool = False) -> None:
        """Import metrics into each of them."""
        for stage in (*self.live, self.never):
            stage.take_in(sums, replace=replace)

    def compare(self, start: datetime) -> dict[str, Counter[str]]:
        """Compare each life with a backtest in the org where none runs, and in its own, rolled back.

        Returns what there was of each rule: effects by status, and runs without any by the reason.
        """
        seen = {}
        for stage, rule_id in zip(self.live, self.never.rule_ids, strict=True):
            lived = stage.lived()
            tried = _backtest(self.never, rule_id, start)
            assert replayed(tried) == lived, tried.subject.rule.name
            assert replayed(_backtest(stage, stage.rule_ids[0], start)) == lived, tried.subject.rule.name
            effects, runs = lived
            ends = [reason for _, _, reason in runs if reason]
            seen[tried.subject.rule.name] = Counter([*(effect[4] for effect in effects), *ends])
        return seen


def _backtest(stage: Stage, rule_id: UUID, start: datetime) -> Backtest:
    world = stage.org.world
    question = Question(start, world.now(), rule=rule_id)
    return run(read(world.app, stage.org.context, question, _silently), _silently)


@pytest.mark.parametrize(
    ("column", "rules"),
    [
        pytest.param("fb_campaign_id", BY_AD_SET, marks=pytest.mark.exhaustive),
        ("xyz_campaign_id", BY_CAMPAIGN),
    ],
)
def test_the_real_file_imported_beforehand_gives_the_same_firings_live_and_replayed(
    world: World, export: Path, column: str, rules: list[Planned]
) -> None:
    last = _FIRST + timedelta(days=_DAYS - 1)
    sums = read_export(export, ReadOptions(last, _MAPPING | {"campaign": column}, strict=True), _silently).sums
    lives = Lives.begin(world, rules, sorted(sums.campaigns))
    start = world.now()
    set_clock(world.site, _local(last, 23) + timedelta(days=3))
    lives.take_in(sums)  # each day is dated to its end
    set_clock(world.site, start)
    live_until(world, start, _local(last, 23))
    seen = lives.compare(start)
    assert {name: counts["succeeded"] > 0 for name, counts in seen.items()} == _firing(rules)
    if "costly" in seen:
        assert seen["costly"]["succeeded"] == 38
        assert seen["few at once"]["held"] > 0
        assert seen["broken"]["rule_inactive"] > 0  # the breaker paused it
    else:
        assert seen["once a day"]["daily_limit"] == _DAYS - 1
        assert seen["lower within bounds"]["held"] > 3  # some of them asked for again, after 28 days
        assert seen["today"] == {"conditions_unknown": 2 * _DAYS}  # imported ahead of the clock, and not known yet


def _firing(rules: Sequence[Planned]) -> dict[str, bool]:
    """Say which rules act: all but one whose actions fail, and one that asks for what is never known in time."""
    return {rule["name"]: rule["name"] not in {"broken", "today"} for rule, _ in rules}


def _generated(rng: random.Random) -> dict[date, dict[CampaignKey, list[Decimal | None]]]:
    """Make the metrics of 12 campaigns over a month, with holes."""
    keys = [CampaignKey("generic", f"c{number}") for number in range(12)]
    days: dict[date, dict[CampaignKey, list[Decimal | None]]] = {}
    for offset in range(_DAYS):
        days[_FIRST + timedelta(days=offset)] = {
            key: _values(rng, number) for number, key in enumerate(keys) if rng.random() < 0.9
        }
    return days


def _values(rng: random.Random, number: int) -> list[Decimal | None]:
    """Return impressions, clicks, spend, conversions and revenue of one day, some of them not reported."""
    numbers = [
        rng.randrange(400_000),
        rng.randrange(900),
        rng.randrange(20_000) / 100,
        rng.randrange(2 + 2 * number),
        50,
    ]
    return [Decimal(str(value)) if rng.random() < 0.95 else None for value in numbers]


def _sums(days: dict[date, dict[CampaignKey, list[Decimal | None]]]) -> Sums:
    found = Sums()
    for day, of_day in days.items():
        for key, values in of_day.items():
            found.campaigns[key] = CampaignFacts(key.external_id, None, "EUR", day, day)
            found.days[key, day] = values
    return found


def test_metrics_that_come_day_by_day_and_are_restated_give_the_same_firings_live_and_replayed(world: World) -> None:
    rng = random.Random(20230801)  # noqa: S311 - repeatable data, no secret
    days = _generated(rng)
    keys = sorted({key for of_day in days.values() for key in of_day})
    lives = Lives.begin(world, [*BY_AD_SET, *BY_CAMPAIGN], keys)
    start = world.now()
    for day in list(days)[1:]:
        live_until(world, start, _local(day, 3))
        news = _sums({day - timedelta(days=1): days[day - timedelta(days=1)]})
        earlier = day - timedelta(days=3)
        restated = _sums({earlier: {key: _values(rng, 5) for key in days.get(earlier, {}) if rng.random() < 0.4}})
        lives.take_in(news)
        if restated.days:
            lives.take_in(restated, replace=True)
    live_until(world, start, _local(_FIRST + timedelta(days=_DAYS), 0))
    seen = lives.compare(start)
    assert {name: counts["succeeded"] > 0 for name, counts in seen.items()} == _firing([*BY_AD_SET, *BY_CAMPAIGN])
