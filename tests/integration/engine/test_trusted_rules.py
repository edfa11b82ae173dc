"""What keeps a rule from acting on noise, on old data, and from failing for ever; and which version of it ran."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy import insert, text

import models
from tests.integration.engine.guarding import bind
from tests.world import NOTIFY, PAUSE, SPENT

if TYPE_CHECKING:
    from uuid import UUID

    from tests.world import Org, World

RAISE = [{"type": "increase_budget", "value": 10}]


def _leaf(execution: Any) -> dict[str, Any]:
    [entity] = execution.conditions_evaluated["entities"]
    leaf: dict[str, Any] = entity["trace"]["all"][0]
    return leaf


@pytest.mark.parametrize(("impressions", "status"), [(1000, "success"), (999, "skipped"), (None, "skipped")])
def test_a_sample_that_is_too_small_makes_its_window_unknown(org: Org, impressions: int | None, status: str) -> None:
    org.campaign({"spend": 100, "conversions": 1, "impressions": impressions})
    [execution] = org.evaluate(org.rule(SPENT, PAUSE, min_sample={"impressions": 1000}))
    assert execution.status == status
    if status == "skipped":
        assert execution.skip_reason == "conditions_unknown"
        assert "min_sample asks for 1000" in _leaf(execution)["reason"]


def test_data_that_is_too_old_makes_its_window_unknown_but_never_lifetime(world: World, org: Org) -> None:
    org.campaign()
    lifetime = [{"field": "spend", "window": "lifetime", "operator": ">", "value": 0}]
    day = int(timedelta(days=1).total_seconds())
    world.advance(hours=25)
    old, of_all_time, patient = org.evaluate(
        org.rule(SPENT, NOTIFY, max_data_age=day),
        org.rule(lifetime, NOTIFY, max_data_age=day),
        org.rule(SPENT, NOTIFY, max_data_age=2 * day),
    )
    assert (old.status, old.skip_reason) == ("skipped", "conditions_unknown")
    assert "max_data_age allows 24 hours" in _leaf(old)["reason"]
    assert _leaf(old)["actual"] is None
    assert (of_all_time.status, patient.status) == ("success", "success")


def test_the_preceding_window_is_held_to_the_same_sample(world: World, org: Org) -> None:
    campaign_id = org.campaign({"spend": 300, "impressions": 2000})
    row = {"org_id": org.id, "campaign_id": campaign_id, "spend": 100, "impressions": 10}
    with world.app.transaction(org.context) as connection:
        day = (world.now() - timedelta(days=10)).date()
        connection.execute(insert(models.CampaignMetric), row | {"date": day, "observed_at": world.now()})
    rose = [{"field": "spend", "operator": "changed_pct", "value": 50}]
    trusting, doubting = org.evaluate(org.rule(rose, NOTIFY), org.rule(rose, NOTIFY, min_sample={"impressions": 100}))
    assert (trusting.status, doubting.status) == ("success", "skipped")
    assert "only 10 impressions in the days before last_7d" in _leaf(doubting)["reason"]


def test_a_rule_that_keeps_failing_is_paused_and_its_people_are_told(world: World, org: Org) -> None:
    org.campaign(budget=None)
    rule_id = org.rule(SPENT, RAISE)
    statuses = [org.evaluate(rule_id)[0].status for _ in range(6)]
    assert statuses == ["failure"] * 5 + ["skipped"]
    [rule] = world.rows("SELECT status, failures_in_a_row, version FROM cmis.automation_rules")
    assert (rule.status, rule.failures_in_a_row) == ("paused", 0)
    [notice] = world.rows("SELECT title, body, rule_id FROM cmis.notifications")
    assert notice.rule_id == rule_id
    assert "was paused" in notice.title
    assert "5 times in a row, at last: the campaign has no budget to adjust" in notice.body
    assert world.one("SELECT count(*) FROM cmis.automation_audit_log WHERE action = 'rule_paused'") == 1


def test_one_success_lets_the_count_of_failures_begin_anew_and_a_rule_may_bear_fewer(world: World, org: Org) -> None:
    campaign_id = org.campaign(budget=None)
    bind(org, budget_floor=0)  # else nobody takes a budget away by hand
    rule_id = org.rule(SPENT, RAISE, guardrails={"max_failures_in_a_row": 2})
    org.evaluate(rule_id)
    _set_budget(world, org, campaign_id, 100)
    assert org.evaluate(rule_id)[0].status == "success"
    _set_budget(world, org, campaign_id, None)
    assert [org.evaluate(rule_id)[0].status for _ in range(3)] == ["failure", "failure", "skipped"]


def test_a_definition_that_cannot_be_read_trips_the_breaker_too(world: World, org: Org) -> None:
    org.campaign()
    rule_id = org.rule(SPENT, [{"type": "no_such_action"}])
    assert [org.evaluate(rule_id)[0].status for _ in range(6)] == ["failure"] * 5 + ["skipped"]
    assert "unknown action" in world.one("SELECT body FROM cmis.notifications")


@pytest.mark.parametrize("bounds", [{"of_rule": 2}, {"of_org": 2}, {"of_rule": 9, "of_org": 2}, {"of_org": 7}])
def test_errors_trip_the_breaker_as_often_as_the_guardrails_say(org: Org, bounds: dict[str, int]) -> None:
    org.campaign()
    own = {"max_failures_in_a_row": bounds["of_rule"]} if "of_rule" in bounds else {}
    if "of_org" in bounds:
        bind(org, max_failures_in_a_row=bounds["of_org"])
    rule_id = org.rule(SPENT, [{"type": "no_such_action"}], guardrails=own)
    most = min(bounds.values())
    assert [org.evaluate(rule_id)[0].status for _ in range(most + 1)] == ["failure"] * most + ["skipped"]


def test_every_change_of_a_rule_makes_a_version_raw_sql_too_and_counting_makes_none(world: World, org: Org) -> None:
    org.campaign()
    rule_id = org.rule(SPENT, NOTIFY, name="first")
    [before] = org.evaluate(rule_id)
    org.update_rule(rule_id, name="second", min_sample={"clicks": 1})
    [after] = org.evaluate(rule_id)
    versions = world.rows("SELECT version, definition, user_id FROM cmis.rule_versions ORDER BY version")
    assert [(row.version, row.definition["name"]) for row in versions] == [(1, "first"), (2, "second")]
    assert versions[1].definition["min_sample"] == {"clicks": 1}
    assert {row.user_id for row in versions} == {org.context.user_id}
    assert (before.rule_version, after.rule_version) == (1, 2)


def test_versions_can_neither_be_written_nor_changed_by_the_app(world: World, org: Org) -> None:
    org.rule()
    for statement in (
        "UPDATE cmis.rule_versions SET version = 7",
        "DELETE FROM cmis.rule_versions",
        (
            "INSERT INTO cmis.rule_versions (org_id, rule_id, version, definition, created_at) "
            "SELECT org_id, rule_id, 9, definition, created_at FROM cmis.rule_versions"
        ),
    ):
        with pytest.raises(Exception, match="permission denied"), world.app.transaction(org.context) as connection:
            connection.execute(text(statement))


def _set_budget(world: World, org: Org, campaign_id: UUID, budget: int | None) -> None:
    with world.app.transaction(org.context) as connection:
        connection.execute(
            text("UPDATE cmis.campaigns SET budget = :budget WHERE campaign_id = :id"),
            {"budget": budget, "id": campaign_id},
        )
