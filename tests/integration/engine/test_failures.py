"""What goes wrong with one rule stays with that rule; what passes is tried again, and counted."""

from __future__ import annotations

import contextlib
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
from billiard.exceptions import SoftTimeLimitExceeded
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError, SQLAlchemyError

from core import faults
from core.errors import PermanentError, TransientError
from dev.launch import wait_until
from engine import retry
from engine.actions.registry import KINDS
from engine.run_rules import group, plan, service, work
from engine.store import campaigns
from tests.world import NOTIFY, SPENT

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from uuid import UUID

    from sqlalchemy import Connection

    from tests.world import Org, World

DUE_AGAIN = "UPDATE cmis.tasks SET run_at = %(now)s, publish_at = %(now)s WHERE state = 'ready'"


@pytest.fixture
def fault(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str], None]]:
    """Arm fault points as CMIS_FAULTS does."""

    def arm(spec: str) -> None:
        points = {name: faults._Point.parse(name, point) for name, _, point in [spec.partition("=")]}
        monkeypatch.setattr(faults, "_faults", faults.Faults(points))

    yield arm
    monkeypatch.undo()


def _break(monkeypatch: pytest.MonkeyPatch, victims: set[UUID], error: BaseException | str) -> None:
    """Let the effects of these rules fail as they are written: by an exception, or by a statement that fails."""
    kind = KINDS["send_notification"]
    original = type(kind).apply

    def apply(self: Any, connection: Connection, org_id: UUID, effects: Any, **more: Any) -> None:
        if victims & {effect.rule_id for effect in effects}:
            if isinstance(error, BaseException):
                raise error
            connection.execute(text(error))
        original(self, connection, org_id, effects, **more)

    monkeypatch.setattr(type(kind), "apply", apply)


def _meddle(monkeypatch: pytest.MonkeyPatch, victim: UUID, meddle: Callable[[Connection], object]) -> None:
    """Let the kind of one rule's effects do something to the transaction that is none of its business."""
    kind = KINDS["send_notification"]
    original = type(kind).apply

    def apply(self: Any, connection: Connection, org_id: UUID, effects: Any, **more: Any) -> None:
        original(self, connection, org_id, effects, **more)
        if victim in {effect.rule_id for effect in effects}:
            meddle(connection)

    monkeypatch.setattr(type(kind), "apply", apply)


def _fail_unnoticed(connection: Connection) -> None:
    with contextlib.suppress(DBAPIError):
        connection.execute(text("SELECT 1 / 0"))


def test_a_kind_that_takes_no_notice_of_a_failed_statement_fails_its_rule_alone(
    world: World, org: Org, monkeypatch: pytest.MonkeyPatch
) -> None:
    org.campaign()
    bad, good = org.rule(SPENT, NOTIFY), org.rule(SPENT, NOTIFY)
    _meddle(monkeypatch, bad, _fail_unnoticed)
    org.evaluate(bad, good)
    assert _statuses(world) == {bad: "failure", good: "success"}


def test_a_kind_cannot_commit_half_of_a_task(world: World, org: Org, monkeypatch: pytest.MonkeyPatch) -> None:
    org.campaign()
    bad, good = org.rule(SPENT, NOTIFY), org.rule(SPENT, NOTIFY)
    task_id = world.enqueue({org.id: [bad, good]})
    _meddle(monkeypatch, bad, lambda connection: connection.commit())
    with pytest.raises(SQLAlchemyError, match="transaction"):
        world.run(org.id, task_id)
    assert (_statuses(world), world.task(task_id).state) == ({}, "ready")
    monkeypatch.undo()
    world.run(org.id, task_id)
    assert _statuses(world) == {bad: "success", good: "success"}


def _statuses(world: World) -> dict[UUID, str]:
    return dict(map(tuple, world.rows("SELECT rule_id, status FROM cmis.automation_executions")))


