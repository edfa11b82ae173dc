"""Partitions are made whatever else fails, keep nobody waiting for long, and bring a system back that lacks them."""

from __future__ import annotations

from contextlib import closing
from typing import TYPE_CHECKING, LiteralString

import psycopg
import pytest
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError, OperationalError

from engine import partitions, rescue, upkeep
from engine.dispatch import Dispatcher
from engine.store import maintenance
from scheduler.duties import Duties
from tests.world import NOTIFY

if TYPE_CHECKING:
    from celery import Celery
    from sqlalchemy import Connection

    from tests.world import Org, World

TABLES = len(maintenance.MONTHLY)
_AGE = "SELECT xmin FROM pg_class WHERE oid = 'cmis.occurrences_default'::regclass"


def as_owner(world: World, statement: LiteralString) -> None:
    with psycopg.connect(world.site.urls.migration) as connection:
        connection.execute(statement)


def missing(world: World) -> list[maintenance.Missing]:
    with world.app.transaction(None) as connection:
        return maintenance.missing_partitions(connection)


@pytest.fixture
def months_off(world: World) -> World:
    """Let five months go by in which nothing runs: unlike tests' own clock, this one makes no partitions."""
    as_owner(world, "UPDATE cmis.clock_offset SET shift = shift + '5 months'")
    assert len(missing(world)) == 5 * TABLES
    return world


def test_a_scheduler_alone_brings_a_system_back_after_five_months(world: World, org: Org, celery: Celery) -> None:
    del celery
    org.campaign()
    rule_id = org.rule(actions=NOTIFY)
    job_id = org.hourly(rule_id, hours_due=0, misfire="once")
    as_owner(world, "UPDATE cmis.clock_offset SET shift = shift + '5 months'")
    with pytest.raises(DBAPIError, match="no partition of relation"):
        org.evaluate(rule_id)
    with closing(Duties(world.scheduler, Dispatcher(world.scheduler))) as duties:
        duties.run()
        assert duties.resting.keys() <= {"_serve_broker"}
    assert {one.ahead for one in missing(world)} == {-1, 2, 3}
    for org_id, task_id in world.rows("SELECT org_id, task_id FROM cmis.tasks WHERE kind = 'evaluate_rules'"):
        assert world.run(org_id, task_id)
    ran = "SELECT count(*) FROM cmis.occurrences WHERE job_id = :id AND decision = 'run' AND outcome IS NOT NULL"
    assert world.one(ran, id=job_id) == 1
    ended = "SELECT count(*) FROM cmis.automation_executions WHERE rule_id = :id AND finished_at IS NOT NULL"
    assert world.one(ended, id=rule_id) == 2
    done = rescue.maintain(world.app, world.one("SELECT task_id FROM cmis.tasks WHERE kind = 'maintain'"), worker="w")
    assert done is not None
    assert (done["partitions"], "failed" in done) == (3 * TABLES, False)
    assert missing(world) == []


def test_every_month_of_the_ledger_has_room_for_what_is_written_again(months_off: World) -> None:
    partitions.make_due(months_off.scheduler)
    months = months_off.rows("""
        SELECT c.relname, c.reloptions FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid
         WHERE i.inhparent = 'cmis.occurrences'::regclass
    """)
    assert len(months) > 6
    assert {name: options for name, options in months if options != ["fillfactor=50"]} == {}


def test_upkeep_makes_the_partition_that_its_own_claim_needs(world: World) -> None:
    as_owner(world, "UPDATE cmis.clock_offset SET shift = shift + '5 months'")
    assert rescue.enqueue_maintenance(world.scheduler)
    task_id = world.one("SELECT task_id FROM cmis.tasks")
    assert rescue.maintain(world.app, task_id, worker="worker") is not None
    assert world.task(task_id).state == "succeeded"
    assert missing(world) == []


def test_planned_times_in_use_are_waited_for_a_moment_and_all_else_is_done(months_off: World) -> None:
    world = months_off
    first = next(one for one in missing(world) if one.relation == "occurrences")
    with psycopg.connect(world.site.urls.readonly) as reader:
        reader.execute("SELECT count(*) FROM cmis.occurrences")
        result = upkeep.keep_up(world.app, lambda: None)
        assert result["failed"] == {first.partition: "canceling statement due to lock timeout"}
        assert result["partitions"] == 5 * (TABLES - 1)
        assert "purged" in result
        assert {one.relation for one in missing(world)} == {"occurrences"}
    again = upkeep.keep_up(world.app, lambda: None)
    assert (again["partitions"], "failed" in again) == (5, False)


def test_a_month_that_cannot_be_made_keeps_no_other_from_being_made(months_off: World) -> None:
    world = months_off
    spoilt = next(one for one in missing(world) if one.relation == "automation_audit_log")
    with psycopg.connect(world.site.urls.migration) as connection:
        connection.execute(f"CREATE DOMAIN cmis.{spoilt.partition} AS integer")
    result = upkeep.keep_up(world.app, lambda: None)
    assert list(result["failed"]) == [spoilt.partition]
    assert "already exists" in result["failed"][spoilt.partition]
    assert missing(world) == [spoilt]


def test_only_what_is_missing_can_be_made(world: World) -> None:
    [other] = world.rows("SELECT (cmis.clock() + interval '4 months')::date AS month")
    with world.scheduler.transaction(None) as connection:
        assert not maintenance.add_partition(connection, maintenance.Missing("task_attempts", other.month, 4))
        assert not maintenance.add_partition(connection, maintenance.Missing("tasks", other.month, 0))
    assert partitions.make_due(world.scheduler) == partitions.Made()


def test_security_stays_forced_on_planned_times_where_none_has_to_move(months_off: World) -> None:
    before = months_off.one(_AGE)
    assert partitions.make_all(months_off.app, lambda: None).count == 5 * TABLES
    assert months_off.one(_AGE) == before


def test_a_table_whose_month_cannot_be_dropped_keeps_no_other_from_going(world: World) -> None:
    as_owner(world, "UPDATE cmis.retention SET work_months = 3, workflow_months = 3")
    oldest = world.one(
        "SELECT min(relname) FROM pg_class WHERE relispartition AND relname ~ '^automation_executions_[0-9]{6}$'"
    )
    with psycopg.connect(world.site.urls.migration) as connection:
        connection.execute(f"CREATE VIEW public.report AS SELECT FROM cmis.{oldest}")
    try:
        world.advance(days=183)
        result = upkeep.keep_up(world.app, lambda: None)
    finally:
        as_owner(world, "DROP VIEW public.report")
    assert list(result["failed"]) == ["automation_executions"]
    assert "cannot drop table" in result["failed"]["automation_executions"]
    assert {name[:-7] for name in result["dropped"]} == {"task_attempts", "occurrences"}
    assert "automation_executions" not in upkeep.keep_up(world.app, lambda: None).get("failed", {})


def test_a_lost_connection_ends_the_upkeep(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    def cut(connection: Connection, _table: str) -> None:
        connection.execute(text("SELECT pg_terminate_backend(pg_backend_pid())"))

    monkeypatch.setattr(maintenance, "retire_partition", cut)
    with pytest.raises(OperationalError):
        upkeep.keep_up(world.app, lambda: None)
