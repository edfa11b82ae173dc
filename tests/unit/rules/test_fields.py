"""Formulas of the fields: ratios of sums, unknown rather than zero."""

from __future__ import annotations

from datetime import date
from decimal import Decimal

import pytest

from engine.rules.fields import (
    BASE_METRICS,
    METRIC_AND_ENTITY_FIELDS,
    METRIC_FIELDS,
    RATIOS,
    days_running,
    derive,
    spend_pct_of_budget,
)

SUMS: dict[str, Decimal | None] = {
    "impressions": Decimal(10_000),
    "clicks": Decimal(200),
    "conversions": Decimal(8),
    "spend": Decimal("400.00"),
    "revenue": Decimal("1000.00"),
}


@pytest.mark.parametrize(
    ("field", "expected"),
    [
        ("impressions", "10000"),
        ("spend", "400"),
        ("ctr", "0.02"),
        ("cpc", "2"),
        ("cpm", "40"),
        ("cpa", "50"),
        ("roas", "2.5"),
        ("conversion_rate", "0.04"),
    ],
)
def test_a_metric_is_a_sum_or_a_ratio_of_sums(field: str, expected: str) -> None:
    assert derive(field, SUMS) == Decimal(expected)


@pytest.mark.parametrize("field", RATIOS)
def test_a_ratio_with_a_zero_denominator_is_unknown(field: str) -> None:
    assert derive(field, {**SUMS, RATIOS[field].denominator: Decimal(0)}) is None


def _bases_of(field: str) -> tuple[str, ...]:
    return (RATIOS[field].numerator, RATIOS[field].denominator) if field in RATIOS else (field,)


@pytest.mark.parametrize("field", METRIC_FIELDS)
def test_a_metric_without_its_data_is_unknown(field: str) -> None:
    for base in _bases_of(field):
        assert derive(field, {**SUMS, base: None}) is None
        assert derive(field, {name: value for name, value in SUMS.items() if name != base}) is None


@pytest.mark.parametrize("field", RATIOS)
def test_a_ratio_of_nothing_by_something_is_zero_and_not_unknown(field: str) -> None:
    assert derive(field, {**SUMS, RATIOS[field].numerator: Decimal(0)}) == 0


@pytest.mark.parametrize("field", METRIC_FIELDS)
def test_a_metric_needs_only_the_sums_that_it_names(field: str) -> None:
    needed = {base: SUMS[base] for base in _bases_of(field)}
    assert needed.keys() <= set(BASE_METRICS)
    assert derive(field, needed) == derive(field, SUMS)


def test_the_fields_are_those_of_the_specification() -> None:
    metrics = "impressions, clicks, conversions, spend, revenue, ctr, cpc, cpm, cpa, roas, conversion_rate"
    entity = "budget, bid_amount, status, name, platform, objective, tags, days_running, spend_pct_of_budget"
    assert ", ".join(METRIC_AND_ENTITY_FIELDS) == f"{metrics}, {entity}"
    assert ", ".join(name for name, spec in METRIC_AND_ENTITY_FIELDS.items() if spec.windowed) == metrics


def test_days_running_counts_whole_days_and_is_unknown_before_the_start() -> None:
    today = date(2024, 3, 1)
    assert days_running(today, today) == 0
    assert days_running(date(2024, 2, 28), today) == 2
    assert days_running(date(2024, 3, 2), today) is None
    assert days_running(None, today) is None


def test_spend_is_compared_with_the_budget_of_its_type() -> None:
    budget, today, lifetime = Decimal(200), Decimal(50), Decimal(150)
    assert spend_pct_of_budget("daily", budget, spend_today=today, spend_lifetime=lifetime) == 25
    assert spend_pct_of_budget("lifetime", budget, spend_today=today, spend_lifetime=lifetime) == 75
    assert spend_pct_of_budget("daily", budget, spend_today=None, spend_lifetime=lifetime) is None
    for missing in (None, Decimal(0)):
        assert spend_pct_of_budget("daily", missing, spend_today=today, spend_lifetime=lifetime) is None
