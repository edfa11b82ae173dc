"""Workflows that are published at once, and their tasks run as workers run them: what tests of their starts share."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING, Any

from sqlalchemy import insert

import models
from core import clock
from core.ids import uuid7
from engine.run_workflow import service

if TYPE_CHECKING:
    from collections.abc import Sequence
    from uuid import UUID

    from engine.run_workflow.work import Result
    from tests.world import Org, World

NOOP: dict[str, Any] = {
    "id": "look",
    "type": "action",
    "config": {"callable": "cmis.noop", "params": {"seen": "{{ context }}"}},
}
DAY: dict[str, Any] = {"id": "rest", "type": "delay", "config": {"days": 1}}
"""A step after which an instance is open for a day."""
FAILS: dict[str, Any] = {"id": "fail", "type": "action", "config": {"callable": "nobody.knows", "params": {}}}


def publish(org: Org, *steps: dict[str, Any], name: str = "workflow", **columns: Any) -> UUID:
    """Make an active workflow of these steps, one after another, and return its template's id."""
    chained = [{**step, "next": after["id"]} for step, after in pairwise(steps)]
    definition = {"steps": [*chained, steps[-1]]}
    with org.world.app.transaction(org.context) as connection:
        now = clock.now(connection)
        template_id = uuid7(now)
        template = {"org_id": org.id, "template_id": template_id, "definition": definition, "version": 1}
        given = {"name": name, "category": "campaign", "status": "active", "owner_id": org.context.user_id}
        times = {"created_at": now, "updated_at": now}
        connection.execute(insert(models.WorkflowTemplate), template | given | times | columns)
        version = {"steps": len(steps), "published_by": org.context.user_id, "published_at": now}
        connection.execute(insert(models.WorkflowTemplateVersion), template | version)
    return template_id


def started(world: World) -> Sequence[Any]:
    """Return all instances, the oldest first."""
    return world.rows("SELECT * FROM cmis.workflow_instances ORDER BY created_at, instance_id")


def steps_of(world: World, instance_id: UUID) -> dict[str, Any]:
    """Return the steps of an instance by their ids."""
    rows = world.rows("SELECT * FROM cmis.workflow_steps WHERE instance_id = :id", id=instance_id)
    return {row.step_id: row for row in rows}


def run(world: World, org_id: UUID, task_id: UUID) -> Result:
    """Do what a worker does with a message about workflows."""
    return service.run(world.app, org_id, task_id, worker="worker", send=lambda messages: None)  # noqa: ARG005


def run_all(world: World) -> None:
    """Run every task that is ready, of rules and of workflows, until none is."""
    ready = (
        "SELECT org_id, task_id, kind FROM cmis.tasks WHERE state = 'ready' AND run_at <= cmis.clock() ORDER BY task_id"
    )
    while waiting := world.rows(ready):
        for task in waiting:
            if task.kind == "run_workflow":
                run(world, task.org_id, task.task_id)
            else:
                world.run(task.org_id, task.task_id)
