"""No statement on a partitioned table looks into more than two months of it, whatever else the table holds."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy import text

from core import clock
from core.db import Database
from core.ids import uuid7, uuid7_time
from engine.store import (
    acted,
    audit,
    connectors,
    delayed,
    dispatch,
    executions,
    jobs,
    occurrences,
    optimizations,
    remembered,
    tasks,
)
from tests.integration.isolation.conftest import two_orgs
from tests.integration.isolation.visits import counting_visits

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from sqlalchemy import Connection

    from dev.provider import Servers
    from tests.factories import Tenant
    from tests.integration.isolation.conftest import Tenants


@pytest.fixture(scope="module")
def tenants(server: Servers) -> Iterator[Tenants]:
    """Not before the middle of a month: what looks back by thirty days looks into two of them, and not into three."""
    with two_orgs(server, timedelta(days=max(0, 15 - datetime.now(UTC).day))) as made:
        yield made


def occurrence(tenant: Tenant, **values: Any) -> dict[str, Any]:
    return {"job_id": tenant.job_id, "origin": "schedule", "scheduled_for": tenant.scheduled_for} | values


def _insert_executions(connection: Connection, tenant: Tenant, now: datetime) -> None:
    row = {
        "execution_id": uuid7(now),
        "rule_id": tenant.rule_id,
        "rule_version": 1,
        "trigger": "manual",
        "status": "success",
        "attempt": 1,
        "actions_executed": [],
        "results": {},
        "context": {},
    }
    executions.insert(connection, tenant.org_id, tenant.task_id, [row], [{}], now=now)


def _claim_and_finish(connection: Connection, tenant: Tenant, now: datetime) -> None:
    claimed = tasks.claim(connection, tenant.org_id, tenant.task_id, worker="test", now=now)
    assert claimed is not None
    assert tasks.finish(connection, claimed, "succeeded", now=now)


def _claim_and_retry(connection: Connection, tenant: Tenant, now: datetime) -> None:
    claimed = tasks.claim(connection, tenant.org_id, tenant.task_id, worker="test", now=now)
    assert claimed is not None
    assert tasks.retry(connection, claimed, after=timedelta(seconds=1), now=now, error={})


def _list_audit(connection: Connection, tenant: Tenant, now: datetime) -> None:
    since = now - timedelta(days=30)
    assert audit.listing(connection, tenant.org_id, since=since, until=now, matching={}, limit=50)


def _list_executions(connection: Connection, tenant: Tenant, now: datetime) -> None:
    since = now - timedelta(days=1)
    assert executions.listing(connection, tenant.org_id, since=since, rule_id=tenant.rule_id, status="success")


def _finish_occurrences(connection: Connection, tenant: Tenant, now: datetime) -> None:
    occurrences.finish(connection, tenant.org_id, [occurrence(tenant, outcome="success")], now=now)


def _insert_new_runs(connection: Connection, tenant: Tenant, now: datetime) -> None:
    run = {"execution_id": uuid7(now), "task_id": uuid7(now), "actor_id": tenant.admin_id, "job_revision": 1}
    rows = [occurrence(tenant, origin="backfill", **run), occurrence(tenant, origin="backfill", **run)]
    assert occurrences.insert_new_runs(connection, tenant.org_id, rows, now=now) == {run["task_id"]}
    assert occurrences.insert_new_runs(connection, tenant.org_id, rows, now=now) == set()


def _insert_skipped(connection: Connection, tenant: Tenant, now: datetime) -> None:
    hour = tenant.scheduled_for + timedelta(hours=1)
    gone = {"scheduled_for": hour, "until": hour, "count": 1, "previous": tenant.scheduled_for, "job_revision": 1}
    row = {"job_id": tenant.job_id, "decision": "paused"} | gone
    occurrences.insert_skipped(connection, tenant.org_id, [row], now=now)


def _page_of_a_ledger(connection: Connection, tenant: Tenant, now: datetime) -> None:
    key = (connection, tenant.org_id, tenant.job_id, now - timedelta(days=7), now)
    assert occurrences.between(*key, decision=None, limit=10)
    assert occurrences.last_planned(*key)


def _uncounted_runs(connection: Connection, tenant: Tenant, _now: datetime) -> None:
    times = {"open_from": tenant.scheduled_for, "last_run_for": tenant.scheduled_for}
    jobs.change(connection, tenant.org_id, tenant.job_id, times)
    job = jobs.lock(connection, tenant.org_id, tenant.job_id)
    assert occurrences.first_open(connection, job) == tenant.scheduled_for


def _pause_notes(connection: Connection, tenant: Tenant, now: datetime) -> None:
    jobs.pause(connection, tenant.org_id, tenant.job_id, note="first", now=now)
    jobs.renote(connection, tenant.org_id, tenant.job_id, note="second", now=now)
    found = audit.pause_notes(connection, tenant.org_id, tenant.job_id, now - timedelta(days=7))
    assert [row.note for row in found] == ["first"]


def _delayed_actions(connection: Connection, tenant: Tenant, now: datetime) -> None:
    key = {"org_id": tenant.org_id, "execution_id": tenant.execution_id, "task_id": uuid7(uuid7_time(tenant.action_id))}
    assert delayed.queued(connection, **key) == []
    assert [row.entity_id for row in delayed.before(connection, **key)] == [tenant.campaign_id]
    row = {"action_id": tenant.action_id, "status": "failed", "before": {}, "after": {}, "error": {}}
    assert delayed.finish(connection, tenant.org_id, key["task_id"], [row], now=now) == 0


def _settle_an_execution(connection: Connection, tenant: Tenant, now: datetime) -> None:
    reopened = "UPDATE cmis.automation_executions SET status = 'running', finished_at = NULL WHERE execution_id = :id"
    connection.execute(text(reopened), {"id": tenant.execution_id})
    assert delayed.settle(connection, tenant.org_id, tenant.execution_id, now=now) == "success"


def _pushes(connection: Connection, tenant: Tenant, now: datetime) -> None:
    """Ask which of two pushes waits, one of which was approved long after it was made."""
    connector = {"connector_id": str(uuid7(now))}
    long_ago, made = uuid7(now - timedelta(days=200)), uuid7(now)
    rows: list[Any] = [
        SimpleNamespace(action_id=long_ago, entity_id=tenant.campaign_id, params=connector, after={"version": 3}),
        SimpleNamespace(action_id=made, entity_id=tenant.campaign_id, params=connector, after={"version": 4}),
    ]
    assert connectors.earlier_open(connection, tenant.org_id, rows, now=now) == {}
    assert connectors.of_actions(connection, tenant.org_id, [made, tenant.action_id]) == {}


def _optimizations(connection: Connection, tenant: Tenant, now: datetime) -> None:
    assert optimizations.tally(connection, tenant.org_id, [tenant.execution_id])
    [row] = optimizations.listing(connection, tenant.org_id, since=now - timedelta(days=30), limit=2)
    assert optimizations.executions_of(connection, row) == []


STATEMENTS: dict[str, Callable[[Connection, Tenant, datetime], object]] = {
    "insert executions": _insert_executions,
    "list executions of a day": _list_executions,
    "get an execution": lambda c, t, _: executions.get(c, t.org_id, t.execution_id),
    "effects of an execution": lambda c, t, _: executions.actions_of(c, t.org_id, t.execution_id),
    "what rules remember": lambda c, t, _now: remembered.read(c, t.org_id, [t.rule_id]),
    "actions after a delay": _delayed_actions,
    "the end of an execution": _settle_an_execution,
    "effects that wait": lambda c, t, now: acted.waiting(c, t.org_id, t.rule_id, t.campaign_id, now=now),
    "optimisations": _optimizations,
    "pushes and their order": _pushes,
    "finish occurrences": _finish_occurrences,
    "move occurrences": lambda c, t, now: occurrences.move(c, t.org_id, [occurrence(t, task_id=uuid7(now))]),
    "record runs that are new": _insert_new_runs,
    "record times that do not run": _insert_skipped,
    "a week of a job's ledger": _page_of_a_ledger,
    "runs that no scheduler has counted": _uncounted_runs,
    "notes of a job's pauses": _pause_notes,
    "claim and finish a task": _claim_and_finish,
    "claim and retry a task": _claim_and_retry,
    "list the audit log of 30 days": _list_audit,
    "performance of the rules": lambda c, _, __: c.execute(text("SELECT * FROM cmis.v_automation_performance")).all(),
}


@pytest.mark.parametrize("name", STATEMENTS)
def test_a_statement_visits_at_most_two_months(tenants: Tenants, name: str) -> None:
    with tenants.app.transaction(tenants.north.context) as connection:
        now = clock.now(connection)
        with counting_visits(connection) as visited:
            STATEMENTS[name](connection, tenants.north, now)
        connection.rollback()
    assert {parent: sorted(names) for parent, names in visited.items() if len(names) > 2} == {}


@pytest.mark.parametrize(
    ("query", "expected"),
    [("SELECT count(*) FROM cmis.automation_executions", 6), ("SELECT count(*) FROM cmis.tasks", 0)],
)
def test_the_count_of_visits_is_not_blind(tenants: Tenants, query: str, expected: int) -> None:
    with tenants.app.transaction(tenants.north.context) as connection:
        with counting_visits(connection) as visited:
            connection.execute(text(query))
        assert len(visited["automation_executions"]) == expected


MANY_JOBS = text("""
WITH jobs AS (
  INSERT INTO cmis.scheduled_jobs (org_id, job_id, name, rule_id, schedule_type, cron_expression, anchor_at,
                                   next_run_at, last_run_for, open_from, owner_id, created_at, updated_at)
  SELECT org_id, gen_random_uuid(), 'job ' || n, rule_id, 'cron', '* * * * *', now(),
         now(), now(), now(), owner_id, now(), now()
    FROM cmis.scheduled_jobs, generate_series(1, :jobs) n
  RETURNING org_id, job_id)
