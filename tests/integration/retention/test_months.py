"""Months older than is kept are dropped, whole; nothing open goes with them, and what was counted stays counted."""

from __future__ import annotations

from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final, LiteralString

import psycopg
import pytest

from dev.launch import wait_until
from engine import approve, backfill, invariants, upkeep
from engine.store import maintenance
from tests.integration.engine.guarding import held_action
from tests.world import NOTIFY

if TYPE_CHECKING:
    from tests.stepping import Flow
    from tests.world import Org, World

NOOP: Final[dict[str, Any]] = {"id": "only", "type": "action", "config": {"callable": "cmis.noop"}}
WAITS: Final[dict[str, Any]] = {"id": "wait", "type": "delay", "config": {"days": 150}}
RAISE: Final = [{"type": "increase_budget", "params": {"percent": 1}}]
EXECUTIONS: Final = "automation_executions"
MONTH: Final = 30.5
KEPT: Final = (
    "automation_executions",
    "automation_actions",
    "occurrences",
    "workflow_instances",
    "workflow_steps",
    "tasks",
)
_MONTHS: Final = """
SELECT p.relname, count(*) FILTER (WHERE c.relname ~ '_[0-9]{6}$') AS n FROM pg_inherits i
  JOIN pg_class p ON p.oid = i.inhparent JOIN pg_class c ON c.oid = i.inhrelid
 WHERE p.relnamespace = 'cmis'::regnamespace AND p.relkind = 'p' GROUP BY 1"""
_WAITS: Final = """
SELECT count(*) FROM pg_locks WHERE NOT granted AND mode = 'AccessExclusiveLock'
   AND relation = 'cmis.automation_executions'::regclass"""


def as_owner(world: World, statement: LiteralString) -> None:
    with psycopg.connect(world.site.urls.migration) as connection:
        connection.execute(statement)


def keep_three_months(world: World) -> None:
    as_owner(world, "UPDATE cmis.retention SET work_months = 3, workflow_months = 3")


def maintain(world: World) -> dict[str, Any]:
    return upkeep.keep_up(world.app, lambda: None)


def rows(world: World, table: str) -> int:
    count: int = world.one(f"SELECT count(*) FROM cmis.{table}")
    return count


def broken(world: World) -> dict[str, Any]:
    return {one.name: one.offenders for one in invariants.check(world.reader, drained=False) if one.offenders}


def test_seventeen_months_go_by_and_the_tables_hold_what_is_kept(flow: Flow) -> None:
    """Each month a rule acts, a job has planned times, a workflow runs; from the fourteenth on one goes for each."""
    world, org = flow.world, flow.org
    began = world.now()
    rule_id, template = org.rule(actions=RAISE), flow.publish(NOOP)
    org.hourly(org.rule(actions=NOTIFY), hours_due=1, misfire="skip")
    sizes = []
    for month in range(17):
        org.campaign()  # with yesterday's numbers, which the rule acts on
        org.evaluate(rule_id)
        world.dispatch()
        flow.evaluate()
        flow.start(template)
        flow.run()
        assert maintain(world)["held"] == []
        sizes.append(Counter({table: rows(world, table) for table in KEPT}))
        if month == 1:
            assert broken(world) == {}
        world.advance(days=MONTH)
    dropped = maintain(world)["dropped"]
    assert broken(world) == {}
    now = world.now()
    months = (now.year - began.year) * 12 + now.month - began.month
    made = dict.fromkeys(maintenance.MONTHLY, months + 2 + 1 + 3)
    kept = 13 + 1 + 3
    assert {row.relname: row.n for row in world.rows(_MONTHS)} == dict.fromkeys(made, kept) | {
        "automation_audit_log": made["automation_audit_log"]
    }
    assert len({name.rsplit("_", 1)[0] for name in dropped} - {"automation_audit_log"}) == len(dropped)
    assert max(sizes[16].values()) < 3 * 16
    for table in KEPT:
        assert 0 < sizes[16][table] <= sizes[14][table] + sizes[0][table] < 17 * sizes[0][table], table
    [rule] = world.rows("SELECT success_count FROM cmis.automation_rules WHERE rule_id = :id", id=rule_id)
    [gone] = world.rows("SELECT success FROM cmis.retired_executions WHERE rule_id = :id", id=rule_id)
    left = world.one("SELECT count(*) FROM cmis.automation_executions WHERE rule_id = :id", id=rule_id)
    assert (rule.success_count, gone.success + left) == (17, 17)
    assert 13 <= left <= 14
    assert world.one("SELECT usage_count FROM cmis.workflow_templates") == 17


