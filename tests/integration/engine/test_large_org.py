"""What an evaluation writes costs by what it is about, and not by how much its org has."""

from __future__ import annotations

from contextlib import closing
from typing import TYPE_CHECKING, Any, Final

import psycopg
import pytest
from psycopg import sql
from sqlalchemy import text

from core.db import ENGINE_ACTOR, Context, Database
from core.ids import uuid7
from engine.store import executions, occurrences, rules
from tests.integration.engine.bulk import bulk

if TYPE_CHECKING:
    from uuid import UUID

    from sqlalchemy import Connection

    from tests.world import Org, World

MANY: Final = 3_000
FEW: Final = 30
PREPARED: Final = 12
"""So often a statement is sent until the server keeps its plan."""
READ: Final = text("""
SELECT coalesce(sum(pg_stat_get_xact_tuples_returned(c.oid)), 0)::bigint FROM pg_class c
 WHERE c.relnamespace = 'cmis'::regnamespace AND c.relkind IN ('r', 'i') AND c.relname LIKE :names
""")
COUNTED: Final = text("SELECT success_count FROM cmis.automation_rules WHERE rule_id = :rule_id")
OUTCOME: Final = text("""
SELECT outcome FROM cmis.occurrences WHERE job_id = :job_id AND origin = :origin AND scheduled_for = :scheduled_for
""")


def worker(world: World) -> Database:
    """Connect as workers do, with plans for all values."""
    return Database(world.site.urls.app, variable="DATABASE_URL", application="tests", pool_size=1, by_key=True)


def analyze(world: World, table: str) -> None:
    with psycopg.connect(world.site.urls.migration, autocommit=True) as administrator:
        administrator.execute(sql.SQL("VACUUM ANALYZE cmis.{}").format(sql.Identifier(table)))


def read(connection: Connection, names: str) -> int:
    """Return how many entries of such tables and their indexes the transaction has read."""
    return int(connection.execute(READ, {"names": names}).scalar_one())


def executed(rule_id: UUID, execution_id: UUID) -> dict[str, Any]:
    nothing: dict[str, Any] = {"results": {}, "context": {}, "actions_executed": []}
    ran = {"status": "success", "trigger": "manual", "attempt": 1, "rule_version": 1, "duration_ms": 0}
    return {"rule_id": rule_id, "execution_id": execution_id} | ran | nothing


@pytest.mark.parametrize("others", [0, 40])
def test_of_a_large_orgs_rules_the_one_that_ran_is_read(world: World, org: Org, others: int) -> None:
    for n in range(others):  # most orgs are small: a plan for all of them knows that
        world.org(f"small {n}").rule()
    bulk(org, rules=MANY, jobs=1)
    rule_id, now, cost = org.rule(), world.now(), 0
    analyze(world, "automation_rules")
    with closing(worker(world)) as database:
        for _ in range(PREPARED):
            with database.rehearsal(Context(org.id, ENGINE_ACTOR)) as connection:
                rules.lock(connection, org.id, [rule_id])
                before = read(connection, "automation_rules%")
                executions.insert(connection, org.id, uuid7(now), [executed(rule_id, uuid7(now))], [{}], now=now)
                cost = read(connection, "automation_rules%") - before
                assert connection.execute(COUNTED, {"rule_id": rule_id}).scalar_one() == 1
    assert 0 < cost < FEW


@pytest.mark.parametrize("with_execution", [True, False])
def test_of_a_large_orgs_planned_times_the_one_that_ended_is_read(
    world: World, org: Org, *, with_execution: bool
) -> None:
    bulk(org, rules=10, jobs=MANY)
    while world.dispatch().more:
        pass
    analyze(world, "occurrences")
    one, *others = world.rows("SELECT job_id, origin, scheduled_for, execution_id, task_id FROM cmis.occurrences")
    assert len(others) == MANY - 1
    rule_id = world.one("SELECT rule_id FROM cmis.scheduled_jobs WHERE job_id = :job_id", job_id=one.job_id)
    key = {"job_id": one.job_id, "origin": one.origin, "scheduled_for": one.scheduled_for}
    ended, now, cost = key | {"outcome": "success"}, world.now(), 0
    with closing(worker(world)) as database:
        for _ in range(PREPARED):
            with database.rehearsal(Context(org.id, ENGINE_ACTOR)) as connection:
                before = read(connection, "occurrences%")
                if with_execution:
                    row = executed(rule_id, one.execution_id) | ended
                    executions.insert(connection, org.id, one.task_id, [row], [{}], now=now)
                else:
                    occurrences.finish(connection, org.id, [ended], now=now)
                cost = read(connection, "occurrences%") - before
                assert connection.execute(OUTCOME, key).scalar_one() == "success"
    assert 0 < cost < FEW
