"""`start_workflow`: rules, events and steps that start workflows; each effect starts one instance, or none."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from engine import emit
from engine.dry_run import try_rule
from tests.stepping import action
from tests.world import SPENT

if TYPE_CHECKING:
    from tests.stepping import Flow

TELL = action("tell", "notify", {"message": "{{ context.why }}: {{ context.campaign.name }}"})


def starts(template: str, **params: Any) -> list[dict[str, Any]]:
    return [{"type": "start_workflow", "params": {"template": template, **params}}]


def instances(flow: Flow) -> Any:
    return flow.world.rows("SELECT * FROM cmis.workflow_instances ORDER BY instance_id")


def test_a_rule_starts_an_instance_for_each_campaign_that_it_matches(flow: Flow) -> None:
    flow.publish(TELL, name="Look")
    campaigns = {str(flow.org.campaign(name=name)): name for name in ("a", "b")}
    rule = flow.org.rule(SPENT, starts("Look", context={"why": "{{ rule.name }}"}), name="Dear")

    [execution] = flow.org.evaluate(rule)
    flow.run()

    assert execution.status == "success"
    made = instances(flow)
    assert {one.context_data["campaign"]["id"]: one.context_data["campaign"]["name"] for one in made} == campaigns
    effects = flow.world.rows("SELECT * FROM cmis.automation_actions WHERE type = 'start_workflow'")
    assert {effect.action_id for effect in effects} == {one.action_id for one in made}
    assert all(one.instance_id == one.action_id for one in made)
    for one in made:
        assert (one.trigger_type, one.status) == ("api", "completed")
        assert one.context_data["rule"] == {"id": str(rule), "name": "Dear"}
        assert one.context_data["campaign"]["budget"] == 100
    bodies = {body for (body,) in flow.world.rows("SELECT body FROM cmis.notifications")}
    assert bodies == {"Dear: a", "Dear: b"}


@pytest.mark.parametrize(
    ("template", "params", "said"),
    [
        ("Nothing", {}, "there is no workflow 'Nothing'"),
        ("Look", {"version": 7}, "has no version 7"),
        ("Draft", {}, "is draft, not active"),
    ],
)
def test_what_cannot_be_started_is_a_failed_effect_and_the_rest_of_the_rule_is_done(
    flow: Flow, template: str, params: dict[str, Any], said: str
) -> None:
    flow.publish(TELL, name="Look")
    flow.publish(TELL, name="Draft", status="draft")
    campaign = flow.org.campaign()
    rule = flow.org.rule(SPENT, [*starts(template, **params), {"type": "pause_campaign"}], stop_on_error=False)

    [execution] = flow.org.evaluate(rule)

    query = "SELECT error FROM cmis.automation_actions WHERE type = 'start_workflow' AND status = 'failed'"
    assert said in flow.world.one(query)["message"]
    assert (execution.status, flow.org.campaign_row(campaign).status) == ("partial", "paused")
    assert instances(flow) == []


def test_an_event_starts_one_instance_which_knows_it(flow: Flow) -> None:
    flow.publish(action("tell", "notify", {"message": "{{ context.event.payload.name }}"}), name="Lead")
    flow.org.rule(
        [{"field": "score", "operator": ">", "value": 5}],
        starts("Lead", context={"source": "{{ event.payload.source }}"}),
        entity_type="event",
        trigger_type="event",
        event_type="lead.created",
    )
    event = emit.read("lead.created", {"score": 9, "name": "Ana", "source": "web"}, idempotency_key="1")

    first = emit.emit(flow.world.app, flow.org.context, event)
    emit.emit(flow.world.app, flow.org.context, event)
    flow.evaluate()
    flow.run()

    [made] = instances(flow)
    assert (made.trigger_type, made.event_id, made.status) == ("event", first.event_id, "completed")
    assert made.context_data["event"] == {"type": "lead.created", "payload": event.payload}
    assert made.context_data["source"] == "web"
    assert flow.world.one("SELECT body FROM cmis.notifications") == "Ana"


def test_a_step_starts_another_workflow_and_knows_which_instance_it_is(flow: Flow) -> None:
    flow.publish(action("tell", "notify", {"message": "{{ context.who }}"}), name="Other")
    go = action("go", "start_workflow", {"template": "Other", "context": {"who": "{{ context.who }}"}})

    instance = flow.play(go, who="{{ rule.name }}")

    [other] = [one for one in instances(flow) if one.instance_id != instance]
    assert flow.step(instance, "go").output_data["instance_id"] == str(other.instance_id)
    assert other.context_data["who"] == "{{ rule.name }}"
    assert other.context_data["workflow"]["instance_id"] == str(instance)
    assert other.status == "completed"


def test_a_workflow_that_starts_itself_ends_somewhere(flow: Flow) -> None:
    template = flow.publish(action("go", "start_workflow", {"template": "Round"}), name="Round")
    flow.start(template)
    flow.run()
    made = instances(flow)
    assert [one.status for one in made] == ["completed"] * 7 + ["failed"]
    assert "8 times" in made[-1].error["message"]


def test_workflows_that_start_each_other_in_two_ways_end_somewhere(flow: Flow) -> None:
    calling = {"id": "call", "type": "subworkflow", "config": {"template": "One", "wait": False}}
    flow.publish(calling, name="Two")
    flow.start(flow.publish(action("start", "start_workflow", {"template": "Two"}), name="One"))
    for _ in range(4):
        flow.run()
        flow.world.advance(minutes=20)
    states = [
        status for (status,) in flow.world.rows("SELECT status FROM cmis.workflow_instances ORDER BY instance_id")
    ]
    assert states == ["completed"] * 7 + ["failed"]


def test_a_dry_run_starts_nothing(flow: Flow) -> None:
    flow.publish(TELL, name="Look")
    flow.org.campaign()
    rule = flow.org.rule(SPENT, starts("Look", context={"why": "x"}))
    tried = try_rule(flow.world.app, flow.org.context, rule)
    assert [one.status for one in tried.actions] == ["succeeded"]
    assert instances(flow) == []
    assert flow.world.one("SELECT count(*) FROM cmis.tasks") == 0