def test_a_rule_whose_stored_conditions_cannot_be_read_fails_alone(org: Org) -> None:
    org.campaign()
    bad, good = org.rule([{"field": "nonsense", "operator": ">", "value": 1}], NOTIFY), org.rule(SPENT, NOTIFY)
    failed, done = org.evaluate(bad, good)
    assert (failed.status, done.status) == ("failure", "success")
    assert failed.error["code"] == "VALIDATION_ERROR"
    assert "nonsense" in failed.error["message"]


@pytest.mark.parametrize(
    ("error", "code"),
    [("SELECT 1 / 0", "INTERNAL_ERROR"), (KeyError("ours"), "INTERNAL_ERROR"), (PermanentError("no"), "PERMANENT")],
)
def test_an_error_while_one_rule_is_written_fails_it_alone_and_says_nothing_of_our_sql(
    world: World, org: Org, monkeypatch: pytest.MonkeyPatch, error: BaseException | str, code: str
) -> None:
    org.campaign()
    bad, good, other = (org.rule(SPENT, NOTIFY) for _ in range(3))
    _break(monkeypatch, {bad}, error)
    task_id = world.enqueue({org.id: [good, bad, other]})
    assert world.run(org.id, task_id) == work.Finished(evaluated=3, retried=0)
    assert _statuses(world) == {bad: "failure", good: "success", other: "success"}
    stored = world.one("SELECT error FROM cmis.automation_executions WHERE status = 'failure'")
    assert stored["code"] == code
    assert "SELECT" not in stored["message"]
    assert world.one("SELECT failure_count FROM cmis.automation_rules WHERE rule_id = :id", id=bad) == 1


def test_every_rule_that_fails_for_a_moment_gets_a_task_of_its_own_and_the_others_are_done(
    world: World, org: Org, monkeypatch: pytest.MonkeyPatch
) -> None:
    org.campaign()
    passing = [org.rule(SPENT, NOTIFY) for _ in range(3)]
    for_now = {passing[0], passing[1]}
    jobs = [org.job(rule) for rule in passing]
    world.dispatch()
    with monkeypatch.context() as broken:
        _break(broken, for_now, TransientError("not now"))
        [(org_id, task_id)] = world.rows("SELECT org_id, task_id FROM cmis.tasks")
        assert world.run(org_id, task_id) == work.Finished(evaluated=1, retried=2)
    assert _statuses(world) == {passing[2]: "success"}

    split = world.rows("SELECT task_id, attempt, state, payload FROM cmis.tasks WHERE task_id <> :id", id=task_id)
    assert {(one.attempt, one.state) for one in split} == {(1, "ready")}
    planned = world.rows("SELECT execution_id, task_id FROM cmis.occurrences WHERE outcome IS NULL")
    carried = {(one.payload["groups"][0]["items"][0]["execution_id"], one.task_id) for one in split}
    assert {(str(execution), task) for execution, task in planned} == carried

    world.meddle(DUE_AGAIN, now=world.now())
    world.run_all()
    assert _statuses(world) == dict.fromkeys(passing, "success")
    attempts = world.rows("SELECT rule_id, attempt FROM cmis.automation_executions")
    assert dict(map(tuple, attempts)) == {passing[0]: 2, passing[1]: 2, passing[2]: 1}
    assert world.one("SELECT count(*) FROM cmis.occurrences WHERE outcome = 'success'") == len(jobs)


@pytest.mark.parametrize("turned", [False, True])
def test_rules_that_are_tried_one_by_one_still_go_by_priority(
    org: Org, monkeypatch: pytest.MonkeyPatch, *, turned: bool
) -> None:
    campaign = org.campaign(budget=100)
    low = org.rule(SPENT, [{"type": "increase_budget", "value": 100}], priority="low")
    high = org.rule(SPENT, [{"type": "adjust_budget", "params": {"amount": 10}}], priority="high")
    bad = org.rule(SPENT, NOTIFY)
    _break(monkeypatch, {bad}, "SELECT 1 / 0")
    org.evaluate(*([high, bad, low] if turned else [low, bad, high]))
    assert org.campaign_row(campaign).budget == 220


