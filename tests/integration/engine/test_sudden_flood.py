"""Statements that were planned while hardly a task was there read no more of them when there are thousands."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import psycopg
import pytest
from sqlalchemy import text

from core import clock
from core.db import ENGINE_ACTOR, Context, Database
from core.ids import uuid7
from engine.store import publishing, tasks

if TYPE_CHECKING:
    from collections.abc import Iterator
    from uuid import UUID

    from sqlalchemy import Connection

    from tests.world import Org, World

FLOOD: Final = 3_000
PREPARED: Final = 12
"""So often a statement is sent until the server keeps its plan."""
READ: Final = text("""
SELECT sum(pg_stat_get_xact_tuples_returned(indexrelid)) + pg_stat_get_xact_tuples_returned(indrelid) FROM pg_index
 WHERE indrelid = 'cmis.tasks'::regclass GROUP BY indrelid
""")
FEW: Final = 60


@pytest.fixture(autouse=True)
def _clean(world: World) -> None:
    """Remove what other tests have left of the tasks that they deleted: it is read, too."""
    with psycopg.connect(world.site.urls.migration, autocommit=True) as connection:
        connection.execute("VACUUM cmis.tasks")


@pytest.fixture
def worker(world: World) -> Iterator[Database]:
    """Connect as workers do, with plans for all values."""
    made = Database(world.site.urls.app, variable="DATABASE_URL", application="tests", pool_size=1, by_key=True)
    yield made
    made.close()


@pytest.fixture
def scheduler(world: World) -> Iterator[Database]:
    """Connect as one scheduler, by one connection."""
    made = Database(
        world.site.urls.scheduler, variable="SCHEDULER_DATABASE_URL", application="tests", pool_size=1, by_key=True
    )
    yield made
    made.close()


def flood(world: World, org: Org) -> list[UUID]:
    now = world.now()
    rows: list[dict[str, Any]] = [
        {"org_id": org.id, "task_id": uuid7(now), "kind": "evaluate_rules", "queue": "rules", "run_at": now}
        | {"payload": {"groups": []}, "attempt": 0}
        for _ in range(FLOOD)
    ]
    with world.app.transaction(Context(org.id, ENGINE_ACTOR)) as connection:
        tasks.insert(connection, rows, now=now)
    return [row["task_id"] for row in rows]


def read(connection: Connection) -> int:
    """Return how many entries of indexes of tasks, and rows in passing, the session has read a moment ago."""
    return int(connection.execute(READ).scalar_one())


def test_a_claim_reads_its_own_row(world: World, org: Org, worker: Database) -> None:
    context = Context(org.id, ENGINE_ACTOR)
    for _ in range(PREPARED):
        with worker.transaction(context) as connection:
            now = clock.now(connection)
            assert tasks.claim(connection, org.id, uuid7(now), worker="worker", now=now) is None
    [one, *_] = flood(world, org)
    with worker.transaction(context) as connection:
        claimed = tasks.claim(connection, org.id, one, worker="worker", now=clock.now(connection))
        assert claimed is not None
        assert 0 < read(connection) < FEW


def test_what_a_scheduler_takes_are_the_rows_that_it_picked(world: World, org: Org, scheduler: Database) -> None:
    nobody = publishing.Picked([org.id], [uuid7(world.now())], None, short=False)
    for _ in range(PREPARED):
        with scheduler.transaction(None) as connection:
            publishing.pick(connection, {"rules": 4}, {}, cap=500)
            assert publishing.take(connection, [nobody], {}).messages == []
    flood(world, org)
    with scheduler.transaction(None) as connection:
        [picked] = publishing.pick(connection, {"rules": 4}, {}, cap=500).values()
        sent = publishing.take(connection, [picked], {}).messages
        assert len(sent) == 4
        assert 0 < read(connection) < FEW
