"""The bound on a day's net change, as the day goes on."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tests.world import SPENT

if TYPE_CHECKING:
    from tests.world import Org


def _step(amount: int) -> list[dict[str, Any]]:
    return [{"type": "adjust_budget", "params": {"amount": amount}}]


def test_what_waits_for_the_days_net_change_is_done_once_the_day_has_room_for_it(org: Org) -> None:
    lowered, raised = org.campaign(), org.campaign()
    lower = org.rule(SPENT, _step(-50), entity_id=lowered, guardrails={"max_daily_net_change": 45})
    [held] = org.evaluate(lower)
    assert (held.status, held.results) == ("running", {"held": 1})
    [again] = org.evaluate(lower)
    assert (again.status, again.skip_reason) == ("skipped", "guardrail")
    [rise] = org.evaluate(org.rule(SPENT, _step(40), entity_id=raised))
    assert rise.status == "success"
    [done] = org.evaluate(lower)
    assert (done.status, done.results) == ("success", {"succeeded": 1})
    assert org.campaign_row(lowered).budget == 50