INSERT INTO cmis.occurrences (org_id, job_id, origin, scheduled_for, until, count, job_revision, decision, execution_id,
                              task_id, decided_at)
SELECT org_id, job_id, 'schedule', now() - n * interval '5 days', now() - n * interval '5 days', 1, 1, 'run',
       gen_random_uuid(), gen_random_uuid(), now()
  FROM jobs, generate_series(0, 10) n
""")
THEIR_OWNERS_DIED = text("""
WITH carried AS (
  SELECT j.org_id, cmis.uuid_v7(now()) AS task_id, jsonb_build_object('groups', jsonb_build_array(jsonb_build_object(
           'org_id', j.org_id, 'items', jsonb_build_array(jsonb_build_object('rule_id', j.rule_id,
             'execution_id', cmis.uuid_v7(now()), 'job_id', j.job_id, 'origin', 'schedule',
             'scheduled_for', j.last_run_for, 'trigger', 'schedule'))))) AS payload
    FROM cmis.scheduled_jobs j WHERE j.last_run_for IS NOT NULL)
INSERT INTO cmis.tasks (org_id, task_id, kind, queue, payload, state, run_at, attempt, fence, attempt_id, lease_owner,
                        lease_expires_at, created_at)
SELECT c.org_id, c.task_id, 'evaluate_rules', 'rules', c.payload, 'running', now(), 5, 1,
       (SELECT a.attempt_id FROM cmis.task_attempts a WHERE a.org_id = c.org_id LIMIT 1), 'worker',
       clock_timestamp() - interval '1 hour', now()
  FROM carried c
