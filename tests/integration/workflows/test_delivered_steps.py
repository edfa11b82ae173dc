"""Actions as steps that are delivered outside: waited for, tried again, given up, told by whom they are sent."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from engine import redeliver
from engine.control_workflows import steps
from engine.deliver.beginning import Begun, begin
from engine.run_workflow.effects import Did, Waits
from tests.integration.deliver.test_service import lose
from tests.stepping import action

if TYPE_CHECKING:
    from uuid import UUID

    from tests.receiver.web import Receiver
    from tests.stepping import Flow

AFTER = action("after", "notify", {"message": "it is out"})


def post(url: str, **others: Any) -> dict[str, Any]:
    params = {"url": url, "signing_secret": "secret://signing", "payload": {"lead": "{{ context.lead }}"}}
    return action("post", "trigger_webhook", params, **({"next": "after"} | others))


def delivery_task(flow: Flow, instance: UUID) -> UUID:
    task_id: UUID = flow.effect(instance, "post").task_id
    return task_id


def test_a_webhook_is_sent_and_its_step_goes_on_when_it_has_arrived(flow: Flow, receiver: Receiver) -> None:
    campaign = flow.org.campaign({}, name="Spring", currency="EUR", platform="meta", external_id="2384")
    template = flow.publish(post(f"{receiver.url}/hook", campaign="{{ context.of }}"), AFTER, name="Leads")
    instance = flow.start(template, lead={"name": "Ana {{ rule.name }}", "n": 3}, of="Spring")
    flow.run()
    effect = flow.effect(instance, "post")
    assert (effect.status, effect.channel, effect.execution_id) == ("queued", "webhook", None)
    assert (flow.step(instance, "post").status, flow.step(instance, "post").waits_for) == ("waiting", "effect")

    flow.deliver()
    flow.run()

    [request] = receiver.requests("/hook")
    assert request.key == effect.idempotency_key == f"{instance}:post"
    assert json.loads(request.body) == {
        "type": "workflow.step",
        "data": {
            "org_id": str(flow.org.id),
            "workflow": {"id": str(template), "name": "Leads"},
            "instance_id": str(instance),
            "step_id": "post",
            "context": {"lead": {"name": "Ana {{ rule.name }}", "n": 3}, "of": "Spring"},
            "campaign": {
                "id": str(campaign),
                "name": "Spring",
                "status": "active",
                "budget": 100,
                "currency": "EUR",
                "objective": None,
                "platform": "meta",
                "external_id": "2384",
            },
            "payload": {"lead": {"name": "Ana {{ rule.name }}", "n": 3}},
        },
    }
    output = flow.step(instance, "post").output_data
    assert output == {
        "action_id": str(effect.action_id),
        "delivered": True,
        "attempts": 1,
        "response": {"attempt": 1, "status": 200, "said": "ok"},
    }
    assert flow.instance(instance).status == "completed"
    assert flow.told(effect.action_id) == ["action_taken"]


def test_a_delivery_fails_twice_and_succeeds_under_one_key(flow: Flow, receiver: Receiver) -> None:
    receiver.script("/hook", "fails/503", "fails/500")
    instance = flow.play(post(f"{receiver.url}/hook"), AFTER, lead=1)
    for _ in range(3):
        flow.desk.wait_until(delivery_task(flow, instance))
        flow.deliver()
    flow.run()
    assert len(receiver.requests("/hook")) == 3
    assert {request.key for request in receiver.requests("/hook")} == {f"{instance}:post"}
    assert flow.step(instance, "post").output_data["attempts"] == 3
    assert flow.instance(instance).status == "completed"


def test_the_steps_own_retry_policy_is_its_deliverys(flow: Flow, receiver: Receiver) -> None:
    retry = {"max_retries": 1, "base_seconds": 3600, "factor": 1, "cap_seconds": 3600}
    instance = flow.play(post(f"{receiver.url}/fails/503", retry=retry), AFTER, lead=1)
    task = flow.world.task(delivery_task(flow, instance))
    assert (task.max_attempts, task.payload["pace"]["base_seconds"]) == (2, 3600)

    flow.deliver()
    flow.desk.wait_until(task.task_id)
    flow.deliver()
    flow.run()

    failed = flow.step(instance, "post")
    assert (failed.status, failed.attempt, failed.error["code"]) == ("failed", 1, "DISCARDED")
    assert "given up after 2 attempts" in failed.error["message"]
    assert flow.instance(instance).status == "failed"


def test_what_a_receiver_refuses_fails_its_step_which_goes_on_by_its_failure(flow: Flow, receiver: Receiver) -> None:
    refused = post(f"{receiver.url}/fails/400", on_failure={"next": "after"}, next="other")
    instance = flow.play(refused, AFTER, action("other", "notify"), lead=1)
    flow.deliver()
    flow.run()
    assert flow.step(instance, "post").error["code"] == "FAILED"
    assert (flow.step(instance, "after").status, flow.step(instance, "other").status) == ("completed", "skipped")


@pytest.mark.parametrize("ending", [{"kind": "cancel", "reason": "not wanted"}, {"kind": "timeout"}])
def test_what_was_cancelled_before_its_call_is_not_sent(flow: Flow, receiver: Receiver, ending: dict[str, str]) -> None:
    instance = flow.play(post(f"{receiver.url}/hook"), AFTER, lead=1)
    flow.wake(instance, None, ending)
    flow.run()

    flow.deliver()

    effect = flow.effect(instance, "post")
    assert (effect.status, receiver.requests("/hook")) == ("discarded", [])
    assert flow.world.task(effect.task_id).state == "cancelled"
    assert "not wanted any more" in effect.error["message"]
    assert flow.told(effect.action_id) == ["action_discarded"]
    flow.run()
    again = redeliver.retry(flow.world.app, flow.org.context, effect.action_id)
    flow.deliver()
    assert (again.already, len(receiver.requests("/hook"))) == (False, 1)


def test_a_person_gives_a_delivery_up_and_its_step_fails(flow: Flow, receiver: Receiver) -> None:
    instance = flow.play(post(f"{receiver.url}/hook"), AFTER, lead=1)
    redeliver.discard(flow.world.app, flow.org.context, flow.effect(instance, "post").action_id)
    flow.run()
    assert flow.step(instance, "post").error["code"] == "DISCARDED"


def test_a_person_says_that_it_arrived_and_the_step_goes_on(flow: Flow, receiver: Receiver) -> None:
    said = action("post", "notify", {"channel": "slack", "url": f"{receiver.url}/drops"}, next="after")
    instance = flow.play(said, AFTER)
    flow.deliver()
    flow.run()
    assert (flow.effect(instance, "post").status, flow.step(instance, "post").status) == ("unknown", "waiting")

    redeliver.confirm(flow.world.app, flow.org.context, flow.effect(instance, "post").action_id)
    flow.run()

    assert flow.step(instance, "post").output_data["delivered"] is True
    assert flow.instance(instance).status == "completed"


def test_a_failed_delivery_is_sent_again_by_another_attempt_of_its_step(flow: Flow, receiver: Receiver) -> None:
    receiver.script("/hook", "fails/400")
    step = post(f"{receiver.url}/hook", on_failure="pause")
    instance = flow.play(step, AFTER, lead=1)
    flow.deliver()
    flow.run()
    assert flow.instance(instance).status == "paused"

    waits = flow.act(instance, "post", kind="trigger_webhook", params=step["config"]["params"])
    assert waits == Waits(flow.effect(instance, "post").action_id)
    flow.deliver()

    assert isinstance(flow.act(instance, "post", kind="trigger_webhook", params={}), Did)
    assert {request.key for request in receiver.requests("/hook")} == {f"{instance}:post"}
    assert flow.told(waits.action_id) == ["action_failed", "action_retried", "action_taken"]


def test_a_step_that_a_person_retries_sends_its_delivery_again(flow: Flow, receiver: Receiver) -> None:
    receiver.script("/hook", "fails/400")
    instance = flow.play(post(f"{receiver.url}/hook", on_failure="pause"), AFTER, lead=1)
    flow.deliver()
    flow.run()

    steps.retry(flow.hand, instance, "post", note="mended")
    flow.run()
    flow.deliver()
    flow.run()

    assert flow.instance(instance).status == "completed"
    assert {request.key for request in receiver.requests("/hook")} == {f"{instance}:post"}
    assert flow.told(flow.effect(instance, "post").action_id) == ["action_failed", "action_retried", "action_taken"]
    [dealt_with] = flow.world.rows("SELECT handled_as FROM cmis.tasks WHERE kind = 'deliver' AND state = 'failed'")
    assert dealt_with.handled_as == "retried"


def test_a_step_that_a_person_skips_sends_nothing(flow: Flow, receiver: Receiver) -> None:
    instance = flow.play(post(f"{receiver.url}/hook"), AFTER, lead=1)
    steps.skip(flow.hand, instance, "post", reason="said by telephone")
    flow.deliver()
    flow.run()
    assert (flow.effect(instance, "post").status, receiver.requests("/hook")) == ("discarded", [])
    assert flow.instance(instance).status == "completed"


def test_a_delivery_of_unknown_fate_keeps_its_step_waiting(flow: Flow, receiver: Receiver) -> None:
    instance = flow.play(post(f"{receiver.url}/hook", retry={"max_retries": 0}), AFTER, lead=1)
    die(flow, instance)

    flow.run()

    assert (flow.effect(instance, "post").status, flow.step(instance, "post").status) == ("unknown", "waiting")
    redeliver.discard(flow.world.app, flow.org.context, flow.effect(instance, "post").action_id)
    flow.run()
    assert flow.step(instance, "post").error["code"] == "DISCARDED"


def test_a_delivery_that_is_given_up_with_its_task_fails_its_step(flow: Flow, receiver: Receiver) -> None:
    instance = flow.play(post(f"{receiver.url}/hook", retry={"max_retries": 0}), AFTER, lead=1)
    die(flow, instance, begun="queued")

    flow.run()

    assert flow.effect(instance, "post").status == "discarded"
    assert flow.step(instance, "post").error["code"] == "DISCARDED"
    assert receiver.requests("/hook") == []


def die(flow: Flow, instance: UUID, begun: str = "running") -> None:
    """Let the worker die that has begun the delivery, with its last attempt."""
    task_id = delivery_task(flow, instance)
    assert isinstance(begin(flow.world.app, flow.org.id, task_id, "worker", flow.desk.post), Begun)
    flow.world.meddle(
        "UPDATE cmis.automation_actions SET status = %(status)s WHERE task_id = %(id)s", status=begun, id=task_id
    )
    lose(flow.world, task_id)
    assert flow.world.task(task_id).state == "dead"