def test_a_month_that_an_effect_waits_in_is_not_dropped_until_it_is_decided(world: World, org: Org) -> None:
    keep_three_months(world)
    _, action = held_action(org)
    world.advance(days=6 * MONTH)
    [executions, actions] = maintain(world)["held"]
    assert f"action {action} of org {org.id} is held" in executions
    assert "its executions are there still" in actions
    assert rows(world, "automation_actions") == 1
    approve.reject(world.app, org.context, action)
    world.advance(days=8)
    assert maintain(world)["held"] == []
    assert (rows(world, EXECUTIONS), rows(world, "automation_actions")) == (0, 0)


def test_a_month_in_which_a_run_is_open_keeps_its_planned_times(world: World, org: Org) -> None:
    keep_three_months(world)
    org.campaign()
    org.job(org.rule(actions=NOTIFY))
    world.dispatch()
    world.advance(days=6 * MONTH)
    [executions, *_, occurrences] = maintain(world)["held"]
    assert "has yet to write execution" in executions
    assert "is open" in occurrences
    world.run_all()
    world.advance(days=8)
    assert maintain(world)["held"] == []
    assert rows(world, "occurrences") == 0
    assert broken(world) == {}


def test_a_run_goes_after_what_was_forked_of_it(flow: Flow) -> None:
    world = flow.world
    keep_three_months(world)
    template = flow.publish(NOOP)
    first, second = flow.start(template), flow.start(template)
    flow.run()
    with psycopg.connect(world.site.urls.migration) as connection:
        connection.execute("SET LOCAL session_replication_role = replica")
        forked = "UPDATE cmis.workflow_instances SET forked_from = %s WHERE instance_id = %s"
        assert connection.execute(forked, [first, second]).rowcount == 1
    assert maintain(world)["runs"] == 0
    world.advance(days=4 * MONTH)
    assert maintain(world)["runs"] == 1
    assert flow.instance(first).status == "completed"
    assert broken(world) == {}
    assert maintain(world)["runs"] == 1
    assert rows(world, "workflow_steps") == 0
    assert broken(world) == {}


def test_an_effect_of_a_run_that_is_under_way_holds_its_month(flow: Flow) -> None:
    world = flow.world
    keep_three_months(world)
    flow.org.campaign()
    told = {"action": "notify", "params": {"message": "look"}}
    run = flow.play({"id": "tell", "type": "action", "config": told, "next": "wait"}, WAITS)
    assert flow.instance(run).status == "running"
    world.advance(days=6 * MONTH)
    [held] = [one for one in maintain(world)["held"] if one.startswith("automation_actions")]
    assert f"run {run} of org {flow.org.id} is running" in held
    flow.run()
    assert flow.instance(run).status == "completed"
    assert [one for one in maintain(world)["held"] if one.startswith("automation_actions")] == []
    assert broken(world) == {}


def test_a_table_in_use_is_waited_for_a_moment_and_its_month_goes_later(world: World, org: Org) -> None:
    keep_three_months(world)
    org.campaign()
    org.evaluate(org.rule())
    world.advance(days=6 * MONTH)
    with psycopg.connect(world.site.urls.readonly) as reader:
        reader.execute("SELECT count(*) FROM cmis.automation_executions")
        done = maintain(world)
        assert [one for one in done["held"] if one.startswith(EXECUTIONS)] == [
            f"{_oldest(world, EXECUTIONS)}: the table is in use"
        ]
        assert rows(world, EXECUTIONS) == 1
        assert rows(world, "retired_executions") == 0
    assert maintain(world)["held"] == []
    assert rows(world, EXECUTIONS) == 0


