"""Pages of tasks: what is meant by the filters, in order, once; and read by index, however long the queue is."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

import psycopg
import pytest
from sqlalchemy import BindParameter, text

from engine.control_tasks.discard import discard
from engine.store import publishing, task_lists
from engine.store.task_lists import Wanted
from models.enums import TaskState
from tests.unit.workflows.documents import noop
from tests.world import World

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from uuid import UUID

    from sqlalchemy import TextClause

    from dev.provider import Servers
    from tests.integration.control_tasks.conftest import Operator
    from tests.receiver.web import Receiver
    from tests.stepping import Flow
    from tests.world import Org

_MANY = 30_000
_FILL = """
INSERT INTO cmis.tasks (org_id, task_id, kind, queue, payload, state, run_at, publish_at, created_at, finished_at)
SELECT %(org)s, cmis.uuid_v7(t), 'evaluate_rules', 'rules', '{"groups": []}',
       CASE WHEN n %% 1000 = 0 THEN 'dead' WHEN n %% 3 = 0 THEN 'succeeded' ELSE 'ready' END, t, t, t,
       CASE WHEN n %% 1000 = 0 OR n %% 3 = 0 THEN t END
  FROM cmis.clock() t CROSS JOIN generate_series(1, %(n)s) n
"""

_WAITING = text("""
SELECT task_id FROM cmis.tasks WHERE org_id = :org_id AND state = 'ready' AND published_at IS NULL ORDER BY ctid
""")


def ids(org: Org, wanted: Wanted, **page: Any) -> list[UUID]:
    with org.world.app.transaction(org.context) as connection:
        return [row.task_id for row in task_lists.page(connection, org.id, wanted, limit=100, **page)]


def test_dead_letters_are_listed_until_somebody_has_dealt_with_them(world: World, org: Org, operator: Operator) -> None:
    dead, done, ready = (world.enqueue({org.id: [org.rule()]}) for _ in range(3))
    world.run(org.id, done)
    operator.die_of(dead)
    assert ids(org, Wanted()) == [dead]
    assert ids(org, Wanted(states=[TaskState.READY, TaskState.SUCCEEDED])) == [ready, done]

    operator.do(discard, dead, "seen to")

    assert ids(org, Wanted()) == []
    assert ids(org, Wanted(states=[TaskState.DEAD])) == [dead]
    assert ids(org, Wanted(states=[TaskState.DEAD], unhandled=True)) == []
    assert ids(org, Wanted(states=[TaskState.DEAD, TaskState.READY], unhandled=True)) == [ready]
    assert ids(world.org("other"), Wanted(states=list(TaskState))) == []


def test_filters_know_whose_a_task_is(
    world: World, org: Org, flow: Flow, receiver: Receiver, operator: Operator
) -> None:
    org.campaign()
    other, rule = org.rule(), org.rule(actions=[{"type": "trigger_webhook", "params": _hook(receiver)}])
    world.enqueue({org.id: [other]})
    evaluated = world.enqueue({org.id: [rule]})
    world.run(org.id, evaluated)
    [delivery] = ids(org, Wanted(states=[TaskState.READY], kinds=["deliver"]))
    job = org.hourly(other, hours_due=1)
    world.dispatch()
    instance = flow.start(flow.publish(noop("a")))
    everything: Sequence[TaskState] = list(TaskState)

    assert ids(org, Wanted(states=everything, rule_id=rule)) == [delivery, evaluated]
    assert len(ids(org, Wanted(states=everything, job_id=job))) == 1
    assert len(ids(org, Wanted(states=everything, instance_id=instance))) == 1
    assert ids(org, Wanted(states=everything, queue="actions")) == [delivery]
    operator.die_of(delivery)
    assert (ids(org, Wanted(code="LOST")), ids(org, Wanted(code="TIMEOUT"))) == ([delivery], [])
    now = world.now()
    assert ids(org, Wanted(since=now + timedelta(seconds=1))) == []
    assert ids(org, Wanted(until=now + timedelta(seconds=1))) == [delivery]


def _hook(receiver: Receiver) -> dict[str, Any]:
    return {"url": f"{receiver.url}/hook", "signing_secret": "secret://signing"}


def test_pages_hold_every_task_once_in_order(world: World, org: Org) -> None:
    made = sorted((world.enqueue({org.id: [org.rule()]}) for _ in range(5)), reverse=True)
    wanted = Wanted(states=[TaskState.READY, TaskState.HELD])
    with world.app.transaction(org.context) as connection:
        first = task_lists.page(connection, org.id, wanted, limit=2)
        second = task_lists.page(connection, org.id, wanted, limit=10, after=first[-1].task_id)
    assert [row.task_id for row in [*first, *second]] == made


@pytest.fixture(scope="module")
def long_queue(server: Servers) -> Iterator[tuple[World, Org]]:
    """Give the module's last test two orgs that have flooded the queue; nobody checks the invariants afterwards."""
    with server.clone() as site:
        world = World.open(site)
        org = world.org()
        for one in (org, world.org("flooding")):
            world.meddle(_FILL, org=one.id, n=_MANY)
        with psycopg.connect(site.urls.migration, autocommit=True) as connection:
            connection.execute("ANALYZE cmis.tasks")
        yield world, org
        world.close()


