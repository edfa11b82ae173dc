"""Health is asked for when there is much of everything: it reads what it shows, however long the queue is."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final

import psycopg
import pytest
from sqlalchemy import text

from engine import health
from engine.store import processes
from migrations.migrate import head
from models.enums import Queue
from tests.world import World

if TYPE_CHECKING:
    from collections.abc import Iterator

    from dev.provider import Servers

FILL: Final = """
INSERT INTO cmis.tasks (org_id, task_id, kind, queue, payload, state, run_at, publish_at, published_at, created_at,
                        finished_at)
SELECT %(org)s, gen_random_uuid(), 'evaluate_rules', made.queue, '{}', made.state, c.now + made.due, c.now + made.due,
       c.now + made.published, c.now - interval '1 day', c.now + made.finished
  FROM (SELECT cmis.clock() AS now) c CROSS JOIN (
    SELECT 'rules' AS queue, 'succeeded' AS state, -interval '1 h' AS due, -interval '1 h' AS published,
           interval '0' AS finished FROM generate_series(1, 50000)
    UNION ALL
    SELECT 'rules', 'ready', n * -interval '1 s', NULL, NULL FROM generate_series(1, 15000) n
    UNION ALL
    SELECT 'workflows', 'ready', n * -interval '1 s', interval '0', NULL FROM generate_series(1, 4990) n
    UNION ALL
    SELECT 'workflows', 'ready', interval '1 h', NULL, NULL FROM generate_series(1, 10)) made
"""


@pytest.fixture
def world(server: Servers) -> Iterator[World]:
    """Give the test a database of its own, whose statistics it changes; nobody checks the invariants afterwards."""
    with server.clone() as site:
        opened = World.open(site)
        yield opened
        opened.close()


def scans(plan: dict[str, Any]) -> Iterator[tuple[str, str, float]]:
    """Yield how each table or index of a plan is read, which one, and how many rows that gave."""
    if "Scan" in plan["Node Type"]:
        name = plan.get("Index Name", plan.get("Relation Name", ""))
        yield plan["Node Type"], name, plan["Actual Rows"] * plan["Actual Loops"]
    for inner in plan.get("Plans", ()):
        yield from scans(inner)


def scans_of_tasks(world: World) -> list[tuple[str, str, float]]:
    explained = text(f"EXPLAIN (ANALYZE, FORMAT JSON) {processes._LATE.text}")
    values = {"queues": [queue.value for queue in Queue], "most": processes.MOST}
    with world.reader.snapshot() as connection:
        processes.read_by_index(connection)
        found = connection.execute(explained, values).scalar_one()
    [top] = found
    return [one for one in scans(top["Plan"]) if one[1].startswith("tasks")]


def test_what_is_late_is_found_by_index_among_any_number_of_tasks(world: World) -> None:
    assert world.meddle(FILL, org=world.org().id) == 70_000
    for analyze in (False, True):
        if analyze:
            with psycopg.connect(world.site.urls.migration, autocommit=True) as owner:
                owner.execute("ANALYZE cmis.tasks")
        waiting, published = scans_of_tasks(world)
        assert waiting[:2] == ("Index Scan", "tasks_waiting")
        assert published[:2] == ("Index Scan", "tasks_published")
        assert (waiting[2], published[2]) == pytest.approx((processes.MOST + 10, 4_990), abs=5)
        problems = "\n".join(health.look(world.reader, head(), broker=None, test_clock=False).problems)
        assert "in the queue rules at least 10,000 tasks are due, the oldest for 150" in problems
        assert re.search(r"in the queue workflows 4990 tasks are due, the oldest for [45]\d\d\d s", problems)
