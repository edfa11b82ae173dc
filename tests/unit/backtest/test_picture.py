"""The picture of a backtest: it stands alone, holds whatever tenants wrote as text, and shows where the rule acted."""

from __future__ import annotations

import math
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any
from xml.etree import ElementTree as ET
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.backtest.axes import number_label, number_ticks, time_ticks
from engine.backtest.curve import Curves, curves, first_metric
from engine.backtest.picture import Heading, draw
from engine.rules.tree import Operand, leaves
from engine.rules.windows import Window
from tests.unit.backtest.making import PAUSE, RAISE, SPENT, START, backtest, campaign, rule, spent

SVG = "{http://www.w3.org/2000/svg}"
SPEND = Operand("spend", Window.YESTERDAY, explicit=True)
NASTY = "<script>alert('x')</script> & \"Ü\" \x07\x00\u202e"


def _drawn(found: Any, title: str = "rule", **asked: Any) -> ET.Element:
    subject = found.subject
    heading = Heading(title, "told", subject.start, subject.end, ZoneInfo("UTC"))
    return ET.fromstring(draw(heading, curves(found, SPEND, **asked)))  # noqa: S314 - our own


def _of_class(root: ET.Element, kind: str) -> list[ET.Element]:
    return [one for one in root.iter() if one.get("class") == kind]


def test_names_are_text_and_nothing_comes_from_elsewhere() -> None:
    found = backtest(rule(SPENT, PAUSE), [campaign(name=NASTY)], {1: spent({1: 5})}, days=3)
    root = _drawn(found, title=NASTY)
    told = [one.text or "" for one in root.iter(f"{SVG}text")]
    assert sum("<script>alert('x')</script> & \"Ü\"" in text for text in told) == 2
    assert all(mark.isprintable() for text in told for mark in text)
    assert {one.tag.removeprefix(SVG) for one in root.iter()} == {
        "svg", "title", "desc", "style", "rect", "path", "text", "circle", "g"
    }  # fmt: skip
    names = {name for one in root.iter() for name in one.attrib}
    assert not [name for name in names if "href" in name or name.startswith("on")]
    assert "url(" not in draw(
        Heading("r", "t", START, START + timedelta(days=1), ZoneInfo("UTC")), curves(found, SPEND)
    )


def test_a_disc_stands_on_the_curve_where_the_rule_acted_and_a_diamond_where_it_waits() -> None:
    days = {1: spent({day: 10 * day for day in range(1, 8)})}
    acted = _drawn(backtest(rule(SPENT, RAISE, cooldown_minutes=2880), [campaign()], days, days=8))
    [_, *discs] = _of_class(acted, "fired")  # the first is the legend's
    assert len(discs) == 4
    assert [float(disc.get("cy", "0")) for disc in discs] == sorted(
        (float(disc.get("cy", "0")) for disc in discs), reverse=True
    )
    said = [(disc.find(f"{SVG}title"), disc) for disc in discs]
    assert said[0][0] is not None
    assert said[0][0].text == "2026-03-02 09:00: 10; adjust_budget succeeded, budget 100 → 110"
    held = _drawn(
        backtest(rule(SPENT, RAISE), [campaign()], days, days=8, never_touch=frozenset([campaign().campaign_id]))
    )
    assert len(_of_class(held, "held")) == 2  # the legend's, and one: it is asked for once
    assert _of_class(acted, "held") == []


def test_the_line_ends_where_the_metric_is_unknown() -> None:
    found = backtest(rule(SPENT, PAUSE), [campaign()], {1: spent({1: 5, 2: 5, 5: 5, 6: 4})}, days=8)
    assert len(_of_class(_drawn(found), "area")) == 2


def test_numbers_that_the_rule_compares_with_are_drawn_once_each() -> None:
    between = [{"field": "spend", "window": "yesterday", "operator": "between", "value": [10, 20]}]
    found = backtest(rule([*SPENT, *between, *SPENT], PAUSE), [campaign()], {1: spent({1: 15})}, days=3)
    assert curves(found, SPEND).thresholds == (Decimal(0), Decimal(10), Decimal(20))
    other = Operand("spend", Window.TODAY, explicit=True)
    assert curves(found, other).thresholds == ()


