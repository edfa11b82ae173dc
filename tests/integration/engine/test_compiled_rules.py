"""What a process keeps of the rules that it has read is what is stored, whatever was rolled back or made room."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from engine.run_rules import compiled
from engine.store import tasks
from tests.world import SPENT

if TYPE_CHECKING:
    from tests.world import Org, World

BID: list[dict[str, Any]] = [{"type": "increase_bid", "value": 10}]
"""Fails where a campaign has no bid."""
HOT: list[dict[str, Any]] = [{"type": "tag_entity", "value": "hot"}]


def test_a_version_of_the_breaker_that_was_rolled_back_is_not_taken_for_another_of_its_number(
    world: World, org: Org, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_args: object, **_named: object) -> bool:
        raise RuntimeError("at the very end")

    campaign = org.campaign()
    rule = org.rule(SPENT, BID, guardrails={"max_failures_in_a_row": 1})
    twice = world.enqueue({org.id: [rule, rule]})  # the second evaluation meets what the first one left: a paused rule
    with monkeypatch.context() as patched:
        patched.setattr(tasks, "finish", fail)
        with pytest.raises(RuntimeError, match="at the very end"):
            world.run(org.id, twice)
    org.update_rule(rule, actions=HOT)
    [execution] = org.evaluate(rule)
    assert (execution.status, execution.rule_version) == ("success", 2)
    assert org.campaign_row(campaign).tags == ["hot"]


def test_a_rule_that_is_known_stays_so_while_room_is_made_for_another_of_its_chunk(
    org: Org, monkeypatch: pytest.MonkeyPatch
) -> None:
    org.campaign()
    monkeypatch.setattr(compiled, "_CACHED", 1)
    compiled._DEFINED.clear()
    known, new = org.rule(SPENT, HOT), org.rule(SPENT, [{"type": "tag_entity", "value": "new"}])
    org.evaluate(known)
    assert [one.status for one in org.evaluate(new, known)] == ["success", "skipped"]
    assert [one.skip_reason for one in org.evaluate(new, known)] == ["no_change"] * 2
