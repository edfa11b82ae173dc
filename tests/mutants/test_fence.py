"""A worker that stood still for longer than its lease must not write under a claim that somebody else has by now."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from engine import rescue
from engine.run_rules import service
from tests.mutants.conftest import broken, whole_and_mutant
from tests.mutants.mutations import without_fence
from tests.mutants.workers import fork

if TYPE_CHECKING:
    from tests.mutants.workers import Worker
    from tests.world import World

ONCE = "a task succeeds at most once, under its last fence"
EXPIRE = "UPDATE cmis.tasks SET lease_expires_at = clock_timestamp() - interval '1 s' WHERE state = 'running'"


def stand_with_a_claim(world: World, mutant: bool) -> tuple[Worker, Worker]:  # noqa: FBT001 - a test's parameter
    """Let a worker claim a task, stand still until it is taken from it, and a second one claim it and stand, too."""
    org = world.org()
    org.campaign()
    task_id = world.enqueue({org.id: [org.rule()]})
    world.meddle("UPDATE cmis.tasks SET delivery = 2")  # so that the claim is committed alone

    def claimed(name: str) -> Worker:
        run = partial(service.run, org_id=org.id, task_id=task_id, worker=name)
        made = fork(world.site, run, stops_at="rules.claimed", mutation=without_fence if mutant else None)
        made.wait_until_it_stands()
        return made

    zombie = claimed("zombie")
    world.meddle(EXPIRE)
    assert rescue.reap(world.scheduler) == 1
    return zombie, claimed("successor")


@whole_and_mutant
def test_a_zombie_writes_nothing(world: World, mutant: bool) -> None:  # noqa: FBT001
    zombie, successor = stand_with_a_claim(world, mutant)

    for worker in (zombie, successor):
        worker.go_on()
        worker.end()

    found = broken(world)
    assert (ONCE in found) is mutant, found
    assert bool(found) is mutant, found
