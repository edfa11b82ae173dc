"""Three schedulers, killed with SIGKILL at random while thousands of jobs fall due: each planned time exactly once."""

from __future__ import annotations

import logging
import os
import random
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy import text

from core.clock import monotonic
from core.db import Database
from dev.clock import advance_clock
from dev.fleet import Fleet, fleet
from dev.launch import wait_until
from engine import invariants
from engine.store import activity
from tests.acceptance.load import DueOrg, create_due_org, create_jobs

if TYPE_CHECKING:
    from datetime import datetime
    from pathlib import Path

    from dev.site import Site

logger = logging.getLogger(__name__)

ONCE = 6_000
MINUTELY = 500
SECONDS = 20
SCHEDULERS = 3
ORGS = 10
# besides the kills from outside, schedulers die at the worst places: around the commit, and before the publish
FAULTS = "dispatch.before_commit=0.02,dispatch.committed=0.02,publish.marked=0.02"
_RUNS = text("""
SELECT count(*) AS jobs, count(o.job_id) AS runs, count(DISTINCT o.job_id) AS once, count(e.execution_id) AS executions
  FROM cmis.scheduled_jobs j LEFT JOIN cmis.occurrences o USING (org_id, job_id)
  LEFT JOIN cmis.automation_executions e ON e.org_id = o.org_id AND e.execution_id = o.execution_id
 WHERE j.schedule_type = 'once' AND (o.decision = 'run' OR o.decision IS NULL)
""")
_MINUTES = text("""
SELECT o.scheduled_for, count(*) AS runs, count(DISTINCT o.job_id) AS jobs FROM cmis.occurrences o
  JOIN cmis.scheduled_jobs j USING (org_id, job_id) WHERE j.schedule_type = 'cron' AND o.decision = 'run'
 GROUP BY 1 ORDER BY 1
""")


@pytest.mark.exhaustive
def test_no_planned_time_is_lost_or_doubled_though_three_schedulers_are_killed_at_random(
    database: Site, tmp_path: Path
) -> None:
    seed = int(os.environ.get("CMIS_FAULTS_SEED", random.SystemRandom().getrandbits(32)))
    logger.warning("CMIS_FAULTS_SEED=%d repeats this run", seed)
    env = database.full_env() | {"CMIS_FAULTS": FAULTS, "CMIS_FAULTS_SEED": str(seed), "CMIS_TEST_CLOCK": "1"}
    reader = Database(database.urls.readonly, variable="READONLY_DATABASE_URL", application="test")
    app = Database(database.urls.app, variable="DATABASE_URL", application="test")
    with fleet(1, SCHEDULERS, env, tmp_path) as running:
        begin = _half_a_minute_to_go(database)
        first_minute = begin.replace(second=0, microsecond=0) + timedelta(minutes=1)
        orgs = _create(app, begin + timedelta(seconds=3), first_minute)
        _kill_at_random(running, random.Random(seed))  # noqa: S311 - which one is killed
        kills = sum(not member.is_alive() for member in running.schedulers)
        assert wait_until(lambda: _drained(running, reader), 120), [m.log.read_text()[-2000:] for m in running.members]
        _pause(app, orgs)
        assert wait_until(lambda: _drained(running, reader), 60)
    app.close()
    with reader.snapshot() as connection:
        once = connection.execute(_RUNS).one()
        minutes = connection.execute(_MINUTES).all()
    assert tuple(once) == (ONCE, ONCE, ONCE, ONCE)
    assert kills >= SECONDS // 4
    assert [(runs, jobs) for _, runs, jobs in minutes] == [(MINUTELY, MINUTELY)] * len(minutes)
    expected = [first_minute + timedelta(minutes=n) for n in range(len(minutes))]
    assert [minute for minute, _, _ in minutes] == expected != []
    assert {check.name: check.offenders for check in invariants.check(reader, drained=True) if check.offenders} == {}
    reader.close()


def _half_a_minute_to_go(database: Site) -> datetime:
    """Move the product's clock so that a minute turns in the midst of the kills; returns its time."""
    step = timedelta(seconds=(60 - SECONDS // 2 - advance_clock(database.urls.migration, timedelta(0)).second) % 60)
    return advance_clock(database.urls.migration, step)


def _create(app: Database, begin: datetime, first_minute: datetime) -> list[DueOrg]:
    """Make jobs that fire once, evenly over the time of the kills, and jobs that fire each minute."""
    begin = begin.replace(microsecond=0)
    cron: dict[str, Any] = {
        "schedule_type": "cron",
        "cron_expression": "* * * * *",
        "start_date": None,
        "anchor_at": first_minute - timedelta(minutes=1),
        "next_run_at": first_minute,
        "overlap": "allow",
    }
    orgs = [create_due_org(app, f"org {number}", rules_=10, jobs_per_rule=0) for number in range(ORGS)]
    for org in orgs:
        once: list[dict[str, Any]] = [
            {"start_date": begin + timedelta(seconds=SECONDS * n * ORGS // ONCE)} for n in range(ONCE // ORGS)
        ]
        jobs = [*once, *([cron] * (MINUTELY // ORGS))]
        with app.transaction(org.context) as connection:
            create_jobs(connection, org.context, [(org.rule_ids[n % 10], job) for n, job in enumerate(jobs)])
    return orgs


def _kill_at_random(running: Fleet, chance: random.Random) -> None:
    """Kill a scheduler every second or two, and start another."""
    ends = monotonic() + SECONDS
    while monotonic() < ends:
        pause = monotonic() + chance.uniform(0.5, 2.0)
        wait_until(lambda pause=pause: monotonic() > pause, 5)  # type: ignore[misc]
        alive = [member for member in running.schedulers if member.is_alive()]
        if alive:
            chance.choice(alive).kill()
        _replace_the_dead(running)


def _replace_the_dead(running: Fleet) -> None:
    """Start a new process for each that died, as any supervisor would."""
    for kind, wanted in (("worker", 1), ("scheduler", SCHEDULERS)):
        for _ in range(wanted - sum(member.kind == kind and member.is_alive() for member in running.members)):
            running.start(kind)


def _drained(running: Fleet, reader: Database) -> bool:
    _replace_the_dead(running)
    with reader.snapshot() as connection:
        return activity.pending(connection) == 0 and connection.execute(_RUNS).one().executions == ONCE


def _pause(app: Database, orgs: list[DueOrg]) -> None:
    """Let no further minute fall due, so that all work ends."""
    for org in orgs:
        with app.transaction(org.context) as connection:
            connection.execute(text("UPDATE cmis.scheduled_jobs SET status = 'paused' WHERE status = 'active'"))
