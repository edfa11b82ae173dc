"""Two workers and two schedulers at once, some killed with SIGKILL: nothing is lost, nothing happens twice."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from sqlalchemy import text

from core.db import Database
from dev.fleet import Fleet, fleet
from dev.launch import wait_until
from engine import invariants
from engine.store import activity
from tests.acceptance.load import create_due_org

if TYPE_CHECKING:
    from pathlib import Path

    from dev.site import Site

JOBS = 2_000
KILLS = 4
FLEET = 2
_EVALUATED = text("SELECT count(*) FROM cmis.automation_executions")
_ONCE = text("""
SELECT count(*) AS jobs, count(e.execution_id) AS executions, count(DISTINCT e.job_id) AS evaluated
  FROM cmis.scheduled_jobs j LEFT JOIN cmis.automation_executions e USING (org_id, job_id)
""")
_ACTED = text("SELECT count(*) FROM cmis.automation_executions WHERE rule_id = :rule_id AND acted_on IS NOT NULL")


@pytest.mark.exhaustive
def test_2000_due_jobs_are_each_evaluated_exactly_once_though_processes_are_killed(
    database: Site, tmp_path: Path
) -> None:
    app = Database(database.urls.app, variable="DATABASE_URL", application="test")
    limited = create_due_org(app, "limited", rules_=1, jobs_per_rule=50, max_executions_per_day=3)
    for number in range(13):
        create_due_org(app, f"org {number}", rules_=15, jobs_per_rule=10)
    app.close()
    reader = Database(database.urls.readonly, variable="READONLY_DATABASE_URL", application="test")
    # besides the kills from outside, processes die at the worst places: around the commit, and before the publish
    faults = {"CMIS_FAULTS": "rules.before_commit=0.1x1,rules.committed=0.1x1,publish.marked=0.1x1"}
    with fleet(FLEET, FLEET, database.full_env() | faults, tmp_path) as running:
        _kill_some(running, reader)
        assert wait_until(lambda: _drained(running, reader), 150), [m.log.read_text()[-2000:] for m in running.members]
    with reader.snapshot() as connection:
        jobs, executions, evaluated = connection.execute(_ONCE).one()
        acted = connection.execute(_ACTED, {"rule_id": limited.rule_ids[0]}).scalar_one()
    assert (jobs, executions, evaluated) == (JOBS, JOBS, JOBS)
    assert acted == 3
    assert {check.name: check.offenders for check in invariants.check(reader, drained=True) if check.offenders} == {}
    reader.close()


def _kill_some(running: Fleet, reader: Database) -> None:
    """Kill a worker or a scheduler each time some more work is done."""
    for kill in range(KILLS):
        goal = 1 + kill * JOBS // (2 * KILLS)
        wait_until(lambda goal=goal: _evaluated(reader) >= goal or _drained(running, reader), 60)  # type: ignore[misc]
        kind = ("worker", "scheduler")[kill % 2]
        next(member for member in running.members if member.kind == kind and member.is_alive()).kill()


def _drained(running: Fleet, reader: Database) -> bool:
    """Start a new process for each that died, as any supervisor would; True once nothing is left to do."""
    for kind in ("worker", "scheduler"):
        if sum(member.kind == kind and member.is_alive() for member in running.members) < FLEET:
            running.start(kind)
    with reader.snapshot() as connection:
        return activity.pending(connection) == 0


def _evaluated(reader: Database) -> int:
    with reader.snapshot() as connection:
        return int(connection.execute(_EVALUATED).scalar_one())
