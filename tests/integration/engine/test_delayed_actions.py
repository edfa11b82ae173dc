"""Actions that follow after a delay: each a task of its own, planned on what is then, in order, and once."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import pytest
from billiard.exceptions import SoftTimeLimitExceeded

from core import clock, faults
from core.db import ENGINE_ACTOR, Context
from core.errors import PermanentError, TransientError
from dev.fleet import fleet
from dev.launch import wait_until
from engine import approve, invariants, rescue, undo
from engine.actions.registry import KINDS
from engine.run_rules import work
from engine.store import tasks
from tests.integration.engine.guarding import bind
from tests.world import NOTIFY, SPENT

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path
    from uuid import UUID

    from tests.world import Org, World

HOT: dict[str, Any] = {"type": "tag_entity", "value": "hot"}
RAISE: dict[str, Any] = {"type": "increase_budget", "value": 10}
BID: dict[str, Any] = {"type": "increase_bid", "value": 10}
PAUSE: dict[str, Any] = {"type": "pause_campaign"}
LOWER: dict[str, Any] = {"type": "decrease_budget", "value": 50}


def _later(org: Org, *actions: dict[str, Any], delay: int = 60, **values: Any) -> UUID:
    return org.rule(SPENT, list(actions), delay_between_actions_seconds=delay, **values)


def _tasks(world: World) -> Sequence[Any]:
    return world.rows("""
        SELECT * FROM cmis.tasks WHERE kind = 'apply_actions' ORDER BY (payload ->> 'position')::integer""")


def _statuses(world: World) -> list[tuple[int, str]]:
    rows = world.rows("SELECT position, status FROM cmis.automation_actions ORDER BY position, entity_id")
    return [(row.position, row.status) for row in rows]


def _execution(world: World) -> Any:
    [row] = world.rows("SELECT * FROM cmis.automation_executions")
    return row


def _due_again(world: World) -> None:
    world.meddle("UPDATE cmis.tasks SET run_at = %(now)s, publish_at = %(now)s WHERE state = 'ready'", now=world.now())


def _expire(world: World) -> None:
    world.meddle(
        "UPDATE cmis.tasks SET lease_expires_at = lease_expires_at - interval '1 hour' WHERE state = 'running'"
    )


def _claim_and_die(world: World, org: Org, task_id: UUID) -> None:
    """Do what a worker does that dies after its claim."""
    with world.app.transaction(Context(org.id, ENGINE_ACTOR)) as connection:
        assert tasks.claim(connection, org.id, task_id, worker="dying", now=clock.now(connection))
    _expire(world)
    assert rescue.reap(world.scheduler) == 1


def test_the_first_action_is_applied_at_once_and_each_following_one_after_its_delay(world: World, org: Org) -> None:
    campaign = org.campaign(budget=100)
    [execution] = org.evaluate(_later(org, HOT, RAISE, PAUSE))
    assert (execution.status, execution.results) == ("running", {"succeeded": 1, "queued": 2})
    assert _statuses(world) == [(0, "succeeded"), (1, "queued"), (2, "queued")]
    first, second = _tasks(world)
    assert [(one.queue, one.state) for one in (first, second)] == [("rules", "ready"), ("rules", "held")]
    assert [one.run_at - execution.started_at for one in (first, second)] == [
        timedelta(seconds=60),
        timedelta(seconds=120),
    ]
    assert world.run_all() == 0
    assert world.run(org.id, first.task_id) == work.NotClaimed()

    world.advance(seconds=60)
    assert world.run_all() == 1
    assert _statuses(world) == [(0, "succeeded"), (1, "succeeded"), (2, "queued")]
    row = org.campaign_row(campaign)
    assert (row.tags, row.budget, row.status) == (["hot"], 110, "active")
    assert _execution(world).status == "running"

    world.advance(seconds=60)
    assert world.run_all() == 1
    assert org.campaign_row(campaign).status == "paused"
    done = _execution(world)
    assert (done.status, done.results, done.finished_at > done.started_at) == ("success", {"succeeded": 3}, True)
    assert [action["status"] for action in done.actions_executed] == ["succeeded"] * 3
    taken = "SELECT details ->> 'type' FROM cmis.automation_audit_log WHERE action = 'action_taken' ORDER BY created_at"
    assert [kind for (kind,) in world.rows(taken)] == ["tag_entity", "adjust_budget", "pause_campaign"]


def test_what_is_queued_uses_up_cooldown_and_limit_at_once_and_counts_when_it_is_over(world: World, org: Org) -> None:
    org.campaign(tags=["hot"])
    rule = _later(org, HOT, RAISE, cooldown_minutes=60, max_executions_per_day=5)
    [execution] = org.evaluate(rule)
    assert (execution.results, execution.acted_on is not None) == ({"queued": 1}, True)
    assert [one.skip_reason for one in org.evaluate(rule)] == ["cooldown"]
    counted = "SELECT success_count, acted_today FROM cmis.automation_rules"
    assert [tuple(row) for row in world.rows(counted)] == [(0, 1)]
    world.advance(seconds=60)
    world.run_all()
    assert [tuple(row) for row in world.rows(counted)] == [(1, 1)]


def test_a_run_of_a_job_is_open_until_its_last_action_has_ended(world: World, org: Org) -> None:
    org.campaign()
    org.job(_later(org, HOT, RAISE, PAUSE))
    world.dispatch()
    world.run_all()
    outcome = "SELECT outcome FROM cmis.occurrences"
    assert world.one(outcome) is None
    for expected in (None, "success"):
        world.advance(seconds=61)
        world.run_all()
        assert world.one(outcome) == expected


def test_an_overlap_is_skipped_while_an_action_is_queued(world: World, org: Org) -> None:
    world.advance(minutes=(70 - world.now().minute) % 60)  # ten past: no planned time lies between the steps below
    org.campaign()
    rule = _later(org, HOT, RAISE, delay=7200)
    org.hourly(rule, hours_due=1)
    world.dispatch()
    world.run_all()
    world.advance(hours=1)
    world.dispatch()
    decisions = "SELECT decision FROM cmis.occurrences ORDER BY scheduled_for"
    assert [one for (one,) in world.rows(decisions)] == ["run", "overlap_skipped"]
    world.advance(hours=1, minutes=1)
    world.run_all()
    world.dispatch()
    assert [one for (one,) in world.rows(decisions)] == ["run", "overlap_skipped", "run"]


def test_a_following_action_starts_from_what_the_campaign_is_then(world: World, org: Org) -> None:
    campaign = org.campaign(budget=100)
    org.evaluate(_later(org, HOT, RAISE))
    world.meddle("UPDATE cmis.campaigns SET budget = 200 WHERE campaign_id = %(id)s", id=campaign)
    world.advance(seconds=60)
    world.run_all()
    assert org.campaign_row(campaign).budget == 220
    effect = "SELECT before, after FROM cmis.automation_actions WHERE position = 1"
    assert [tuple(row) for row in world.rows(effect)] == [({"budget": 200}, {"budget": 220})]


def test_a_following_action_is_what_the_version_that_ran_said(world: World, org: Org) -> None:
    campaign = org.campaign(budget=100)
    rule = _later(org, HOT, RAISE)
    org.evaluate(rule)
    org.update_rule(rule, actions=[PAUSE])
    world.advance(seconds=60)
    world.run_all()
    row = org.campaign_row(campaign)
    assert (row.status, row.budget) == ("active", 110)


def test_a_guardrail_of_now_holds_a_following_action_and_a_held_one_keeps_no_run_open(world: World, org: Org) -> None:
    campaign = org.campaign(budget=100)
    org.job(_later(org, HOT, LOWER))
    world.dispatch()
    world.run_all()
    world.meddle("UPDATE cmis.orgs SET guardrails = '{\"budget_floor\": 80}' WHERE org_id = %(id)s", id=org.id)
    world.advance(seconds=60)
    world.run_all()
    assert org.campaign_row(campaign).budget == 100
    [held] = world.rows("SELECT * FROM cmis.automation_actions WHERE position = 1")
    assert (held.status, held.error["guardrail"], held.finished_at) == ("held", "budget_floor", None)
    assert (held.before, held.after) == ({"budget": 100}, {"budget": 50})
    assert _execution(world).status == "running"
    assert world.one("SELECT outcome FROM cmis.occurrences") == "success"


def test_a_decision_ends_the_execution_once_nothing_is_queued_and_nothing_else_is_held(world: World, org: Org) -> None:
    campaign = org.campaign(budget=100)
    rule = _later(org, LOWER, HOT, RAISE, guardrails={"budget_floor": 80})
    org.job(rule)
    world.dispatch()
    world.run_all()
    assert _statuses(world) == [(0, "held"), (1, "queued"), (2, "queued")]
    held = world.one("SELECT action_id FROM cmis.automation_actions WHERE status = 'held'")
    decided = approve.approve(world.app, org.context, held)
    assert (decided.execution_status, org.campaign_row(campaign).budget) == ("running", 50)
    assert world.one("SELECT outcome FROM cmis.occurrences") is None
    assert [task.state for task in _tasks(world)] == ["ready", "held"]
    for _ in range(2):
        world.advance(seconds=61)
        world.run_all()
    assert (_execution(world).status, org.campaign_row(campaign).budget) == ("success", 55)
    assert world.one("SELECT outcome FROM cmis.occurrences") == "success"


@pytest.mark.parametrize(("decide", "status"), [(approve.approve, "success"), (approve.reject, "partial")])
def test_the_last_decision_decides_and_counts_the_execution_once(
    world: World, org: Org, decide: Callable[..., approve.Decided], status: str
) -> None:
    org.campaign(budget=100)
    org.evaluate(_later(org, HOT, LOWER, guardrails={"budget_floor": 80}))
    world.advance(seconds=60)
    world.run_all()
    held = world.one("SELECT action_id FROM cmis.automation_actions WHERE status = 'held'")
    assert _execution(world).status == "running"
    assert decide(world.app, org.context, held).execution_status == status
    assert decide(world.app, org.context, held).already
    counted = "SELECT success_count + partial_count + failure_count, failures_in_a_row FROM cmis.automation_rules"
    assert [tuple(row) for row in world.rows(counted)] == [(1, 0)]


def test_a_run_changes_no_more_campaigns_than_it_may_with_its_actions_apart(world: World, org: Org) -> None:
    campaigns = [org.campaign(bid_amount=bid) for bid in (1, 1, None)]
    rule = _later(org, {"type": "pause_campaign"}, BID, guardrails={"max_entities_per_run": 2})
    [execution] = org.evaluate(rule)
    assert execution.results == {"succeeded": 2, "held": 1, "queued": 3}
    world.meddle("UPDATE cmis.campaigns SET bid_amount = 1")
    world.advance(seconds=60)
    world.run_all()
    assert [str(org.campaign_row(one).bid_amount) for one in campaigns] == ["1.10", "1.10", "1.00"]
    assert _statuses(world)[3:] == [(1, "succeeded"), (1, "succeeded"), (1, "held")]


def test_a_campaign_whose_change_was_undone_still_counts_among_those_of_the_run(world: World, org: Org) -> None:
    bind(org, max_entities_per_run=1)
    org.campaign(tags=["hot"])
    org.campaign()
    org.evaluate(_later(org, RAISE, HOT))
    [done] = world.rows("SELECT action_id FROM cmis.automation_actions WHERE status = 'succeeded'")
    undo.undo(world.app, org.context, [done.action_id])
    world.advance(seconds=60)
    world.run_all()
    assert _statuses(world) == [(0, "undone"), (0, "held"), (1, "discarded"), (1, "held")]


def test_a_campaign_that_a_person_let_pass_does_not_count_among_those_of_the_run(world: World, org: Org) -> None:
    bind(org, max_entities_per_run=1)
    org.campaign()
    org.campaign()
    org.evaluate(_later(org, RAISE, HOT))
    [held] = world.rows("SELECT action_id FROM cmis.automation_actions WHERE status = 'held'")
    approve.approve(world.app, org.context, held.action_id)
    world.advance(seconds=60)
    world.run_all()
    assert _statuses(world) == [(0, "succeeded"), (0, "succeeded"), (1, "succeeded"), (1, "held")]


@pytest.mark.parametrize(("stop", "last"), [(True, "discarded"), (False, "succeeded")])
def test_stop_on_error_ends_the_list_for_the_campaign_that_failed_only(
    world: World, org: Org, *, stop: bool, last: str
) -> None:
    org.campaign(bid_amount=None)
    org.campaign(bid_amount=2)
    org.evaluate(_later(org, HOT, BID, PAUSE, stop_on_error=stop))
    for _ in range(2):
        world.advance(seconds=61)
        world.run_all()
    assert _statuses(world)[2:] == [(1, "failed"), (1, "succeeded"), (2, last), (2, "succeeded")]
    execution = _execution(world)
    assert execution.status == "partial"
    if stop:
        discarded = execution.actions_executed[2]
        assert discarded["reason"] == "an earlier action of the rule failed for this campaign"


def test_nothing_follows_an_action_that_failed_at_once_where_errors_stop(world: World, org: Org) -> None:
    org.campaign(bid_amount=None)
    [execution] = org.evaluate(_later(org, BID, PAUSE, stop_on_error=True))
    assert (execution.status, execution.results) == ("failure", {"failed": 1})
    assert _tasks(world) == []


def test_what_follows_is_discarded_once_the_rule_is_paused(world: World, org: Org) -> None:
    campaign = org.campaign()
    rule = _later(org, HOT, RAISE, PAUSE)
    org.evaluate(rule)
    org.update_rule(rule, status="paused")
    for _ in range(2):
        world.advance(seconds=61)
        world.run_all()
    assert org.campaign_row(campaign).status == "active"
    execution = _execution(world)
    assert (execution.status, execution.results) == ("partial", {"succeeded": 1, "discarded": 2})
    assert execution.actions_executed[1]["reason"] == "the rule is paused"
    assert world.one("SELECT count(*) FROM cmis.automation_audit_log WHERE action = 'action_discarded'") == 2


def test_what_follows_is_discarded_once_the_run_is_cancelled(world: World, org: Org) -> None:
    campaign = org.campaign()
    org.job(_later(org, HOT, PAUSE))
    world.dispatch()
    world.run_all()
    world.meddle("UPDATE cmis.occurrences SET cancel_requested = true")
    world.advance(seconds=60)
    world.run_all()
    assert org.campaign_row(campaign).status == "active"
    assert world.one("SELECT outcome FROM cmis.occurrences") == "cancelled"


def test_an_action_with_nothing_to_change_counts_neither_way(world: World, org: Org) -> None:
    campaign = org.campaign()
    org.evaluate(_later(org, HOT, PAUSE))
    world.meddle("UPDATE cmis.campaigns SET status = 'paused' WHERE campaign_id = %(id)s", id=campaign)
    world.advance(seconds=60)
    world.run_all()
    execution = _execution(world)
    assert (execution.status, execution.results) == ("success", {"succeeded": 1, "discarded": 1})
    assert execution.actions_executed[1]["reason"] == "there is nothing to change"


def test_nothing_happens_to_a_campaign_that_is_archived_meanwhile(world: World, org: Org) -> None:
    campaign = org.campaign(budget=100)
    org.evaluate(_later(org, HOT, RAISE))
    world.meddle("UPDATE cmis.campaigns SET status = 'archived' WHERE campaign_id = %(id)s", id=campaign)
    world.advance(seconds=60)
    world.run_all()
    assert org.campaign_row(campaign).budget == 100
    assert _execution(world).actions_executed[1]["reason"] == "the campaign is archived"


def test_a_duplicate_message_applies_nothing_twice(world: World, org: Org) -> None:
    campaign = org.campaign(budget=100)
    org.evaluate(_later(org, HOT, RAISE))
    world.advance(seconds=60)
    [task] = _tasks(world)
    assert world.run(org.id, task.task_id) == work.Applied({"succeeded": 1})
    assert world.run(org.id, task.task_id) == work.NotClaimed()
    assert org.campaign_row(campaign).budget == 110


def test_a_later_delivery_claims_alone_and_applies_once(world: World, org: Org) -> None:
    campaign = org.campaign(budget=100)
    org.evaluate(_later(org, HOT, RAISE))
    world.advance(seconds=60)
    world.meddle("UPDATE cmis.tasks SET delivery = 2 WHERE kind = 'apply_actions'")
    world.run_all()
    assert org.campaign_row(campaign).budget == 110
    assert _execution(world).status == "success"


def test_after_an_outage_actions_keep_their_order_and_their_distance(world: World, org: Org) -> None:
    campaign = org.campaign(budget=100)
    org.evaluate(_later(org, HOT, RAISE, {"type": "adjust_budget", "params": {"amount": 5}}, delay=600))
    world.advance(hours=5)
    first, second = _tasks(world)
    assert world.run(org.id, second.task_id) == work.NotClaimed()
    assert world.run(org.id, first.task_id) == work.Applied({"succeeded": 1})
    assert world.run(org.id, second.task_id) == work.NotClaimed()
    released = world.task(second.task_id)
    assert (released.state, released.run_at - world.now() > timedelta(seconds=590)) == ("ready", True)
    world.advance(seconds=600)
    world.run_all()
    assert org.campaign_row(campaign).budget == 115


def _break(monkeypatch: pytest.MonkeyPatch, kind: str, error: Exception) -> None:
    def apply(*_: Any, **__: Any) -> None:
        raise error

    monkeypatch.setattr(type(KINDS[kind]), "apply", apply)


def test_an_action_that_fails_for_a_moment_is_tried_again_and_the_next_waits_for_it(
    world: World, org: Org, monkeypatch: pytest.MonkeyPatch
) -> None:
    campaign = org.campaign(budget=100)
    org.evaluate(_later(org, HOT, RAISE, PAUSE))
    world.advance(seconds=60)
    first, second = _tasks(world)
    with monkeypatch.context() as broken:
        _break(broken, "adjust_budget", TransientError("not now"))
        assert isinstance(world.run(org.id, first.task_id), work.Retrying)
    assert _statuses(world)[1] == (1, "queued")
    world.advance(minutes=2)
    assert world.run(org.id, second.task_id) == work.NotClaimed()
    assert world.run(org.id, first.task_id) == work.Applied({"succeeded": 1})
    world.advance(seconds=60)
    world.run_all()
    row = org.campaign_row(campaign)
    assert (row.budget, row.status) == (110, "paused")
    assert _execution(world).status == "success"


@pytest.mark.parametrize(
    ("error", "code"), [(PermanentError("no way"), "PERMANENT"), (KeyError("ours"), "INTERNAL_ERROR")]
)
def test_an_action_that_fails_for_good_fails_alone_and_the_next_goes_on(
    world: World, org: Org, monkeypatch: pytest.MonkeyPatch, error: Exception, code: str
) -> None:
    campaign = org.campaign(budget=100)
    org.job(_later(org, HOT, RAISE, PAUSE))
    world.dispatch()
    world.run_all()
    world.advance(seconds=60)
    with monkeypatch.context() as broken:
        _break(broken, "adjust_budget", error)
        assert isinstance(world.run(org.id, _tasks(world)[0].task_id), work.GaveUp)
    world.advance(seconds=60)
    world.run_all()
    row = org.campaign_row(campaign)
    assert (row.budget, row.status) == (100, "paused")
    [failed] = world.rows("SELECT status, error FROM cmis.automation_actions WHERE position = 1")
    assert (failed.status, failed.error["code"]) == ("failed", code)
    assert (_execution(world).status, world.one("SELECT outcome FROM cmis.occurrences")) == ("partial", "partial")


def test_attempts_that_are_used_up_fail_the_action(world: World, org: Org, monkeypatch: pytest.MonkeyPatch) -> None:
    org.campaign(tags=["hot"])
    rule = _later(org, HOT, RAISE)
    org.evaluate(rule)
    world.advance(seconds=60)
    _break(monkeypatch, "adjust_budget", TransientError("never"))
    for _ in range(5):
        _due_again(world)
        world.run_all()
    [task] = _tasks(world)
    assert (task.state, task.attempt) == ("failed", 5)
    assert _execution(world).status == "failure"
    counters = "SELECT failure_count, failures_in_a_row, acted_today FROM cmis.automation_rules WHERE rule_id = :id"
    assert [tuple(row) for row in world.rows(counters, id=rule)] == [(1, 1, 1)]


def test_a_worker_that_dies_leaves_the_action_to_the_next(world: World, org: Org) -> None:
    campaign = org.campaign(budget=100)
    org.evaluate(_later(org, HOT, RAISE))
    world.advance(seconds=60)
    [task] = _tasks(world)
    _claim_and_die(world, org, task.task_id)
    assert _statuses(world) == [(0, "succeeded"), (1, "queued")]
    world.run_all()
    assert org.campaign_row(campaign).budget == 110
    assert world.task(task.task_id).attempt == 2


def test_what_ends_before_its_commit_leaves_nothing_behind(
    world: World, org: Org, monkeypatch: pytest.MonkeyPatch
) -> None:
    campaign = org.campaign(budget=100)
    org.evaluate(_later(org, HOT, RAISE))
    world.advance(seconds=60)
    [task] = _tasks(world)

    def die(point: str) -> None:
        if point == "rules.before_commit":
            raise ConnectionError(point)

    with monkeypatch.context() as dying:
        dying.setattr(faults, "crash", die)
        with pytest.raises(ConnectionError):
            world.run(org.id, task.task_id)
    assert (org.campaign_row(campaign).budget, _statuses(world)[1]) == (100, (1, "queued"))
    assert (world.task(task.task_id).state, world.task(task.task_id).attempt) == ("ready", 0)
    world.run_all()
    assert org.campaign_row(campaign).budget == 110


def test_a_task_that_runs_out_of_time_fails_its_actions(
    world: World, org: Org, monkeypatch: pytest.MonkeyPatch
) -> None:
    org.campaign()
    org.evaluate(_later(org, HOT, RAISE))
    world.advance(seconds=60)
    _break(monkeypatch, "adjust_budget", SoftTimeLimitExceeded())
    result = world.run(org.id, _tasks(world)[0].task_id)
    assert isinstance(result, work.GaveUp)
    assert result.error["code"] == "TIMEOUT"
    assert _statuses(world) == [(0, "succeeded"), (1, "failed")]


def test_two_workers_at_once_apply_an_action_once(world: World, org: Org) -> None:
    campaigns = [org.campaign(budget=100) for _ in range(20)]
    org.evaluate(_later(org, HOT, RAISE))
    world.advance(seconds=60)
    [task] = _tasks(world)
    with ThreadPoolExecutor(4) as pool:
        results = list(pool.map(lambda _: world.run(org.id, task.task_id), range(4)))
    assert sorted(type(result).__name__ for result in results) == ["Applied", *["NotClaimed"] * 3]
    assert {org.campaign_row(one).budget for one in campaigns} == {110}


def test_a_scheduler_and_a_worker_apply_what_follows(world: World, org: Org, tmp_path: Path) -> None:
    campaign = org.campaign(budget=100)
    org.job(_later(org, HOT, RAISE, PAUSE, delay=1))
    with fleet(1, 1, world.site.full_env(), tmp_path) as running:
        done = "SELECT count(*) FROM cmis.automation_executions WHERE status = 'success'"
        assert wait_until(lambda: world.one(done) == 1, 40), running.workers[0].log.read_text()[-4000:]
    row = org.campaign_row(campaign)
    assert (row.tags, row.budget, row.status) == (["hot"], 110, "paused")
    times = [at for (at,) in world.rows("SELECT finished_at FROM cmis.automation_actions ORDER BY position")]
    assert all(after - before >= timedelta(seconds=1) for before, after in pairwise(times))
    broken = {one.name: one.offenders for one in invariants.check(world.reader, drained=True) if one.offenders}
    assert broken == {}


def test_a_task_that_kills_its_workers_fails_its_actions_and_the_execution_goes_on_without_it(
    world: World, org: Org
) -> None:
    campaign = org.campaign(budget=100)
    org.job(_later(org, HOT, RAISE, PAUSE))
    world.dispatch()
    world.run_all()
    world.advance(seconds=60)
    first, _ = _tasks(world)
    world.meddle("UPDATE cmis.tasks SET attempt = 4, max_attempts = 5 WHERE task_id = %(id)s", id=first.task_id)
    _claim_and_die(world, org, first.task_id)
    assert world.task(first.task_id).state == "dead"
    assert _statuses(world) == [(0, "succeeded"), (1, "failed"), (2, "queued")]
    world.advance(seconds=60)
    world.run_all()
    row = org.campaign_row(campaign)
    assert (row.budget, row.status) == (100, "paused")
    assert (_execution(world).status, world.one("SELECT outcome FROM cmis.occurrences")) == ("partial", "partial")


def test_the_last_task_that_kills_its_workers_decides_the_execution(world: World, org: Org) -> None:
    org.campaign(tags=["hot"])
    rule = _later(org, HOT, RAISE)
    org.evaluate(rule)
    world.advance(seconds=60)
    [task] = _tasks(world)
    world.meddle("UPDATE cmis.tasks SET attempt = 4 WHERE task_id = %(id)s", id=task.task_id)
    _claim_and_die(world, org, task.task_id)
    execution = _execution(world)
    assert (execution.status, execution.results) == ("failure", {"failed": 1})
    assert "lease of dying expired" in execution.actions_executed[0]["reason"]
    counters = "SELECT failure_count, failures_in_a_row FROM cmis.automation_rules WHERE rule_id = :id"
    assert [tuple(row) for row in world.rows(counters, id=rule)] == [(1, 1)]


def test_a_rule_whose_following_actions_keep_failing_is_paused_with_a_notification(world: World, org: Org) -> None:
    org.campaign(tags=["hot"], bid_amount=None)
    rule = _later(org, HOT, BID, guardrails={"max_failures_in_a_row": 2})
    for status in ("active", "paused"):
        org.evaluate(rule)
        world.advance(seconds=60)
        world.run_all()
        assert world.one("SELECT status FROM cmis.automation_rules WHERE rule_id = :id", id=rule) == status
    [notice] = world.rows("SELECT body FROM cmis.notifications")
    assert "failed 2 times in a row, at last: the campaign has no bid to adjust" in notice.body


def test_a_notification_may_follow_too(world: World, org: Org) -> None:
    org.campaign()
    org.evaluate(_later(org, HOT, *NOTIFY))
    assert world.one("SELECT count(*) FROM cmis.notifications") == 0
    world.advance(seconds=60)
    world.run_all()
    assert world.one("SELECT body FROM cmis.notifications") == "look"


def test_a_task_of_another_org_cannot_be_settled(world: World, org: Org) -> None:
    org.campaign()
    org.evaluate(_later(org, HOT, RAISE))
    other = world.org("other")
    [task] = _tasks(world)
    world.advance(seconds=60)
    assert world.run(other.id, task.task_id) == work.NotClaimed()


@pytest.mark.parametrize(
    ("broken", "mended", "noticed"),
    [
        (
            "UPDATE cmis.tasks SET state = 'held' WHERE state = 'ready'",
            "UPDATE cmis.tasks SET state = 'ready' WHERE state = 'held' AND payload ->> 'position' = '1'",
            "a held task waits for one before it",
        ),
        (
            "UPDATE cmis.automation_actions SET task_id = action_id WHERE status = 'queued' AND position = 2",
            """UPDATE cmis.automation_actions a SET task_id = t.task_id FROM cmis.tasks t
                WHERE a.status = 'queued' AND a.position = 2 AND t.payload ->> 'position' = '2'""",
            "a queued action has a task that will apply it",
        ),
        (
            "UPDATE cmis.occurrences SET outcome = 'success', finished_at = decided_at",
            "UPDATE cmis.occurrences SET outcome = NULL, finished_at = NULL",
            "each execution of a job has its occurrence",
        ),
    ],
)
def test_the_invariants_notice_an_action_that_nobody_would_apply(
    world: World, org: Org, broken: str, mended: str, noticed: str
) -> None:
    org.campaign()
    org.job(_later(org, HOT, RAISE, PAUSE))
    world.dispatch()
    world.run_all()
    assert world.meddle(broken)
    found = {one.name for one in invariants.check(world.reader, drained=False) if one.offenders}
    assert world.meddle(mended)
    assert noticed in found
