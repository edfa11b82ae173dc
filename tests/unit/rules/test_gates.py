"""The gates, their boundaries, and which of them an execution names."""

from __future__ import annotations

import itertools
from datetime import UTC, datetime, timedelta

import pytest

from engine.rules.gates import SkipReason, conditions_gate, cooldown_gate, rule_gate, skip_reason

NOW = datetime(2024, 3, 1, 12, tzinfo=UTC)


@pytest.mark.parametrize("status", ["draft", "paused", "archived"])
def test_only_an_active_rule_passes(status: str) -> None:
    assert rule_gate(status, None, 0) is SkipReason.RULE_INACTIVE
    assert rule_gate("active", None, 1_000_000) is None


def test_a_rule_that_is_inactive_and_at_its_limit_names_the_first_gate() -> None:
    assert rule_gate("paused", 1, 1) is SkipReason.RULE_INACTIVE


@pytest.mark.parametrize(("acted", "expected"), [(0, None), (2, None), (3, "daily_limit"), (4, "daily_limit")])
def test_a_limit_of_three_lets_three_act(acted: int, expected: str | None) -> None:
    assert rule_gate("active", 3, acted) == expected


def test_at_exactly_the_boundary_of_its_cooldown_a_rule_may_run() -> None:
    assert cooldown_gate(NOW - timedelta(minutes=60), 60, NOW)
    assert not cooldown_gate(NOW - timedelta(minutes=60) + timedelta(microseconds=1), 60, NOW)
    assert cooldown_gate(NOW, 0, NOW)
    assert cooldown_gate(None, 60, NOW)


def test_unknown_does_not_fire() -> None:
    assert conditions_gate(result=True) is None
    assert conditions_gate(result=False) is SkipReason.CONDITIONS_NOT_MET
    assert conditions_gate(None) is SkipReason.CONDITIONS_UNKNOWN


def test_an_execution_names_the_furthest_gate_that_any_entity_reached() -> None:
    order = [
        "rule_inactive",
        "daily_limit",
        "no_entities",
        "cooldown",
        "conditions_unknown",
        "conditions_not_met",
        "no_change",
        "guardrail",
    ]
    assert [reason.value for reason in SkipReason] == order
    for nearer, further in itertools.combinations(SkipReason, 2):
        assert skip_reason([further, nearer, nearer]) is further
    assert skip_reason([]) is SkipReason.NO_ENTITIES
