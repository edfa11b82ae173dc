"""Why a rule does not act on a campaign: each gate by itself, with the numbers by which it stops."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest

from core.errors import NotFoundError
from engine import why as service
from engine.gate_report import GATES
from tests.integration.engine.test_dry_run import everything
from tests.world import NOTIFY, SPENT

if TYPE_CHECKING:
    from uuid import UUID

    from tests.world import Org, World

COSTLY = [{"field": "cpa", "operator": ">", "value": 104}]
RAISE = [{"type": "increase_budget", "value": 20}]


def ask(org: Org, rule: UUID, campaign: UUID) -> service.Why:
    return service.why(org.world.app, org.context, rule, campaign)


def stop(found: service.Why) -> tuple[str, str | None, dict[str, Any]]:
    """Return the gate that stops it, why, and its numbers; those before are passed, those behind not reached."""
    gates = found.gates
    assert [gate.gate for gate in gates] == list(GATES)
    place = [gate.result for gate in gates].index("stopped")
    assert [gate.result for gate in gates] == ["passed"] * place + ["stopped"] + ["not_reached"] * (6 - place)
    assert found.stopped_by == gates[place]
    return gates[place].gate, gates[place].reason, dict(gates[place].details or {})


def test_a_rule_that_would_fire_is_told_with_what_it_would_do(world: World, org: Org) -> None:
    campaign = org.campaign()
    rule = org.rule(SPENT, [*RAISE, {"type": "pause"}])
    before = everything(world)
    found = ask(org, rule, campaign)
    assert found.verdict == "would_fire"
    assert {gate.result for gate in found.gates} == {"passed"}
    assert [(one.before, one.after) for one in found.evaluated.actions] == [
        ({"budget": 100}, {"budget": 120}),
        ({"status": "active"}, {"status": "paused"}),
    ]
    assert (found.stopped_by, found.nearest_miss, found.last_acted, found.last_evaluation) == (None, None, None, None)
    assert everything(world) == before
    [ran] = org.evaluate(rule)
    assert ran.results == {"succeeded": 2}


@pytest.mark.parametrize("status", ["draft", "paused", "archived"])
def test_a_rule_that_is_not_active(org: Org, status: str) -> None:
    campaign = org.campaign()
    found = ask(org, org.rule(status=status), campaign)
    assert stop(found) == ("rule_active", f"the rule is {status}", {"status": status})
    assert found.verdict == "stopped"


def test_a_daily_limit_that_is_used_up(org: Org) -> None:
    campaign = org.campaign()
    rule = org.rule(SPENT, NOTIFY, max_executions_per_day=1)
    [ran] = org.evaluate(rule)
    found = ask(org, rule, campaign)
    reason = "it acted 1 of at most 1 times today (UTC)"
    assert stop(found) == ("daily_limit", reason, {"acted_today": 1, "limit": 1})
    assert found.last_acted is not None
    assert found.last_evaluation is not None
    assert found.last_acted.execution_id == found.last_evaluation.execution_id == ran.execution_id


def test_a_campaign_that_is_archived_or_not_the_rules(org: Org) -> None:
    archived, mine, other = org.campaign(status="archived"), org.campaign(), org.campaign()
    assert stop(ask(org, org.rule(), archived)) == ("entity", "the campaign is archived", {})
    assert stop(ask(org, org.rule(entity_id=mine), other)) == ("entity", f"the rule is for campaign {mine} alone", {})


def test_a_cooldown_with_the_time_at_which_it_ends(world: World, org: Org) -> None:
    campaign = org.campaign()
    rule = org.rule(SPENT, NOTIFY, cooldown_minutes=90)
    [acted] = org.evaluate(rule)
    org.evaluate(rule)
    found = ask(org, rule, campaign)
    gate, reason, details = stop(found)
    free_at = acted.started_at + timedelta(minutes=90)
    assert (gate, details) == ("cooldown", {"last_acted_at": acted.started_at, "free_at": free_at})
    assert reason is not None
    assert reason.startswith("it acted on the campaign and leaves it alone for 90 minutes, until ")
    assert found.last_acted is not None
    assert found.last_evaluation is not None
    assert found.last_acted.execution_id == acted.execution_id != found.last_evaluation.execution_id
    assert found.last_evaluation.skip_reason == "cooldown"
    world.advance(minutes=90)
    assert ask(org, rule, campaign).verdict == "would_fire"


def test_conditions_that_do_not_hold_with_the_nearest_miss(org: Org) -> None:
    campaign = org.campaign({"spend": 300, "conversions": 3})
    found = ask(org, org.rule(COSTLY), campaign)
    gate, reason, details = stop(found)
    assert gate == "conditions"
    said = "would fire if cpa (last_7d) rises more than 4 % (above 104)"
    assert reason == f"its conditions do not hold; {said}"
    assert found.nearest_miss is not None
    assert found.nearest_miss.text == said
    assert found.nearest_miss.cost == pytest.approx(4)
    [leaf] = details["trace"]["all"]
    assert (leaf["field"], leaf["actual"], leaf["expected"], leaf["result"]) == ("cpa", 100, 104, False)


def test_doing_what_the_nearest_miss_says_makes_the_rule_fire(world: World, org: Org) -> None:
    campaign = org.campaign({"spend": 300, "conversions": 3})
    conditions = [*COSTLY, {"field": "spend", "operator": ">=", "value": 315}]
    rule = org.rule(conditions)
    found = ask(org, rule, campaign)
    assert found.nearest_miss is not None
    assert found.nearest_miss.text == (
        "would fire if cpa (last_7d) rises more than 4 % (above 104) and spend (last_7d) rises 5 % (to 315)"
    )
    world.meddle("UPDATE cmis.campaign_metrics SET spend = 315")  # a cpa of 105
    assert ask(org, rule, campaign).verdict == "would_fire"


def test_conditions_that_cannot_be_decided(org: Org) -> None:
    campaign = org.campaign({"spend": 900, "conversions": 0})
    found = ask(org, org.rule(COSTLY), campaign)
    gate, reason, details = stop(found)
    assert (gate, reason) == (
        "conditions",
        "its conditions cannot be decided; would fire if cpa (last_7d) is above 104",
    )
    assert details["trace"]["all"][0]["reason"] == "cpa has no value"
    doubtful = org.rule(SPENT, min_sample={"clicks": 1000})
    assert "min_sample asks for 1000" in stop(ask(org, doubtful, campaign))[2]["trace"]["all"][0]["reason"]


def test_nothing_to_change_and_what_cannot_be_changed(org: Org) -> None:
    paused, poor = org.campaign(status="paused"), org.campaign(budget=None)
    same = ask(org, org.rule(SPENT), paused)
    assert stop(same) == ("change", "the campaign already is as the actions would make it", {})
    impossible = ask(org, org.rule(SPENT, RAISE), poor)
    assert stop(impossible) == ("change", "the campaign has no budget to adjust", {})
    assert [one.status for one in impossible.evaluated.actions] == ["failed"]


def test_a_guardrail_is_named_and_then_what_waits_for_approval(org: Org) -> None:
    campaign = org.campaign(budget=12)
    rule = org.rule(SPENT, [{"type": "decrease_budget", "value": 50}])
    found = ask(org, rule, campaign)
    assert found.verdict == "would_ask"
    said = "budget_floor: the budget would fall below the floor of 10; it would wait for approval"
    assert stop(found) == ("guardrails", said, {})
    org.evaluate(rule)
    [action] = org.world.rows("SELECT action_id FROM cmis.automation_actions")
    found = ask(org, rule, campaign)
    said = f"it asked for that already: action {action.action_id} waits for approval"
    assert (found.verdict, stop(found)) == ("stopped", ("guardrails", said, {}))


def test_a_campaign_that_is_never_touched(world: World, org: Org) -> None:
    campaign = org.campaign()
    world.meddle("UPDATE cmis.orgs SET never_touch = %(ids)s WHERE org_id = %(org)s", ids=[campaign], org=org.id)
    said = "never_touch: the campaign is on the org's never-touch list; it would wait for approval"
    assert stop(ask(org, org.rule(), campaign)) == ("guardrails", said, {})


def test_a_bound_on_all_campaigns_together_is_judged_with_the_others(org: Org) -> None:
    first, second = org.campaign(), org.campaign()
    rule = org.rule(guardrails={"max_entities_per_run": 1})
    assert ask(org, rule, first).verdict == "would_fire"
    said = "max_entities_per_run: the run would change more than 1 campaigns; it would wait for approval"
    assert stop(ask(org, rule, second)) == ("guardrails", said, {})
    [ran] = org.evaluate(rule)
    assert ran.results == {"succeeded": 1, "held": 1}
    assert org.campaign_row(first).status == "paused"


def test_a_rule_that_cannot_be_read_would_fail(org: Org) -> None:
    campaign = org.campaign()
    found = ask(org, org.rule([{"field": "nonsense", "operator": ">", "value": 1}]), campaign)
    assert (found.verdict, found.gates, found.nearest_miss) == ("would_fail", [], None)
    assert found.error is not None
    assert "nonsense" in found.error["message"]


def test_what_is_not_there_is_named(world: World, org: Org) -> None:
    campaign, theirs = org.campaign(name="mine"), world.org("theirs")
    with pytest.raises(NotFoundError, match=r"rule: there is no rule"):
        ask(org, theirs.rule(), campaign)
    with pytest.raises(NotFoundError, match=r"entity: there is no campaign"):
        ask(org, org.rule(), theirs.campaign())
    assert service.why(world.app, org.context, org.rule(name="r"), "mine").verdict == "would_fire"
