"""What is done again, what is only hastened, and what is refused because something else is to be done."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from core.db import Context
from core.ids import uuid7
from engine import emit
from engine.control_tasks.discard import discard
from engine.control_tasks.frame import deal
from engine.control_tasks.retry import retry
from tests.unit.workflows.documents import noop
from tests.world import NOTIFY

if TYPE_CHECKING:
    from tests.integration.control_tasks.conftest import Operator
    from tests.posting import Desk
    from tests.receiver.web import Receiver
    from tests.stepping import Flow
    from tests.world import Org, World


def test_a_dead_evaluation_is_made_anew_and_its_planned_time_stays_lost(
    world: World, org: Org, operator: Operator
) -> None:
    org.campaign()
    job = org.hourly(org.rule(), hours_due=1)
    world.dispatch()
    task_id = world.one("SELECT task_id FROM cmis.tasks")
    world.meddle("UPDATE cmis.tasks SET priority = 7")
    operator.die_of(task_id)

    done = operator.do(retry, task_id, "mended")

    assert (done.outcome, operator.outcomes()) == ("retried", [("lost", None)])
    assert done.retried_as is not None
    again = world.task(done.retried_as)
    assert (again.retry_of, again.priority) == (task_id, 7)
    world.run_all()
    lost, again = world.rows("SELECT * FROM cmis.automation_executions ORDER BY execution_id")
    assert (lost.status, lost.job_id, again.status, again.job_id) == ("failure", job, "success", None)
    assert (again.trigger, again.context["retry_of"]) == ("manual", str(task_id))
    assert again.context["requested_by"] == str(org.context.user_id)
    row = world.task(task_id)
    assert (row.handled_as, row.handled_by, row.handled_note) == ("retried", org.context.user_id, "mended")
    assert operator.told(task_id) == ["task_died", "task_retried"]


def test_nothing_is_done_again_twice(world: World, org: Org, operator: Operator) -> None:
    task_id = world.enqueue({org.id: [org.rule()]})
    operator.die_of(task_id)

    first, second = operator.do(retry, task_id), operator.do(retry, task_id)
    given_up = operator.do(discard, task_id, "too late")

    assert (second.outcome, second.retried_as) == ("unchanged", first.retried_as)
    assert (given_up.outcome, given_up.reason) == ("unchanged", "it was retried already")
    assert world.one("SELECT count(*) FROM cmis.tasks") == 2


def test_a_dry_run_says_what_would_be_and_does_nothing(world: World, org: Org, operator: Operator) -> None:
    task_id = world.enqueue({org.id: [org.rule()]})
    operator.die_of(task_id)

    assert operator.do(retry, task_id, dry_run=True).outcome == "retried"

    assert (world.task(task_id).handled_at, world.one("SELECT count(*) FROM cmis.tasks")) == (None, 1)


def test_a_dead_optimisation_is_made_anew(world: World, org: Org, operator: Operator) -> None:
    org.campaign()
    org.rule()
    org.job(None, target_type="optimization")
    world.dispatch()
    task_id = world.one("SELECT task_id FROM cmis.tasks")
    operator.die_of(task_id)

    assert operator.do(retry, task_id).outcome == "retried"

    world.run_all()
    assert [row.trigger for row in world.rows("SELECT trigger FROM cmis.optimizations ORDER BY optimization_id")][
        -1:
    ] == ["manual"]


def test_an_evaluation_of_an_event_is_made_anew_with_the_event(world: World, org: Org, operator: Operator) -> None:
    high = [{"field": "lead.score", "operator": ">=", "value": 50}]
    rule = org.rule(high, NOTIFY, trigger_type="event", event_type="lead.created", entity_type="event")
    emit.emit(world.app, org.context, emit.read("lead.created", {"lead": {"score": 80}}, idempotency_key="k"))
    task_id = world.one("SELECT task_id FROM cmis.tasks")
    operator.die_of(task_id)

    assert operator.do(retry, task_id).outcome == "retried"

    world.run_all()
    lost, again = world.rows("SELECT * FROM cmis.automation_executions ORDER BY execution_id")
    assert (lost.trigger, lost.status, again.trigger, again.status) == ("event", "failure", "manual", "success")
    assert {lost.rule_id, again.rule_id} == {rule}


def test_a_failed_delivery_is_sent_again_under_its_key(
    world: World, desk: Desk, receiver: Receiver, operator: Operator
) -> None:
    receiver.script("/hook", "fails/400")
    task_id = desk.webhook(f"{receiver.url}/hook")
    desk.run(task_id)
    assert world.task(task_id).state == "failed"

    done = operator.do(retry, task_id)

    assert done.outcome == "retried"
    assert done.retried_as is not None
    desk.run(done.retried_as)
    assert len({request.key for request in receiver.requests("/hook")}) == 1
    assert world.one("SELECT status FROM cmis.automation_actions") == "succeeded"
    assert operator.do(retry, done.retried_as).outcome == "refused"  # it is done


def test_a_delivery_that_nobody_knows_of_is_sent_again(
    world: World, desk: Desk, receiver: Receiver, operator: Operator
) -> None:
    task_id = desk.webhook(f"{receiver.url}/hook")
    world.meddle("UPDATE cmis.automation_actions SET status = 'running', attempts = 1")
    operator.die_of(task_id)
    assert desk.effect(task_id).status == "unknown"

    done = operator.do(retry, task_id)

    assert done.retried_as is not None
    desk.run(done.retried_as)
    assert world.task(task_id).handled_as == "retried"
    assert desk.effect(done.retried_as).status == "succeeded"


def test_what_waits_for_its_next_attempt_has_it_at_once(
    world: World, desk: Desk, receiver: Receiver, operator: Operator
) -> None:
    receiver.script("/hook", "fails/503")
    task_id = desk.webhook(f"{receiver.url}/hook")
    desk.run(task_id)
    waiting = world.enqueue({desk.org.id: [desk.org.rule()]}, attempt=1)
    later = world.now() + timedelta(hours=1)
    world.meddle("UPDATE cmis.tasks SET run_at = %(at)s, publish_at = %(at)s WHERE state = 'ready'", at=later)

    assert [operator.do(retry, one).outcome for one in (task_id, waiting)] == ["hastened", "hastened"]

    assert all(world.task(one).run_at <= world.now() for one in (task_id, waiting))
    assert operator.do(retry, waiting).outcome == "unchanged"


def test_what_waits_for_its_own_time_is_left_to_wait(world: World, org: Org, operator: Operator) -> None:
    task_id = world.enqueue({org.id: [org.rule()]})
    later = world.now() + timedelta(hours=1)
    world.meddle("UPDATE cmis.tasks SET run_at = %(at)s, publish_at = %(at)s", at=later)

    refused = operator.do(retry, task_id)

    assert (refused.outcome, "was not tried yet" in (refused.reason or "")) == ("refused", True)


def test_actions_after_a_delay_and_steps_are_refused_with_what_to_do_instead(
    world: World, org: Org, flow: Flow, operator: Operator
) -> None:
    org.campaign()
    rule = org.rule(actions=[*NOTIFY, {"type": "tag_entity", "value": "hot"}], delay_between_actions_seconds=60)
    org.evaluate(rule)
    world.advance(seconds=61)
    following = world.one("SELECT task_id FROM cmis.tasks WHERE kind = 'apply_actions'")
    operator.die_of(following)
    instance = flow.start(flow.publish(noop("a")))
    started = world.one("SELECT task_id FROM cmis.tasks WHERE kind = 'run_workflow'")
    operator.die_of(started)

    actions, steps = operator.do(retry, following), operator.do(retry, started)

    assert (actions.outcome, steps.outcome) == ("refused", "refused")
    assert f"cmis rules run {rule}" in (actions.reason or "")
    assert f"cmis workflows retry {instance}" in (steps.reason or "")
    assert operator.do(discard, following, "seen to").outcome == "discarded"


def test_a_job_whose_workflow_never_started_is_run_by_hand(
    world: World, org: Org, flow: Flow, operator: Operator
) -> None:
    job = org.job(None, target_type="workflow", template_id=flow.publish(noop("a")))
    world.dispatch()
    task_id = world.one("SELECT task_id FROM cmis.tasks")
    operator.die_of(task_id)

    refused = operator.do(retry, task_id)

    assert f"cmis jobs run {job}" in (refused.reason or "")


def test_a_task_in_a_workers_hands_is_refused_without_waiting_for_it(
    world: World, org: Org, operator: Operator
) -> None:
    task_id = world.enqueue({org.id: [org.rule()]})
    with world.app.transaction(org.context) as connection:
        connection.exec_driver_sql("SELECT FROM cmis.tasks FOR NO KEY UPDATE")
        refused = operator.do(retry, task_id)
    assert "in somebody's hands" in (refused.reason or "")


def test_another_orgs_task_is_not_there_and_a_viewer_decides_nothing(
    world: World, org: Org, operator: Operator
) -> None:
    task_id = world.enqueue({org.id: [org.rule()]})
    operator.die_of(task_id)
    other = world.org("other")

    [unseen] = deal(world.app, other.context, retry, [task_id], note=None)
    [unknown] = deal(world.app, org.context, retry, [uuid7(world.now())], note=None)

    assert [one.outcome for one in (unseen, unknown)] == ["refused", "refused"]
    assert "there is no task" in (unseen.reason or "")
    world.meddle("UPDATE cmis.user_orgs SET role = 'viewer' WHERE org_id = %(id)s", id=org.id)
    with pytest.raises(Exception, match="is no operator"):
        list(deal(world.app, Context(org.id, org.context.user_id), retry, [task_id], note=None))
