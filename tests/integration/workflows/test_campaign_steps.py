"""Actions as steps that change campaigns: applied, bounded, held, approved, undone; each step has one effect."""

from __future__ import annotations

import uuid
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from core import clock
from core.errors import ConflictError
from core.ids import uuid7
from engine import approve, notifications, undo
from engine.control_workflows import steps
from engine.store import executions
from tests.connecting import connect, pushes
from tests.integration.engine.guarding import bind, named, refusal
from tests.stepping import action

if TYPE_CHECKING:
    from tests.stepping import Flow

PAUSE = action("pause", "pause_campaign", campaign="{{ context.campaign }}")
HALVE = action("halve", "decrease_budget", {"value": 50}, campaign="{{ context.campaign }}", next="tell")
TELL = action("tell", "notify", {"message": "It is now {{ steps.halve.output.after.budget }}"})


def test_a_step_changes_the_campaign_that_it_names_and_puts_out_what_it_did(flow: Flow) -> None:
    campaign = flow.org.campaign({}, name="Spring")

    instance = flow.play(PAUSE, campaign=str(campaign))

    effect = flow.effect(instance)
    assert flow.org.campaign_row(campaign).status == "paused"
    assert (effect.status, effect.step_id, effect.position, effect.execution_id) == ("succeeded", "pause", 0, None)
    assert effect.idempotency_key == f"{instance}:pause"
    assert flow.step(instance, "pause").output_data == {
        "action_id": str(effect.action_id),
        "changed": True,
        "before": {"status": "active"},
        "after": {"status": "paused"},
    }
    query = "SELECT action, user_id, details FROM cmis.automation_audit_log WHERE action_id = :id"
    [said] = flow.world.rows(query, id=effect.action_id)
    assert (said.action, said.user_id) == ("action_taken", flow.org.context.user_id)
    assert said.details == {"type": "pause_campaign", "instance_id": str(instance), "step_id": "pause"}


@pytest.mark.parametrize("reference", ["Spring", "2384"])
def test_a_campaign_is_named_by_its_name_or_its_id_elsewhere(flow: Flow, reference: str) -> None:
    campaign = flow.org.campaign({}, name="Spring", external_id="2384")
    flow.play(PAUSE, campaign=reference)
    assert flow.org.campaign_row(campaign).status == "paused"


def test_where_there_is_nothing_to_change_the_step_is_done_without_an_effect(flow: Flow) -> None:
    campaign = flow.org.campaign({}, status="paused")
    instance = flow.play(PAUSE, campaign=str(campaign))
    assert flow.step(instance, "pause").output_data == {"changed": False}
    assert flow.effects(instance) == []


@pytest.mark.parametrize(
    ("step", "status", "said"),
    [
        (PAUSE, "completed", "cannot become paused"),
        (PAUSE, "archived", "is archived"),
        (action("pause", "pause_campaign"), "active", "is missing"),
        (action("pause", "pause_campaign", campaign="nobody"), "active", "there is no campaign"),
        (action("pause", "dance", campaign="{{ context.campaign }}"), "active", "is not known here"),
        (action("pause", "set_field", {"field": "name"}, campaign="{{ context.campaign }}"), "active", "value"),
    ],
)
def test_what_cannot_be_done_fails_the_step_at_once(
    flow: Flow, step: dict[str, object], status: str, said: str
) -> None:
    campaign = flow.org.campaign({}, status=status)
    instance = flow.play(step, campaign=str(campaign))
    failed = flow.step(instance, "pause")
    assert (failed.status, failed.attempt, flow.instance(instance).status) == ("failed", 1, "failed")
    assert said in failed.error["message"]
    assert flow.effects(instance) == []


def test_a_guardrail_holds_a_step_until_a_person_approves_and_it_goes_on(flow: Flow) -> None:
    campaign = flow.org.campaign({}, budget=12)
    instance = flow.play(HALVE, TELL, campaign=str(campaign))
    effect = flow.effect(instance)
    waiting = flow.step(instance, "halve")
    assert (effect.status, effect.error["guardrail"]) == ("held", "budget_floor")
    assert (waiting.status, waiting.waits_for, waiting.action_id) == ("waiting", "effect", effect.action_id)

    decided = approve.approve(flow.world.app, flow.org.context, effect.action_id, note="agreed")

    assert (decided.instance_id, decided.execution_id, decided.already) == (instance, None, False)
    assert approve.approve(flow.world.app, flow.org.context, effect.action_id).already
    flow.run()
    assert flow.org.campaign_row(campaign).budget == 6
    assert flow.instance(instance).status == "completed"
    assert flow.world.one("SELECT body FROM cmis.notifications WHERE title <> ''") == "It is now 6"
    assert sorted(flow.told(effect.action_id)) == ["action_approved", "action_taken"]


