"""The invariants of runs hold after ordinary runs, and each names what breaks it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import psycopg
import pytest

from engine.store import workflow_invariants

if TYPE_CHECKING:
    from tests.stepping import Flow

NOOP: Final[dict[str, Any]] = {"type": "action", "config": {"callable": "cmis.noop"}}
STEPS: Final[list[dict[str, Any]]] = [
    {"id": "split", "type": "split", "config": {"mode": "parallel", "branches": ["left", "right"]}},
    {"id": "left", **NOOP, "next": "joined"},
    {"id": "right", **NOOP, "next": "joined"},
    {"id": "joined", "type": "merge", "config": {"mode": "all"}, "next": "waits"},
    {"id": "waits", "type": "delay", "config": {"days": 1}, "next": "last"},
    {"id": "last", **NOOP},
]
STEP: Final = "UPDATE cmis.workflow_steps SET {} WHERE step_id = '{}'"
RUN: Final = "UPDATE cmis.workflow_instances SET {}"
OVER: Final = RUN.format("status = 'completed', finished_at = cmis.clock()")
TOLD: Final = """
INSERT INTO cmis.automation_audit_log (org_id, created_at, audit_id, action, user_id, entity_type, entity_id, details)
SELECT org_id, {at}, cmis.uuid_v7(created_at), '{action}', user_id, entity_type, entity_id, details
  FROM cmis.automation_audit_log WHERE action = '{like}' AND coalesce(details ->> 'step', 'left') = 'left'"""
DELETED: Final = "DELETE FROM cmis.automation_audit_log WHERE action = '{}'"

ORDER: Final = "no step begins before what leads to it is resolved"
IDLE: Final = "no step waits for what is resolved"
STEP_TOLD: Final = "each end of a step is in the audit log, once"
RUN_TOLD: Final = "each beginning and end of a run is in the audit log, once"
COUNTERS: Final = "a run's counters equal its steps"
RESOLVED: Final = "a run that is over has every step resolved"
PAUSED: Final = "no step begins while its run is paused, or after its end"
OPEN: Final = "a workflow's count of open runs equals its runs"
USED: Final = "a workflow's count of uses equals its runs"
GOES_ON: Final = "a step that is under way has what goes on with it"
UNDER_WAY: Final = "a run that is under way has a step that is, or waits for a person"
LEFT: Final = "a run that is over leaves no timer, and nothing that is held"
BROKEN: Final = [
    (ORDER, STEP.format("started_at = cmis.clock()", "last")),
    (ORDER, STEP.format("finished_at = started_at + interval '1 h'", "left")),
    (ORDER, STEP.format("branch_taken = 'elsewhere'", "split")),
    (IDLE, STEP.format("status = 'pending', started_at = NULL, finished_at = NULL", "joined")),
    (STEP_TOLD, TOLD.format(at="created_at", action="step_completed", like="step_completed")),
    (STEP_TOLD, TOLD.format(at="created_at", action="step_failed", like="step_completed")),
    (STEP_TOLD, DELETED.format("step_completed")),
    (RUN_TOLD, DELETED.format("instance_started")),
    (RUN_TOLD, TOLD.format(at="created_at", action="instance_failed", like="instance_started")),
    (RUN_TOLD, OVER),
    (COUNTERS, RUN.format("steps_completed = steps_completed - 1")),
    (COUNTERS, RUN.format("steps_total = steps_total + 1")),
    (RESOLVED, OVER),
    (PAUSED, TOLD.format(at="created_at - interval '1 min'", action="instance_paused", like="instance_started")),
    (PAUSED, RUN.format("status = 'failed', finished_at = created_at - interval '1 min'")),
    (OPEN, "UPDATE cmis.workflow_templates SET active_instances = active_instances + 1"),
    (USED, "UPDATE cmis.workflow_templates SET usage_count = usage_count - 1"),
    (USED, "INSERT INTO cmis.retired_instances SELECT org_id, template_id, 1 FROM cmis.workflow_templates"),
    (GOES_ON, "UPDATE cmis.tasks SET state = 'cancelled', finished_at = cmis.clock() WHERE state = 'ready'"),
    (GOES_ON, STEP.format("status = 'queued', waits_for = NULL, task_id = org_id", "waits")),
    (
        UNDER_WAY,
        STEP.format("status = 'completed', waits_for = NULL, finished_at = cmis.clock()", "waits")
        + "; UPDATE cmis.tasks SET state = 'cancelled', finished_at = cmis.clock() WHERE state = 'ready'",
    ),
    (LEFT, OVER),
    (LEFT, "UPDATE cmis.tasks SET state = 'held' WHERE state = 'ready'"),
]


def offended(flow: Flow, *statements: str) -> set[str]:
    """Return the checks that find something after these statements, which are then undone."""
    with psycopg.connect(flow.world.site.urls.migration) as connection:
        connection.execute("SET LOCAL session_replication_role = replica")
        for constraint in ("completed", "steps"):
            connection.execute(
                f"ALTER TABLE cmis.workflow_instances DROP CONSTRAINT workflow_instances_{constraint}_check"
            )
        for statement in statements:
            connection.execute(statement)
        found = {name for name, query in workflow_invariants.CHECKS.items() if connection.execute(query).fetchall()}
        connection.rollback()
    return found


def test_each_check_finds_what_breaks_it(flow: Flow) -> None:
    flow.play(*STEPS)
    assert offended(flow) == set()
    assert {name for name, _ in BROKEN} == workflow_invariants.CHECKS.keys()
    for name, statement in BROKEN:
        assert name in offended(flow, statement), statement


@pytest.mark.parametrize(("column", "value"), [("steps_completed", "steps_completed + 1"), ("active_instances", "7")])
def test_runs_that_have_ended_are_checked_too(flow: Flow, column: str, value: str) -> None:
    flow.play({"id": "only", **NOOP})
    table = "workflow_templates" if column == "active_instances" else "workflow_instances"
    assert offended(flow, f"UPDATE cmis.{table} SET {column} = {value}")
