"""Two branches of a run that end at the same time: whoever comes second must see what the first one wrote."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any, Final

import psycopg

from dev.launch import wait_until
from engine.run_workflow import service
from tests.mutants.conftest import broken, whole_and_mutant
from tests.mutants.mutations import without_instance_lock
from tests.mutants.workers import fork
from tests.posting import Desk
from tests.stepping import Flow

if TYPE_CHECKING:
    from collections.abc import Sequence
    from uuid import UUID

    from dev.site import Site
    from tests.mutants.workers import Worker
    from tests.world import World

IDLE: Final = "no step waits for what is resolved"
STEPS: Final[list[dict[str, Any]]] = [
    {"id": "fan", "type": "split", "config": {"mode": "parallel", "branches": ["left", "right"]}},
    {"id": "left", "type": "delay", "config": {"minutes": 5}, "next": "joined"},
    {"id": "right", "type": "delay", "config": {"minutes": 5}, "next": "joined"},
    {"id": "joined", "type": "merge", "config": {"mode": "all"}},
]
READY: Final = "SELECT task_id FROM cmis.tasks WHERE state = 'ready' AND run_at <= cmis.clock() ORDER BY task_id"
WAITING: Final = "SELECT FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND application_name = 'standing'"


def due_branches(flow: Flow) -> tuple[UUID, Sequence[UUID]]:
    """Start a run, and return it with the tasks of its two branches, which are due."""
    instance_id = flow.start(flow.publish(*STEPS))
    flow.run()
    flow.world.advance(minutes=6)
    return instance_id, [row.task_id for row in flow.world.rows(READY)]


def waits(site: Site) -> bool:
    """Say whether one of the workers waits for a lock of the other."""
    with psycopg.connect(site.urls.migration) as connection:
        return connection.execute(WAITING).fetchone() is not None


@whole_and_mutant
def test_a_merge_sees_both_of_its_branches(world: World, mutant: bool) -> None:  # noqa: FBT001
    flow = Flow(Desk(world.org()))
    instance_id, (left, right) = due_branches(flow)
    mutation = without_instance_lock if mutant else None

    def worker(task_id: UUID, stops_at: str | None) -> Worker:
        run = partial(service.run, org_id=flow.org.id, task_id=task_id, worker="worker", send=lambda _: None)
        return fork(world.site, run, stops_at=stops_at, mutation=mutation)

    first = worker(left, "workflow.before_commit")
    first.wait_until_it_stands()
    second = worker(right, None)
    assert wait_until(lambda: second.has_ended() or waits(world.site), 60)
    first.go_on()

    assert (first.end(), second.end()) == (0, 0)
    flow.run()
    found = broken(world)
    assert (IDLE in found) is mutant, found
    assert (flow.instance(instance_id).status == "completed" and not found) is not mutant, found
