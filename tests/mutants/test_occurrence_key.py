"""Two people start the same job at the very same moment: that moment runs once, and one of them is told so."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

from core.errors import ConflictError
from engine import run_now
from engine.find import find_job
from tests.mutants.conftest import whole_and_mutant
from tests.mutants.mutations import change_function, without_occurrence_key

if TYPE_CHECKING:
    from uuid import UUID

    from tests.world import Org, World

DOUBLED = """
SELECT count(*) FROM (SELECT FROM cmis.occurrences GROUP BY org_id, job_id, origin, scheduled_for HAVING count(*) > 1) x
"""


def stop_the_clock(world: World) -> None:
    """Let it be the same moment for everybody, as it is on a machine whose clock is coarse."""
    change_function(world.site, "clock", "clock_timestamp() + shift", f"timestamptz '{world.now().isoformat()}'")


def start(org: Org, job_id: UUID) -> bool:
    """Start a job by hand; False if somebody was told that it runs already."""
    with org.world.app.transaction(org.context) as connection:
        job = find_job(connection, org.id, job_id)
    try:
        run_now.run_job(org.world.app, org.context, job)
    except ConflictError:
        return False
    return True


@whole_and_mutant
def test_a_moment_of_a_job_runs_once(world: World, mutant: bool) -> None:  # noqa: FBT001
    org = world.org()
    org.campaign()
    job_id = org.hourly(org.rule(), hours_due=0)
    stop_the_clock(world)
    if mutant:
        without_occurrence_key(world.site)

    with ThreadPoolExecutor(2) as people:
        started = list(people.map(lambda _: start(org, job_id), range(2)))

    world.run_all()
    doubled, runs = world.one(DOUBLED), world.one("SELECT count(*) FROM cmis.automation_executions")
    assert (sorted(started), doubled, runs) == (([True, True], 1, 2) if mutant else ([False, True], 0, 1))