def test_six_campaigns_are_drawn_those_with_most_effects_first_or_those_that_are_asked_for() -> None:
    days = {number: spent(dict.fromkeys(range(10 - number, 10), 1)) for number in range(1, 10)}
    found = backtest(rule(SPENT, RAISE), [campaign(number) for number in range(1, 10)], days, days=10)
    assert [curve.campaign for curve in curves(found, SPEND).curves] == [f"campaign {n}" for n in (9, 8, 7, 6, 5, 4)]
    assert len(list(_drawn(found).iter(f"{SVG}g"))) == 6
    only = [campaign(2).campaign_id]
    assert [curve.campaign for curve in curves(found, SPEND, only).curves] == ["campaign 2"]


def test_a_picture_without_campaigns_says_so() -> None:
    root = _drawn(backtest(rule(SPENT, PAUSE), [], days=2))
    assert "There is no campaign to show." in [one.text for one in root.iter(f"{SVG}text")]


def test_a_year_of_hours_makes_no_more_points_than_can_be_seen() -> None:
    days = {1: spent(dict.fromkeys(range(1, 31), 7), observed=timedelta(0))}
    hourly = backtest(rule(SPENT, PAUSE), [campaign()], days, cron="*/5 * * * *", days=30)
    [line] = [one for one in _of_class(_drawn(hourly), "line") if "L" in (one.get("d") or "")]
    assert len((line.get("d") or "").split("L")) < 2_000 < len(hourly.firings)


def test_the_first_metric_of_a_rule_is_what_is_drawn() -> None:
    tree = rule([{"field": "status", "operator": "=", "value": "active"}, *SPENT], PAUSE).program.condition
    assert first_metric(list(leaves(tree))) == SPEND
    assert first_metric([]) is None
    assert Curves(SPEND, (), ()).curves == ()


@given(st.floats(1e-6, 1e12), st.integers(2, 6))
def test_ticks_are_few_round_numbers_from_0_to_beyond_the_largest(high: float, most: int) -> None:
    ticks = number_ticks(high, most)
    step = ticks[1] - ticks[0]
    assert ticks[0] == 0
    assert high <= ticks[-1] * (1 + 1e-6)
    assert 2 <= len(ticks) <= most + 1
    assert round(step / 10 ** math.floor(math.log10(step) + 1e-9), 6) in {1, 2, 2.5, 5, 10}
    labels = [number_label(tick, step) for tick in ticks]
    assert len(set(labels)) == len(labels)


@pytest.mark.parametrize(
    ("value", "step", "label"),
    [
        (0, 25, "0"), (1200, 200, "1,200"), (25_000, 5_000, "25k"), (0, 5_000, "0"), (2_500, 2_500, "2.5k"),
        (0.015, 0.005, "0.015"), (2.5, 2.5, "2.5"), (7.5e6, 2.5e6, "7.5m"),
    ],
)  # fmt: skip
def test_labels_read_well(value: float, step: float, label: str) -> None:
    assert number_label(value, step) == label


@pytest.mark.parametrize(
    ("days", "labels"),
    [
        (0.5, ["Mar 1", "02:00", "04:00", "06:00", "08:00", "10:00", "12:00"]),
        (5, ["Mar 1", "Mar 2", "Mar 3", "Mar 4", "Mar 5", "Mar 6"]),
        (30, ["Mar 1", "Mar 8", "Mar 15", "Mar 22", "Mar 29"]),
        (365, ["Mar 1", "May 1", "Jul 1", "Sep 1", "Nov 1", "Jan 1 2027", "Mar 1"]),
    ],
)
def test_times_are_told_by_hours_days_or_months(days: float, labels: list[str]) -> None:
    end = START + timedelta(days=days)
    assert [label for _, label in time_ticks(START, end, ZoneInfo("UTC"), 7)] == labels


def test_days_begin_at_midnight_of_the_zone_through_a_change_of_clocks() -> None:
    start, tz = datetime(2026, 3, 28, tzinfo=UTC), ZoneInfo("Europe/Berlin")
    ticks = time_ticks(start, start + timedelta(days=3), tz, 4)
    assert [at.astimezone(UTC).hour for at, _ in ticks] == [23, 22, 22]