def test_a_rule_whose_plan_fails_leaves_no_trace_in_what_the_others_see(
    org: Org, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(group, "PAGE", 1)
    campaigns_ = [org.campaign(budget=100), org.campaign(budget=100)]
    bad = org.rule(SPENT, [{"type": "increase_budget", "value": 100}], priority="critical")
    good = org.rule(SPENT, [{"type": "adjust_budget", "params": {"amount": 1}}])
    original = plan.plan_page

    def plan_page(run: Any, overlay: Any, memory: Any) -> None:
        original(run, overlay, memory)
        if run.rule.rule_id == bad and campaigns_[1] in overlay.page.rows:
            raise ZeroDivisionError

    monkeypatch.setattr(group, "plan_page", plan_page)
    failed, done = org.evaluate(bad, good)
    assert (failed.status, done.status) == ("failure", "success")
    assert [org.campaign_row(one).budget for one in campaigns_] == [101, 101]
    assert done.results == {"succeeded": 2}
    assert failed.actions_executed == []


def test_an_org_whose_zone_is_unknown_fails_alone_in_a_shared_task(world: World) -> None:
    broken, healthy = world.org("broken", "UTC"), world.org("healthy")
    rules = {one.id: [one.rule(SPENT, NOTIFY)] for one in (broken, healthy)}
    healthy.campaign()
    world.meddle("UPDATE cmis.orgs SET timezone = 'Mars/Olympus' WHERE org_id = %(org)s", org=broken.id)
    task_id = world.enqueue(rules)
    assert world.run(world.task(task_id).org_id, task_id) == work.Finished(evaluated=2, retried=0)
    assert _statuses(world) == {rules[broken.id][0]: "failure", rules[healthy.id][0]: "success"}
    world.meddle("UPDATE cmis.orgs SET timezone = 'UTC' WHERE org_id = %(org)s", org=broken.id)


def test_a_task_of_one_rule_that_keeps_failing_is_failed_after_five_attempts(
    world: World, org: Org, fault: Callable[[str], None]
) -> None:
    org.campaign()
    rule = org.rule()
    job = org.job(rule)
    world.dispatch()
    fault("rules.item=1")
    [(org_id, task_id)] = world.rows("SELECT org_id, task_id FROM cmis.tasks")
    results = []
    for _ in range(5):
        results.append(world.run(org_id, task_id))
        world.meddle(DUE_AGAIN, now=world.now())
    assert [type(one) for one in results] == [work.Retrying] * 4 + [work.GaveUp]
    assert world.run(org_id, task_id) == work.NotClaimed()

    task = world.task(task_id)
    assert (task.state, task.attempt, task.fence) == ("failed", 5, 5)
    assert task.error["code"] == "TRANSIENT"
    execution = world.rows("SELECT * FROM cmis.automation_executions")[0]
    assert (execution.status, execution.attempt, execution.error["code"]) == ("failure", 5, "TRANSIENT")
    assert world.one("SELECT outcome FROM cmis.occurrences WHERE job_id = :job", job=job) == "failure"
    assert world.one("SELECT failure_count FROM cmis.automation_rules WHERE rule_id = :id", id=rule) == 1
    audited = {row[0] for row in world.rows("SELECT action FROM cmis.automation_audit_log")}
    assert {"rule_executed", "task_failed"} <= audited


def test_backoff_grows_and_a_retry_is_a_row_that_waits(world: World, org: Org, fault: Callable[[str], None]) -> None:
    org.campaign()
    task_id = world.enqueue({org.id: [org.rule()]})
    fault("rules.item=1x1")
    before = world.now()
    result = world.run(org.id, task_id)
    assert isinstance(result, work.Retrying)
    task = world.task(task_id)
    assert (task.state, task.attempt, task.publish_at) == ("ready", 1, task.run_at)
    assert before <= task.run_at
    assert (task.run_at - world.now()).total_seconds() <= 2
    world.meddle(DUE_AGAIN, now=world.now())
    assert world.run(org.id, task_id) == work.Finished(evaluated=1, retried=0)


def test_an_error_that_no_retry_mends_fails_the_task_at_once_with_a_failure_for_each_rule(
    world: World, org: Org, monkeypatch: pytest.MonkeyPatch
) -> None:
    org.campaign()
    rules = [org.rule(SPENT, NOTIFY) for _ in range(2)]
    task_id = world.enqueue({org.id: [*rules, rules[0]]}, attempt=1)  # a later attempt: the claim commits alone

    def burst(*_: object) -> None:
        raise RuntimeError("a defect")

    monkeypatch.setattr(service, "waves", burst)
    assert isinstance(world.run(org.id, task_id), work.GaveUp)
    assert world.task(task_id).state == "failed"
    assert world.one("SELECT count(*) FROM cmis.automation_executions WHERE status = 'failure'") == 3
    assert world.one("SELECT failure_count FROM cmis.automation_rules WHERE rule_id = :id", id=rules[0]) == 2


def test_a_deadlock_is_repeated_and_uses_up_no_attempt(world: World, org: Org, monkeypatch: pytest.MonkeyPatch) -> None:
    org.campaign()
    raised: list[int] = []
    original = campaigns.lock

    def lock(connection: Connection, org_id: UUID, ids: Any) -> dict[UUID, int]:
        if len(raised) < 3:
            raised.append(1)
            connection.execute(text("DO $$ BEGIN RAISE EXCEPTION 'conflict' USING ERRCODE = '40P01'; END $$"))
        return original(connection, org_id, ids)

    monkeypatch.setattr(campaigns, "lock", lock)
    [execution] = org.evaluate(org.rule())
    assert (execution.status, execution.attempt, len(raised)) == ("success", 1, 3)
    assert world.one("SELECT attempt FROM cmis.tasks") == 1


def test_a_transaction_that_waited_too_long_for_its_own_process_is_repeated(
    world: World, org: Org, monkeypatch: pytest.MonkeyPatch
) -> None:
    org.campaign()
    ended: list[int] = []
    original = campaigns.lock

    def lock(connection: Connection, org_id: UUID, ids: Any) -> dict[UUID, int]:
        if not ended:
            ended.append(connection.execute(text("SELECT pg_backend_pid()")).scalar_one())
            connection.execute(text("SET LOCAL idle_in_transaction_session_timeout = '20ms'"))
            gone = "SELECT NOT EXISTS (SELECT FROM pg_stat_activity WHERE pid = :pid)"
            assert wait_until(lambda: bool(world.one(gone, pid=ended[0])), 10)
        return original(connection, org_id, ids)

    monkeypatch.setattr(campaigns, "lock", lock)
    [execution] = org.evaluate(org.rule())
    assert (execution.status, execution.attempt, len(ended)) == ("success", 1, 1)
    assert world.one("SELECT attempt FROM cmis.tasks") == 1


def test_facts_that_moved_on_between_plan_and_lock_are_planned_again(
    world: World, org: Org, monkeypatch: pytest.MonkeyPatch
) -> None:
    campaign = org.campaign(budget=100)
    original = campaigns.lock
    changes = [200]

    def lock(connection: Connection, org_id: UUID, ids: Any) -> dict[UUID, int]:
        if changes:
            with world.app.transaction(org.context) as other:
                other.execute(text("UPDATE cmis.campaigns SET budget = :to"), {"to": changes.pop()})
        return original(connection, org_id, ids)

    monkeypatch.setattr(campaigns, "lock", lock)
    rule = org.rule(SPENT, [{"type": "increase_budget", "value": 10}])
    [execution] = org.evaluate(rule)
    assert execution.results == {"succeeded": 1}
    assert org.campaign_row(campaign).budget == 220
    assert world.one("SELECT before FROM cmis.automation_actions") == {"budget": 200}


def test_a_statement_that_takes_too_long_is_undone_with_its_rule_alone(
    world: World, org: Org, monkeypatch: pytest.MonkeyPatch
) -> None:
    org.campaign()
    slow, good = org.rule(SPENT, NOTIFY), org.rule(SPENT, NOTIFY)
    _break(monkeypatch, {slow}, "DO $$ BEGIN RAISE EXCEPTION 'too long' USING ERRCODE = '57014'; END $$")
    task_id = world.enqueue({org.id: [slow, good]})
    assert world.run(org.id, task_id) == work.Finished(evaluated=1, retried=1)
    assert _statuses(world) == {good: "success"}


def test_a_chunk_that_is_out_of_time_is_taken_apart_and_only_the_run_that_takes_too_long_alone_fails(
    world: World, org: Org, monkeypatch: pytest.MonkeyPatch
) -> None:
    org.campaign()
    slow, good = org.rule(SPENT, NOTIFY), org.rule(SPENT, NOTIFY)
    task_id = world.enqueue({org.id: [slow, good]})
    with monkeypatch.context() as broken:
        _break(broken, {slow}, SoftTimeLimitExceeded())
        assert world.run(org.id, task_id) == work.TakenApart(parts=2)
        assert _statuses(world) == {}
        chunk = world.task(task_id)
        parts = world.rows("SELECT task_id FROM cmis.tasks WHERE task_id <> :id", id=task_id)
        assert (chunk.state, chunk.attempt) == ("cancelled", 1)
        assert sorted(chunk.result["split"]) == sorted(str(one.task_id) for one in parts)
        world.run_all()
    assert _statuses(world) == {slow: "failure", good: "success"}
    [error] = [one.error for one in world.rows("SELECT error FROM cmis.automation_executions WHERE error IS NOT NULL")]
    assert (error["code"], error["message"]) == ("TIMEOUT", "did not finish within its timeout of 300 s")


def test_a_run_that_is_tried_again_keeps_the_time_it_has_used(
    world: World, org: Org, monkeypatch: pytest.MonkeyPatch
) -> None:
    org.campaign()
    rule = org.rule(SPENT, NOTIFY)
    task_id = world.enqueue({org.id: [rule]})
    with monkeypatch.context() as broken:
        _break(broken, {rule}, ConnectionError("away"))
        assert isinstance(world.run(org.id, task_id), work.Retrying)
    world.advance(seconds=301)
    assert isinstance(world.run(org.id, task_id), work.GaveUp)
    [execution] = world.rows("SELECT * FROM cmis.automation_executions")
    assert (execution.status, execution.attempt, execution.error["code"]) == ("failure", 2, "TIMEOUT")


def test_no_retry_is_put_off_beyond_the_timeout(world: World, org: Org, monkeypatch: pytest.MonkeyPatch) -> None:
    org.campaign()
    rule = org.rule(SPENT, NOTIFY)
    task_id = world.enqueue({org.id: [rule]})
    world.meddle("UPDATE cmis.tasks SET timeout_seconds = 1")
    _break(monkeypatch, {rule}, ConnectionError("away"))
    monkeypatch.setattr(retry, "backoff", lambda _, **__: timedelta(seconds=2))
    gave_up = world.run(org.id, task_id)
    assert isinstance(gave_up, work.GaveUp)
    assert gave_up.error["message"] == "did not finish within its timeout of 1 s: away"


def test_after_a_commit_whose_answer_was_lost_nothing_is_done_twice(
    world: World, org: Org, monkeypatch: pytest.MonkeyPatch
) -> None:
    org.campaign()
    task_id = world.enqueue({org.id: [org.rule()]}, attempt=1)
    original = service._work_alone

    def committed_but_unheard(*args: Any) -> object:
        original(*args)
        raise ConnectionError("the server went away")

    monkeypatch.setattr(service, "_work_alone", committed_but_unheard)
    assert world.run(org.id, task_id) == work.NotClaimed()
    assert world.task(task_id).state == "succeeded"
    assert world.one("SELECT count(*) FROM cmis.automation_executions") == 1