def test_what_is_turned_down_fails_its_step(flow: Flow) -> None:
    campaign = flow.org.campaign({}, budget=12)
    instance = flow.play(HALVE, TELL, campaign=str(campaign))

    approve.reject(flow.world.app, flow.org.context, flow.effect(instance).action_id, note="too little")
    flow.run()

    assert flow.step(instance, "halve").error["code"] == "REJECTED"
    assert "too little" in flow.step(instance, "halve").error["message"]
    assert flow.instance(instance).status == "failed"
    assert flow.org.campaign_row(campaign).budget == 12


def test_nobody_approves_for_a_step_that_is_cancelled(flow: Flow) -> None:
    campaign = flow.org.campaign({}, budget=12)
    instance = flow.play(HALVE, TELL, campaign=str(campaign))
    flow.wake(instance, None, {"kind": "cancel", "reason": "not wanted"})
    flow.run()
    assert flow.step(instance, "halve").status == "cancelled"

    effect = flow.effect(instance)
    with pytest.raises(ConflictError, match="is discarded, not held"):
        approve.approve(flow.world.app, flow.org.context, effect.action_id)

    flow.run()
    assert (effect.status, effect.error["message"]) == ("discarded", "its step is not wanted any more")
    assert flow.told(effect.action_id) == ["action_discarded"]
    assert flow.org.campaign_row(campaign).budget == 12


def test_what_is_held_for_a_step_that_a_person_skips_is_discarded(flow: Flow) -> None:
    campaign = flow.org.campaign({}, budget=12)
    instance = flow.play(HALVE, action("tell", "notify"), campaign=str(campaign))
    steps.skip(flow.hand, instance, "halve", reason="done by hand")
    flow.run()
    assert (flow.effect(instance, "halve").status, flow.instance(instance).status) == ("discarded", "completed")
    assert flow.org.campaign_row(campaign).budget == 12


def test_campaigns_that_an_instance_changes_are_counted_over_its_steps(flow: Flow) -> None:
    bind(flow.org, max_entities_per_run=2)
    ids = [flow.org.campaign({}, name=name) for name in ("a", "b", "c")]
    steps = [action(name, "pause_campaign", campaign=name, next=after) for name, after in (("a", "b"), ("b", "a2"))]
    again = action("a2", "decrease_budget", {"value": 10}, campaign="a", next="c")

    instance = flow.play(*steps, again, action("c", "pause_campaign", campaign="c"))

    held = flow.effect(instance, "c")
    assert [flow.org.campaign_row(one).status for one in ids] == ["paused", "paused", "active"]
    assert (held.step_id, held.status, held.error["guardrail"]) == ("c", "held", "max_entities_per_run")
    other = flow.play(action("c", "pause_campaign", campaign="c"))
    assert flow.instance(other).status == "completed"


def test_the_day_of_the_org_bounds_steps_and_never_touch_holds_them(flow: Flow) -> None:
    mine, kept = flow.org.campaign({}, name="mine"), flow.org.campaign({}, name="kept")
    bind(flow.org, max_daily_net_change=30, never_touch=[kept])
    less = action("less", "decrease_budget", {"value": 20}, campaign="mine", next="more")
    more = action(
        "more",
        "adjust_budget",
        {"percent": 20},
        campaign="mine",
        next="least",
    )
    least = action("least", "adjust_budget", {"set": 40}, campaign="mine")

    instance = flow.play(less, more, least)
    untouched = flow.play(action("pause", "pause_campaign", campaign="kept"))

    assert [flow.effect(instance, step).status for step in ("less", "more", "least")] == ["succeeded"] * 2 + ["held"]
    assert flow.effect(instance, "least").error["guardrail"] == "max_daily_net_change"
    assert flow.effect(untouched).error["guardrail"] == "never_touch"
    assert flow.org.campaign_row(mine).budget == 96
    assert flow.org.campaign_row(kept).status == "active"


def change(flow: Flow, instance: uuid.UUID, campaign: uuid.UUID, after: dict[str, object], change: str) -> str | None:
    """Change a campaign by SQL of one's own, in the name of a step's effect; returns the guardrail that refused it."""
    try:
        with flow.world.app.transaction(flow.org.context) as connection:
            now = clock.now(connection)
            action_id = uuid7(now)
            ids = {"action_id": action_id, "entity_id": campaign, "instance_id": instance, "step_id": str(campaign)}
            what = {"position": 0, "type": "adjust_budget", "params": {}, "before": {}, "after": after}
            row = ids | what | {"idempotency_key": str(action_id), "status": "succeeded", "audit_id": uuid7(now)}
            executions.insert_actions(connection, flow.org.id, uuid7(now), [row], now=now)
            connection.execute(text(named(flow.org, campaign, action_id, change)))
    except DBAPIError as error:
        return refusal(error)
    return None