@pytest.mark.parametrize(
    "wanted",
    [
        Wanted(),
        Wanted(code="LOST"),
        Wanted(states=[TaskState.READY, TaskState.RUNNING]),
        Wanted(states=[TaskState.HELD], kinds=["deliver"], queue="actions"),
        Wanted(states=[TaskState.FAILED, TaskState.DEAD], unhandled=True),
        Wanted(states=[TaskState.HELD, TaskState.DEAD], unhandled=True),
    ],
    ids=["dead letters", "of a code", "ready or running", "held deliveries", "failed or dead", "dead or held"],
)
def test_a_page_of_a_long_queue_reads_an_index_and_no_more_than_it_shows(
    long_queue: tuple[World, Org], wanted: Wanted
) -> None:
    world, org = long_queue
    query, values = task_lists.statement(org.id, wanted, limit=51)
    with world.app.transaction(org.context) as connection:
        explained = explaining(query)
        plan = connection.execute(explained, values).scalar_one()
    nodes = list(_nodes(plan[0]["Plan"]))
    read = [node for node in nodes if node.get("Relation Name") == "tasks"]
    assert {node["Node Type"] for node in read} <= {"Index Scan", "Index Only Scan", "Bitmap Heap Scan"}
    assert sum(node["Actual Rows"] * node["Actual Loops"] for node in read) <= 51


def test_what_stands_before_a_task_in_a_flood_is_counted_by_index_up_to_a_bound(
    long_queue: tuple[World, Org],
) -> None:
    world, org = long_queue
    bound = 1_000
    with world.app.transaction(org.context) as connection:
        waiting = connection.execute(_WAITING, {"org_id": org.id}).scalars().all()
        first, last = waiting[0], waiting[-1]
        counted = [
            publishing.ahead(connection, org.id, task_id, bound=bound) for task_id in (first, *waiting[5:7], last)
        ]
        values = {"org_id": org.id, "task_id": last, "bound": bound}
        plan = connection.execute(explaining(publishing.AHEAD), values).scalar_one()
    assert counted == [0, 5, 6, bound]
    read = [node for node in _nodes(plan[0]["Plan"]) if node.get("Relation Name") == "tasks"]
    assert {node["Index Name"] for node in read[1:]} == {"tasks_turns"}
    assert sum(node["Actual Rows"] * node["Actual Loops"] for node in read) <= bound + 2


def explaining(query: TextClause) -> TextClause:
    """Return a statement that explains another one, and takes the same values."""
    explained = text(f"EXPLAIN (ANALYZE, FORMAT JSON) {query.text}")
    return explained.bindparams(*(one for one in _parameters(query)))


def _parameters(query: TextClause) -> list[BindParameter[Any]]:
    return [one for one in query.get_children() if isinstance(one, BindParameter)]


def _nodes(plan: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield plan
    for one in plan.get("Plans", ()):
        yield from _nodes(one)