""")


@pytest.fixture
def many_jobs(tenants: Tenants, request: pytest.FixtureRequest) -> Iterator[Connection]:
    """Open a transaction as the superuser over many due jobs with a past; it is rolled back."""
    superuser = Database(tenants.site.urls.migration, variable="MIGRATION_DATABASE_URL", application="tests")
    with superuser.transaction(None) as connection:
        connection.execute(MANY_JOBS, {"jobs": request.param})
        for table in ("occurrences", "scheduled_jobs", "task_attempts", "tasks"):
            connection.execute(text(f"ANALYZE cmis.{table}"))
        yield connection
        connection.rollback()
    superuser.close()


@pytest.mark.parametrize("many_jobs", [1, 250], indirect=True)
def test_claiming_due_jobs_looks_into_no_month_but_their_last_ones(many_jobs: Connection) -> None:
    many_jobs.execute(text("SET LOCAL ROLE cmis_scheduler"))
    with counting_visits(many_jobs) as visited:
        claimed = dispatch.claim_due_jobs(many_jobs, 500)
    assert len(claimed) > 1
    assert {row.outcomes for row in claimed} == {"open"}
    assert len(visited["occurrences"]) <= 2


@pytest.mark.parametrize("many_jobs", [1, 250], indirect=True)
def test_reaping_looks_into_no_month_but_those_of_its_tasks(many_jobs: Connection) -> None:
    many_jobs.execute(THEIR_OWNERS_DIED)
    many_jobs.execute(text("SET LOCAL ROLE cmis_scheduler"))
    with counting_visits(many_jobs) as visited:
        reaped = dispatch.reap(many_jobs, 50)
    assert {row.state for row in reaped} == {"dead"}
    assert {parent: sorted(names) for parent, names in visited.items() if len(names) > 2} == {}
    many_jobs.execute(text("RESET ROLE"))
    lost = many_jobs.execute(text("SELECT count(*) FROM cmis.occurrences WHERE outcome = 'lost'")).scalar_one()
    assert lost == len(reaped) > 0
