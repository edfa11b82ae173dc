"""A child of a worker dies of its task: it is tried again in seconds, although its lease lasts for half a minute."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING

import pytest

from dev.fleet import fleet
from dev.launch import wait_until
from engine import invariants
from engine.store.tasks import LEASE_SECONDS

if TYPE_CHECKING:
    from pathlib import Path
    from typing import Any
    from uuid import UUID

    from dev.site import Site
    from tests.world import World


def _attempts(world: World, task_id: UUID) -> Any:
    query = "SELECT started_at, worker, outcome FROM cmis.task_attempts WHERE task_id = :id ORDER BY fence"
    return world.rows(query, id=task_id)


@pytest.mark.exhaustive
@pytest.mark.parametrize("point", ["rules.claimed", "rules.before_commit"])
def test_a_task_that_kills_each_child_is_tried_again_within_seconds_and_its_worker_lives(
    world: World, database: Site, tmp_path: Path, point: str
) -> None:
    org = world.org()
    org.campaign()
    task_id = world.enqueue({org.id: [org.rule()]})
    with fleet(1, 1, database.full_env() | {"CMIS_FAULTS": f"{point}=1x1"}, tmp_path) as running:
        worker = running.workers[0]
        if point == "rules.claimed":  # which only a claim that is committed alone passes
            world.meddle("UPDATE cmis.tasks SET delivery = delivery + 1 WHERE state = 'ready'")
        assert wait_until(lambda: world.task(task_id).state == "dead", 5 * LEASE_SECONDS), worker.log.read_text()[
            -3000:
        ]
        assert worker.is_alive()
    made = _attempts(world, task_id)
    assert [one.outcome for one in made] == ["lost"] * 5
    assert len({one.worker for one in made}) == 5
    between = [(after.started_at - before.started_at).total_seconds() for before, after in pairwise(made)]
    assert max(between) < LEASE_SECONDS, "nobody waited for a lease to end"
    assert "its lease ends now" in worker.log.read_text()
    assert {one.name: one.offenders for one in invariants.check(world.reader, drained=True) if one.offenders} == {}
