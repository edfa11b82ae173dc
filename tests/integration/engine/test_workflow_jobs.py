"""Jobs whose target is a workflow: each run is an instance, made by the worker that claims it, and ends with it."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest

from core import faults
from core.errors import ConflictError, InputError
from dev.launch import wait_until
from engine import backfill, control_jobs, define_jobs, run_now
from engine.decide_job import LATEST_REVIEW
from engine.rescue import reap
from tests.integration.engine.instances import DAY, FAILS, NOOP, publish, run, run_all, started, steps_of

if TYPE_CHECKING:
    from uuid import UUID

    from tests.world import Org, World

LEDGER = "SELECT * FROM cmis.occurrences WHERE job_id = :job ORDER BY scheduled_for, origin"
TASKS = "SELECT * FROM cmis.tasks WHERE kind = 'run_workflow' ORDER BY task_id"


def starting(template_id: UUID, **columns: Any) -> dict[str, Any]:
    return {"target_type": "workflow", "template_id": template_id, "timeout_seconds": None, **columns}


def ledger(world: World, job: UUID) -> list[tuple[str, str | None]]:
    return [(row.decision, row.outcome) for row in world.rows(LEDGER, job=job)]


def test_each_run_starts_one_instance_with_the_jobs_context_and_ends_with_it(world: World, org: Org) -> None:
    template = publish(org, NOOP, DAY)
    job = org.job(None, **starting(template, execution_context={"season": "spring"}))
    assert (world.dispatch().runs, started(world)) == (1, [])
    [task] = world.rows(TASKS)
    [occurrence] = world.rows(LEDGER, job=job)
    assert (task.queue, occurrence.task_id, occurrence.execution_id) == ("workflows", task.task_id, None)
    run(world, org.id, task.task_id)
    [instance] = started(world)
    assert (instance.instance_id, instance.template_id) == (occurrence.instance_id, template)
    assert (instance.trigger_type, instance.job_id, instance.origin) == ("scheduled", job, "schedule")
    assert (instance.scheduled_for, instance.triggered_by, instance.status) == (
        occurrence.scheduled_for,
        None,
        "running",
    )
    assert instance.context_data == {"season": "spring"}
    assert instance.idempotency_key == f"job:{job}:schedule:{occurrence.scheduled_for.isoformat()}"
    assert steps_of(world, instance.instance_id)["look"].output_data == {"seen": {"season": "spring"}}
    assert ledger(world, job) == [("run", None)]
    world.advance(days=1, seconds=1)
    run_all(world)
    [instance] = started(world)
    [occurrence] = world.rows(LEDGER, job=job)
    assert (instance.status, occurrence.outcome) == ("completed", "success")
    assert occurrence.finished_at >= instance.finished_at - timedelta(seconds=1)
    assert world.rows("SELECT usage_count, active_instances FROM cmis.workflow_templates") == [(1, 0)]


def test_a_message_that_comes_twice_starts_nothing_more(world: World, org: Org) -> None:
    org.job(None, **starting(publish(org, NOOP)))
    world.dispatch()
    [task] = world.rows(TASKS)
    for _ in range(3):
        run(world, org.id, task.task_id)
    assert [one.status for one in started(world)] == ["completed"]


def test_a_failed_instance_fails_the_run_and_failures_pause_the_job(world: World, org: Org) -> None:
    job = org.hourly(None, hours_due=1, **starting(publish(org, FAILS), pause_on_failure_count=2))
    for _ in range(2):
        world.dispatch()
        run_all(world)
        world.advance(hours=1)
    world.dispatch()
    assert ledger(world, job)[:2] == [("run", "failure")] * 2
    [row] = world.rows("SELECT status, pause_note FROM cmis.scheduled_jobs")
    assert tuple(row) == ("paused", "2 failed runs in a row")


def test_many_runs_of_one_org_share_tasks_of_25_and_of_two_orgs_none(world: World) -> None:
    orgs = [world.org("one"), world.org("other")]
    for org, count in zip(orgs, (60, 3), strict=True):
        template = publish(org, NOOP)
        for _ in range(count):
            org.job(None, **starting(template))
    assert world.dispatch().runs == 63
    tasks = world.rows(TASKS)
    assert sorted(len(task.payload["items"]) for task in tasks) == [3, 10, 25, 25]
    assert {len({task.org_id for task in tasks})} == {2}
    run_all(world)
    assert [one.status for one in started(world)] == ["completed"] * 63
    assert sorted(row[0] for row in world.rows("SELECT usage_count FROM cmis.workflow_templates")) == [3, 60]


def test_a_workflow_that_is_archived_meanwhile_fails_the_run_and_the_ledger_says_why(world: World, org: Org) -> None:
    template, other = publish(org, NOOP, name="report"), publish(org, NOOP, name="other")
    jobs = [org.job(None, **starting(one)) for one in (template, other)]
    world.dispatch()
    world.meddle("UPDATE cmis.workflow_templates SET status = 'archived' WHERE template_id = %(id)s", id=template)
    run_all(world)
    [archived], [runs] = (world.rows(LEDGER, job=job) for job in jobs)
    assert (archived.outcome, archived.reason) == ("failure", "the workflow 'report' is archived")
    assert (runs.outcome, runs.reason) == ("success", None)
    assert len(started(world)) == 1


def test_overlap_skip_waits_for_an_instance_that_rests_for_a_day(world: World, org: Org) -> None:
    job = org.hourly(None, hours_due=1, **starting(publish(org, DAY)))
    for _ in range(3):
        world.dispatch()
        run_all(world)
        world.advance(hours=1)
    assert ledger(world, job) == [("run", None), ("overlap_skipped", "skipped"), ("overlap_skipped", "skipped")]
    world.advance(days=1)
    run_all(world)
    world.dispatch()
    assert ledger(world, job)[0] == ("run", "success")
    assert ledger(world, job)[-1] == ("run", None)


def test_overlap_allow_runs_instances_beside_each_other(world: World, org: Org) -> None:
    job = org.hourly(None, hours_due=1, **starting(publish(org, DAY), overlap="allow"))
    for _ in range(3):
        world.dispatch()
        run_all(world)
        world.advance(hours=1)
    assert ledger(world, job) == [("run", None)] * 3
    assert len(started(world)) == 3


def test_overlap_buffer_one_starts_the_buffered_run_when_the_instance_has_ended(world: World, org: Org) -> None:
    job = org.hourly(None, hours_due=1, **starting(publish(org, DAY), overlap="buffer_one"))
    world.dispatch()
    run_all(world)
    world.advance(hours=1)
    world.dispatch()
    assert ledger(world, job) == [("run", None), ("buffered", None)]
    world.meddle("UPDATE cmis.scheduled_jobs SET end_date = next_run_at WHERE job_id = %(job)s", job=job)
    world.advance(days=1, seconds=LATEST_REVIEW.total_seconds() + 1)
    run_all(world)
    world.dispatch()
    run_all(world)
    assert ledger(world, job)[:2] == [("run", "success"), ("run", None)]
    assert [one.status for one in started(world)] == ["completed", "running"]


def test_overlap_cancel_other_cancels_an_instance_that_rests(world: World, org: Org) -> None:
    job = org.hourly(None, hours_due=1, **starting(publish(org, DAY), overlap="cancel_other"))
    for _ in range(3):
        world.dispatch()
        run_all(world)
        world.advance(hours=1)
    assert ledger(world, job) == [("run", "cancelled"), ("run", "cancelled"), ("run", None)]
    instances = started(world)
    assert [one.status for one in instances] == ["cancelled", "cancelled", "running"]
    assert instances[0].error == {"code": "CANCELLED", "message": "another run of the job is due"}


def test_overlap_cancel_other_keeps_an_instance_from_being_made_that_no_worker_began(world: World, org: Org) -> None:
    job = org.hourly(None, hours_due=1, **starting(publish(org, DAY), overlap="cancel_other"))
    for _ in range(3):
        world.dispatch()
        world.advance(hours=1)
    signals = [task for task in world.rows(TASKS) if "signal" in task.payload["items"][0]]
    assert len(signals) == 2  # each open run is told once
    for task in reversed(world.rows(TASKS)):
        run(world, org.id, task.task_id)
    run_all(world)
    assert ledger(world, job) == [("run", "cancelled"), ("run", "cancelled"), ("run", None)]
    assert len(started(world)) == 1
    assert world.rows(LEDGER, job=job)[0].reason == "it was cancelled before it began"


def test_overlap_cancel_other_reaches_an_instance_that_is_about_to_be_made(
    world: World, org: Org, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = org.hourly(None, hours_due=1, **starting(publish(org, DAY), overlap="cancel_other"))
    world.dispatch()
    [first] = world.rows(TASKS)
    made, commit = threading.Event(), threading.Event()

    def crash(point: str) -> None:
        if point == "workflow.before_commit" and not made.is_set():
            made.set()
            assert commit.wait(10)

    monkeypatch.setattr(faults, "crash", crash)
    with ThreadPoolExecutor(2) as pool:
        starts = pool.submit(run, world, org.id, first.task_id)
        assert made.wait(10)
        world.advance(hours=1)
        world.dispatch()
        [signal] = [task for task in world.rows(TASKS) if "signal" in task.payload["items"][0]]
        cancels = pool.submit(run, world, org.id, signal.task_id)
        assert wait_until(lambda: world.one("SELECT count(*) FROM pg_locks WHERE NOT granted") == 1, 10)
        commit.set()
        starts.result(10)
        cancels.result(10)
    run_all(world)
    assert ledger(world, job) == [("run", "cancelled"), ("run", None)]
    assert [one.status for one in started(world)] == ["cancelled", "running"]


def test_the_jobs_time_limit_is_the_instances(world: World, org: Org) -> None:
    job = org.job(None, **starting(publish(org, DAY), timeout_seconds=600))
    world.dispatch()
    run_all(world)
    world.advance(seconds=601)
    run_all(world)
    [instance] = started(world)
    assert (instance.status, instance.error["code"]) == ("failed", "TIMEOUT")
    assert ledger(world, job) == [("run", "failure")]


def test_jitter_delays_the_start(world: World, org: Org) -> None:
    org.job(None, due_for=timedelta(0), **starting(publish(org, NOOP), jitter_seconds=3_600))
    assert world.dispatch().runs == 1
    run_all(world)
    assert started(world) == []
    world.advance(hours=1)
    run_all(world)
    assert len(started(world)) == 1


def test_a_run_whose_workers_all_died_before_its_instance_was_made_is_lost(world: World, org: Org) -> None:
    job = org.job(None, **starting(publish(org, NOOP)))
    world.dispatch()
    died = """
        UPDATE cmis.tasks SET state = 'running', attempt = 5, attempt_id = task_id, lease_owner = 'gone',
               lease_expires_at = now() - interval '1 s', fence = 0 WHERE kind = 'run_workflow'"""
    world.meddle(died)
    assert reap(world.scheduler) == 1
    assert ledger(world, job) == [("run", "lost")]
    assert started(world) == []


def test_a_run_that_somebody_cancelled_with_its_task_is_cancelled(world: World, org: Org) -> None:
    job = org.job(None, **starting(publish(org, NOOP)))
    world.dispatch()
    asked = """
        UPDATE cmis.tasks SET state = 'running', cancel_requested = true, lease_owner = 'gone',
               lease_expires_at = now() - interval '1 s' WHERE kind = 'run_workflow'"""
    world.meddle(asked)
    assert reap(world.scheduler) == 1
    assert ledger(world, job) == [("run", "cancelled")]


def document(**fields: Any) -> dict[str, Any]:
    return {"workflow": "report", "cron_expression": "0 9 * * 1", **fields}


def test_a_job_is_made_of_a_workflow_by_name_or_id_and_has_its_time(world: World, org: Org) -> None:
    template = publish(org, NOOP, name="report")
    job = define_jobs.create_job(world.app, org.context, document())
    assert (job.target_type, job.template_id, job.name, job.timeout_seconds) == ("workflow", template, "report", None)
    by_id = {"target_type": "workflow", "template_id": str(template), "workflow": None, "timeout_seconds": 60}
    other = define_jobs.create_job(world.app, org.context, document(**by_id, name="other"))
    assert (other.template_id, other.timeout_seconds) == (template, 60)


@pytest.mark.parametrize(
    ("fields", "problem"),
    [
        ({"workflow": "none"}, "there is no workflow 'none'"),
        ({"workflow": None, "target_type": "workflow"}, "workflow: is required"),
        ({"rule": "rule"}, "rule: means nothing here: the job starts a workflow"),
        ({"campaign": "x"}, "campaign: means nothing here"),
        ({"target_type": "rule"}, "workflow: means nothing here: the job runs a rule"),
        ({"workflow": "draft"}, "the workflow 'draft' is draft"),
        ({"workflow": "theirs"}, "there is no workflow 'theirs'"),
        ({"timeout_seconds": 0}, "timeout_seconds"),
    ],
)
def test_a_job_of_no_workflow_that_can_start_is_refused(
    world: World, org: Org, fields: dict[str, Any], problem: str
) -> None:
    publish(org, NOOP, name="report")
    publish(org, NOOP, name="draft", status="draft")
    publish(world.org("other"), NOOP, name="theirs", is_public=True)
    with pytest.raises(InputError, match=problem):
        define_jobs.create_job(world.app, org.context, document(**fields))


def test_a_job_is_given_another_target_and_back(world: World, org: Org) -> None:
    template = publish(org, NOOP, name="report")
    rule = org.rule(name="rule")
    job = define_jobs.create_job(world.app, org.context, {"rule": "rule", "cron_expression": "@daily"})
    changed = define_jobs.update_job(world.app, org.context, job.job_id, {"workflow": "report"})
    assert (changed.target_type, changed.template_id, changed.rule_id) == ("workflow", template, None)
    assert (changed.timeout_seconds, changed.revision) == (None, job.revision + 1)
    limited = define_jobs.update_job(world.app, org.context, job.job_id, {"timeout_seconds": 90})
    assert limited.timeout_seconds == 90
    back = define_jobs.update_job(world.app, org.context, job.job_id, {"rule": "rule"})
    assert (back.target_type, back.template_id, back.rule_id) == ("rule", None, rule)
    assert back.timeout_seconds == 300
    audited = world.rows("SELECT after FROM cmis.automation_audit_log WHERE action = 'job_updated' ORDER BY created_at")
    assert audited[0].after["template_id"] == str(template)


def test_a_job_of_an_archived_workflow_may_change_but_is_not_resumed(world: World, org: Org) -> None:
    publish(org, NOOP, name="report")
    job = define_jobs.create_job(world.app, org.context, document())
    control_jobs.pause_job(world.app, org.context, job.job_id)
    world.meddle("UPDATE cmis.workflow_templates SET status = 'archived'")
    assert define_jobs.update_job(world.app, org.context, job.job_id, {"jitter_seconds": 5}).jitter_seconds == 5
    with pytest.raises(ConflictError, match="its workflow 'report' is archived"):
        control_jobs.resume_job(world.app, org.context, job.job_id)


def test_a_run_by_hand_starts_an_instance_in_the_persons_name(world: World, org: Org) -> None:
    publish(org, NOOP, name="report")
    job = define_jobs.create_job(world.app, org.context, document(execution_context={"a": 1}))
    queued = run_now.run_job(world.app, org.context, job)
    assert (queued.execution_id, queued.instance_id is None) == (None, False)
    run_all(world)
    [instance] = started(world)
    assert (instance.instance_id, instance.origin) == (queued.instance_id, "manual")
    assert (instance.triggered_by, instance.context_data) == (org.context.user_id, {"a": 1})
    ended = run_now.wait_for_run(world.app, org.context, queued, seconds=1)
    assert ended is not None
    assert (ended.outcome, ended.instance_id) == ("success", queued.instance_id)
    [entry] = world.rows("SELECT details FROM cmis.automation_audit_log WHERE action = 'job_triggered'")
    assert entry.details["instance_id"] == str(queued.instance_id)


def test_a_backfill_starts_an_instance_for_each_time_once(world: World, org: Org) -> None:
    publish(org, NOOP, name="report")
    job = define_jobs.create_job(world.app, org.context, document(cron_expression="@daily"))
    now = world.now()
    for queued in (3, 0):
        done = backfill.backfill_job(world.app, org.context, job.job_id, now - timedelta(days=3), now, per_minute=6_000)
        assert (done.queued, done.planned) == (queued, 3)
    world.advance(minutes=1)
    run_all(world)
    assert [one.origin for one in started(world)] == ["backfill"] * 3
    assert ledger(world, job.job_id) == [("run", "success")] * 3