def test_a_row_that_changes_between_counting_and_dropping_is_counted_again(world: World, org: Org) -> None:
    keep_three_months(world)
    org.campaign()
    rule_id = org.rule()
    org.evaluate(rule_id)
    as_owner(world, "ALTER FUNCTION cmis.retire_partition(text) SET lock_timeout = '60s'")
    world.advance(days=6 * MONTH)
    while (step := _step(world)).outcome != "watched" or not step.partition.endswith(_month_of_the_row(world)):
        assert step.outcome in ("watched", "dropped")
    counter = "UPDATE cmis.automation_rules SET success_count = 0, failure_count = 1"
    with psycopg.connect(world.site.urls.migration) as other, ThreadPoolExecutor(1) as pool:
        other.execute("UPDATE cmis.automation_executions SET status = 'failure'")
        other.execute(counter)
        dropping = pool.submit(_step, world)
        assert wait_until(lambda: world.one(_WAITS) == 1, 50)
        other.commit()
        step = dropping.result()
    assert (step.outcome, step.reason) == ("busy", "its rows were changed meanwhile")
    assert rows(world, "retired_executions") == 0
    assert _step(world).outcome == "dropped"
    [gone] = world.rows("SELECT success, failure FROM cmis.retired_executions")
    assert (gone.success, gone.failure) == (0, 1)
    assert rows(world, EXECUTIONS) == 0


@pytest.mark.exhaustive
def test_planned_times_of_the_far_past_go_with_the_months_that_follow_them(world: World, org: Org) -> None:
    """A job that comes back after most of a year decides times that have no month of their own: its chain holds."""
    keep_three_months(world)
    org.campaign()
    behind = "cmis.occurrences_default"
    first = world.now().replace(minute=0, second=0, microsecond=0) - timedelta(days=300)
    times: dict[str, Any] = {
        "cron_expression": "*/5 * * * *",
        "start_date": None,
        "anchor_at": first - timedelta(minutes=5),
        "created_at": first - timedelta(minutes=5),
    }
    org.job(org.rule(actions=NOTIFY), schedule_type="cron", misfire="skip", next_run_at=first, **times)
    while world.dispatch().jobs:
        world.run_all()
    place = "SELECT count(*) FROM cmis.occurrences WHERE tableoid = CAST(:place AS regclass)"
    assert 0 < world.one(place, place=behind) < rows(world, "occurrences")
    assert maintain(world)["planned"] == 0
    assert broken(world) == {}
    world.advance(days=2 * MONTH)
    while world.dispatch().jobs:
        world.run_all()
    assert any(name.startswith("occurrences") for name in maintain(world)["dropped"])
    assert world.one(place, place=behind) == 0
    assert rows(world, "occurrences") > 0
    assert broken(world) == {}


def test_a_backfill_of_the_far_past_is_kept_as_long_as_what_was_decided_with_it(world: World, org: Org) -> None:
    keep_three_months(world)
    org.campaign()
    job, before = org.hourly(org.rule(actions=NOTIFY), hours_due=0), world.now() - timedelta(days=300)
    backfill.backfill_job(world.app, org.context, job, before, before + timedelta(hours=3))
    while world.one("SELECT count(*) FROM cmis.occurrences WHERE outcome IS NULL"):
        world.advance(minutes=1)
        world.run_all()
    backfilled = rows(world, "occurrences")
    assert maintain(world)["planned"] == 0
    world.advance(days=5 * MONTH)
    assert maintain(world)["planned"] == backfilled > 0
    assert broken(world) == {}


def _step(world: World) -> Any:
    with world.app.transaction(None) as connection:
        return maintenance.retire_partition(connection, EXECUTIONS)


def _oldest(world: World, table: str) -> str:
    names = world.rows(
        "SELECT c.relname FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid "
        "WHERE i.inhparent = CAST(:parent AS regclass) AND c.relname ~ '_[0-9]{6}$' ORDER BY 1 LIMIT 1",
        parent=f"cmis.{table}",
    )
    return str(names[0].relname)


def _month_of_the_row(world: World) -> str:
    return str(world.one("SELECT right(tableoid::regclass::text, 6) FROM cmis.automation_executions"))
