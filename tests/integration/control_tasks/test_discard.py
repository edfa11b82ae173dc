"""What is given up is closed with all that hangs on it; what belongs to a run of a workflow is refused."""

from __future__ import annotations

from typing import TYPE_CHECKING

from core.db import RESERVED_ORG
from engine import redeliver
from engine.control_tasks.discard import discard
from engine.control_tasks.frame import deal
from engine.run_rules import work
from tests.unit.workflows.documents import noop

if TYPE_CHECKING:
    from tests.integration.control_tasks.conftest import Operator
    from tests.posting import Desk
    from tests.receiver.web import Receiver
    from tests.stepping import Flow
    from tests.world import Org, World

HOT = {"type": "tag_entity", "value": "hot"}
RAISE = {"type": "increase_budget", "value": 10}


def test_a_waiting_evaluation_is_cancelled_with_its_planned_time(world: World, org: Org, operator: Operator) -> None:
    org.campaign()
    org.hourly(org.rule(), hours_due=1)
    world.dispatch()
    task_id = world.one("SELECT task_id FROM cmis.tasks")

    done = operator.do(discard, task_id, "not today")

    assert done.outcome == "cancelled"
    assert operator.outcomes() == [("cancelled", "given up: not today")]
    row = world.task(task_id)
    assert (row.state, row.error) == ("cancelled", {"code": "DISCARDED", "message": "given up: not today"})
    assert isinstance(world.run(org.id, task_id), work.NotClaimed)
    assert world.rows("SELECT FROM cmis.automation_executions") == []
    assert operator.told(task_id) == ["task_discarded"]
    assert operator.do(discard, task_id, "again").outcome == "refused"


def test_actions_that_wait_are_discarded_and_their_execution_ends(world: World, org: Org, operator: Operator) -> None:
    org.campaign(budget=100)
    org.evaluate(org.rule(actions=[HOT, RAISE, HOT | {"value": "later"}], delay_between_actions_seconds=60))
    first, second = world.rows("SELECT task_id, state FROM cmis.tasks WHERE kind = 'apply_actions' ORDER BY run_at")
    assert (first.state, second.state) == ("ready", "held")

    assert operator.do(discard, first.task_id, "no").outcome == "cancelled"

    assert world.task(second.task_id).state == "ready"
    assert operator.do(discard, second.task_id, "no").outcome == "cancelled"
    [execution] = world.rows("SELECT status, results FROM cmis.automation_executions")
    assert (execution.status, execution.results) == ("partial", {"succeeded": 1, "discarded": 2})


def test_a_delivery_that_waits_is_given_up(world: World, desk: Desk, receiver: Receiver, operator: Operator) -> None:
    task_id = desk.slack(f"{receiver.url}/hook", "one", "two")

    assert operator.do(discard, task_id, "no").outcome == "cancelled"

    assert [effect.status for effect in desk.effects(task_id)] == ["discarded", "discarded"]
    assert (world.task(task_id).state, receiver.requests("/hook")) == ("cancelled", [])


def test_a_dead_delivery_is_given_up_with_what_nobody_knows_of_it(
    world: World, desk: Desk, receiver: Receiver, operator: Operator
) -> None:
    task_id = desk.webhook(f"{receiver.url}/hook")
    world.meddle("UPDATE cmis.automation_actions SET status = 'running', attempts = 1")
    operator.die_of(task_id)

    assert operator.do(discard, task_id, "no").outcome == "discarded"

    assert (desk.effect(task_id).status, world.task(task_id).handled_as) == ("discarded", "discarded")


def test_what_people_say_of_a_delivery_deals_with_its_dead_letter(
    world: World, desk: Desk, receiver: Receiver, operator: Operator
) -> None:
    arrived, again = (desk.webhook(f"{receiver.url}/hook") for _ in range(2))
    world.meddle("UPDATE cmis.automation_actions SET status = 'running', attempts = 1")
    for task_id in (arrived, again):
        operator.die_of(task_id)

    redeliver.confirm(world.app, desk.org.context, desk.effect(arrived).action_id)
    redeliver.retry(world.app, desk.org.context, desk.effect(again).action_id)

    assert [world.task(one).handled_as for one in (arrived, again)] == ["resolved", "retried"]


def test_a_task_at_work_is_asked_to_stop_and_its_planned_time_is_cancelled(
    world: World, org: Org, operator: Operator
) -> None:
    org.hourly(org.rule(), hours_due=1)
    world.dispatch()
    task_id = world.one("SELECT task_id FROM cmis.tasks")
    operator.claim(task_id)

    first, second = operator.do(discard, task_id, "no"), operator.do(discard, task_id, "no")

    assert (first.outcome, second.outcome) == ("asked_to_stop", "unchanged")
    operator.lose()
    assert (world.task(task_id).state, operator.outcomes()) == ("cancelled", [("cancelled", None)])


def test_tasks_of_a_run_are_refused_and_runs_that_have_not_begun_are_cancelled(
    world: World, org: Org, flow: Flow, operator: Operator
) -> None:
    template = flow.publish(noop("a"))
    instance = flow.start(template)
    started = world.one("SELECT task_id FROM cmis.tasks")
    refused = operator.do(discard, started, "no")
    assert f"cmis workflows cancel {instance}" in (refused.reason or "")
    flow.run()
    org.job(None, target_type="workflow", template_id=template)
    world.dispatch()
    task_id = world.one("SELECT task_id FROM cmis.tasks WHERE state = 'ready'")

    assert operator.do(discard, task_id, "no").outcome == "cancelled"

    assert operator.outcomes() == [("cancelled", "given up: no")]
    assert world.one("SELECT count(*) FROM cmis.workflow_instances") == 1


def test_an_orgs_share_of_a_chunk_is_left_out_of_it(world: World, org: Org) -> None:
    other = world.org("other")
    for one in (org, other):
        one.campaign()
        one.hourly(one.rule(), hours_due=1)
    world.dispatch()
    [(owner, task_id)] = world.rows("SELECT org_id, task_id FROM cmis.tasks")
    assert owner == RESERVED_ORG

    [done] = deal(world.app, org.context, discard, [task_id], note="no")
    [again] = deal(world.app, org.context, discard, [task_id], note="no")

    assert (done.outcome, again.outcome) == ("asked_to_stop", "unchanged")
    world.run(owner, task_id)
    ended = world.rows("SELECT org_id, outcome FROM cmis.occurrences ORDER BY outcome")
    assert [tuple(row) for row in ended] == [(org.id, "cancelled"), (other.id, "success")]