def test_the_database_itself_bounds_what_is_changed_in_a_steps_name(flow: Flow) -> None:
    bind(flow.org, max_entities_per_run=2, max_change_pct=30)
    a, b, c = (flow.org.campaign({}, name=name) for name in "abc")
    first = action("a", "pause_campaign", campaign=str(a), next="b")
    instance = flow.play(first, action("b", "pause_campaign", campaign=str(b)))
    assert flow.instance(instance).status == "completed"

    assert change(flow, instance, c, {"status": "paused"}, "status = 'paused'") == "max_entities_per_run"
    assert change(flow, uuid7(flow.world.now()), c, {"budget": 60}, "budget = 60") == "max_change_pct"
    assert change(flow, uuid7(flow.world.now()), c, {"budget": 80}, "budget = 75") == "last_action_id"
    assert flow.org.campaign_row(c).budget == 100


def test_a_connector_is_told_of_a_steps_change_and_the_step_does_not_wait(flow: Flow) -> None:
    campaign = flow.org.campaign({})
    connect(flow.org, url="https://bridge.example.com/changes")

    instance = flow.play(PAUSE, campaign=str(campaign))

    [push] = pushes(flow.world)
    assert flow.instance(instance).status == "completed"
    assert (push.instance_id, push.step_id, push.entity_id) == (instance, "pause", campaign)
    assert push.after["change"] == {"status": {"before": "active", "after": "paused"}}


def test_a_steps_change_is_taken_back_as_a_rules_is(flow: Flow) -> None:
    campaign = flow.org.campaign({})
    effect = flow.effect(flow.play(PAUSE, campaign=str(campaign)))

    [undone] = undo.undo(flow.world.app, flow.org.context, [effect.action_id])

    assert undone.outcome == "undone"
    assert flow.org.campaign_row(campaign).status == "active"
    assert flow.told(effect.action_id) == ["action_taken", "action_undone"]


def test_a_step_that_is_tried_again_finds_its_effect(flow: Flow) -> None:
    campaign = flow.org.campaign({})
    instance = flow.play(action("more", "increase_budget", {"value": 10}, campaign=str(campaign)))
    effect = flow.effect(instance)

    did = flow.act(instance, "more", kind="increase_budget", params={"value": 10}, campaign=str(campaign))

    assert did.output == flow.step(instance, "more").output_data
    assert [one.action_id for one in flow.effects(instance)] == [effect.action_id]
    assert flow.org.campaign_row(campaign).budget == 110


def test_a_text_that_a_reference_brings_is_no_reference_itself(flow: Flow) -> None:
    name = r"{{ campaign.name }} \{{ x }} {{ {{"
    title = "{{ context.lead }}"
    instance = flow.play(action("tell", "notify", {"title": title, "message": "From {{ context.lead }}"}), lead=name)
    said = flow.effect(instance).after["notification"]
    assert (said["title"], said["body"]) == (name, f"From {name}")


def test_a_context_names_no_secret(flow: Flow) -> None:
    hook = {"url": "https://hooks.example.com/1", "headers": {"X-Lead": "{{ context.lead }}"}}
    instance = flow.play(action("post", "trigger_webhook", hook), lead="secret://signing")
    assert "names a secret" in flow.step(instance, "post").error["message"]
    assert flow.effects(instance) == []


def test_a_notification_without_words_tells_of_workflow_and_step(flow: Flow) -> None:
    template = flow.publish(action("tell", "notify"), name="Leads")
    instance = flow.start(template, lead=str(uuid.UUID(int=1)))
    flow.run()
    effect = flow.effect(instance)
    assert (effect.entity_type, effect.entity_id) == ("instance", instance)
    assert effect.after["notification"]["body"] == "Workflow “Leads” has come to its step “tell”."


def test_what_steps_tell_is_listed_one_by_one(flow: Flow) -> None:
    for said in ("first", "second"):
        flow.play(action("tell", "notify", {"message": said}))
    yesterday = flow.world.now() - timedelta(days=1)
    with flow.world.app.transaction(flow.org.context) as connection:
        listed = notifications.digest(connection, flow.org.context, since=yesterday, unread=True, limit=9)
    assert {one.body for one in listed} == {"first", "second"}
