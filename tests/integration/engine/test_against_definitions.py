"""The ledger against the definitions: what is lost at the beginning of one, what waits for a wrong time or for none."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final

import pytest

from engine import dispatch, invariants
from engine.control_jobs import pause_job, resume_job
from engine.define_jobs import update_job
from tests.integration.engine.ledgers import Job, add_job
from tests.world import World

if TYPE_CHECKING:
    from collections.abc import Iterator

    from dev.site import Site
    from tests.world import Org

LATER: Final = "UPDATE cmis.scheduled_jobs SET next_run_at = next_run_at + interval '1 min'"
ENDED: Final = "UPDATE cmis.scheduled_jobs SET status = 'completed', next_run_at = NULL"


@pytest.fixture
def world(database: Site) -> Iterator[World]:
    """Give the test a world whose invariants it breaks; nobody looks at them afterwards."""
    opened = World.open(database)
    yield opened
    opened.close()


def broken(world: World) -> dict[str, tuple[str, ...]]:
    return {one.name: one.offenders for one in invariants.check(world.reader, drained=False) if one.offenders}


def found(world: World, *statements: str) -> str:
    """Break what held, if told how, and return what the check against the definitions says; no other check sees it."""
    assert not statements or broken(world) == {}
    for statement in statements:
        assert world.meddle(statement), statement
    [[(name, offenders)]] = [broken(world).items()]
    assert name == "the ledger holds exactly the planned times of each job's definition"
    [said] = offenders
    return said


def run(job: Job, *, minutes: int) -> None:
    for _ in range(minutes):
        job.org.world.advance(minutes=1)
        job.org.world.dispatch()
        job.org.world.run_all()


LOST: Final = "is not the first planned time after"
"""What is said where a scheduler was made to pass by a definition's first planned time, which is then in no row."""


def passed_by(world: World) -> str:
    found(world, LATER)
    world.advance(minutes=2)
    world.dispatch()
    world.run_all()
    return found(world)


def test_a_new_jobs_first_planned_time_is_missed(org: Org, world: World) -> None:
    add_job(org)
    assert LOST in passed_by(world)


def test_a_changed_jobs_first_planned_time_is_missed(org: Org, world: World) -> None:
    job = add_job(org, timezone="UTC")
    run(job, minutes=1)
    update_job(world.app, org.context, job.id, {"timezone": "Europe/Berlin"})
    assert LOST in passed_by(world)
    assert [row.job_revision for row in job.ledger] == [1, 2]


def test_the_first_time_after_another_rule_was_given_is_missed_too(org: Org, world: World) -> None:
    job = add_job(org)
    run(job, minutes=1)
    update_job(world.app, org.context, job.id, {"rule": str(org.rule(name="other"))})
    assert LOST in passed_by(world)
    assert [row.job_revision for row in job.ledger] == [1, 2]


def test_a_job_that_was_never_due_waits_for_its_first_time(org: Org, world: World) -> None:
    add_job(org)
    assert "is not the time after" in found(world, LATER)


def test_a_once_job_that_is_late_already_waits_for_its_only_time(org: Org, world: World) -> None:
    add_job(org, schedule_type="once", start_date=(world.now() - timedelta(minutes=5)).isoformat())
    assert "is not the time after" in found(world, LATER)


def test_a_changed_job_waits_for_the_first_time_of_its_new_definition(org: Org, world: World) -> None:
    job = add_job(org)
    run(job, minutes=2)
    update_job(world.app, org.context, job.id, {"cron_expression": "*/2 * * * *"})
    assert "is not the time after" in found(world, LATER)


def test_a_job_that_comes_back_waits_for_the_next_time(org: Org, world: World) -> None:
    job = add_job(org)
    for catch_up in (False, True):
        pause_job(world.app, org.context, job.id)
        world.advance(minutes=3)
        resume_job(world.app, org.context, job.id, catch_up=catch_up)
        assert broken(world) == {}
    assert "is not the time after" in found(world, LATER)


@pytest.mark.parametrize("minutes", [0, 2])
def test_a_job_that_still_fires_is_not_completed(org: Org, world: World, minutes: int) -> None:
    run(add_job(org, max_executions=3), minutes=minutes)
    assert "it is completed and waits for no time, but fires after" in found(world, ENDED)


def test_a_job_is_completed_at_its_limit_or_when_its_schedule_ends(org: Org, world: World) -> None:
    limited = add_job(org, name="limited", max_executions=2)
    end = (world.now() + timedelta(seconds=90)).isoformat()
    ending = add_job(org, name="ending", end_date=end)
    run(limited, minutes=3)
    assert (limited.status, ending.status) == ("completed", "completed")
    assert broken(world) == {}
    assert world.meddle("UPDATE cmis.scheduled_jobs SET max_executions = 3 WHERE name = 'limited'")
    assert len(broken(world)) == 1


def test_a_buffered_time_is_no_reason_to_wait_for_no_other(org: Org, world: World) -> None:
    add_job(org, overlap="buffer_one")
    for _ in range(2):
        world.advance(minutes=1)
        world.dispatch()
    said = found(world, "UPDATE cmis.scheduled_jobs SET next_run_at = NULL")
    assert "it is active and waits for no time, but fires after" in said


def test_a_paused_jobs_next_time_is_nobodys_and_a_failed_jobs_definition_may_be_nonsense(
    org: Org, world: World
) -> None:
    job = add_job(org)
    pause_job(world.app, org.context, job.id)
    assert world.meddle(LATER)
    assert broken(world) == {}
    nonsense = "UPDATE cmis.scheduled_jobs SET timezone = 'Mars/Base', status = '{}'"
    assert world.meddle(nonsense.format("failed"))
    assert broken(world) == {}
    assert "its planned times cannot be computed" in found(world, nonsense.format("active"))


def test_what_is_between_two_batches_of_a_long_past_holds(
    org: Org, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A job may then wait for a planned time that its own policies skip."""
    monkeypatch.setattr(dispatch, "COMPUTED", 1)
    monthly: dict[str, Any] = {"frequency": "monthly", "day_of_month": "31", "time_of_day": "09:00"}
    job = add_job(org, **monthly, month_end="skip")
    world.advance(days=400)
    waited = set()
    while world.dispatch().jobs:
        waited.add((job.row.next_run_at or world.now()).day)
        assert broken(world) == {}
    assert waited > {31}
    assert {"run", "misfired", "month_end_skipped"} >= {decision for decision, _ in job.decisions}
