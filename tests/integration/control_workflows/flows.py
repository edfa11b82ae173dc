"""Workflows of an org for tests: made, started, run as workers do, and looked at."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from sqlalchemy import insert

import models
from core import clock
from core.db import ENGINE_ACTOR, Context
from core.ids import uuid7
from engine.control_workflows.begin import begin
from engine.control_workflows.steering import Hand
from engine.run_workflow import service
from engine.run_workflow.desk import Desk
from engine.run_workflow.proceed import follow
from engine.store import instances
from engine.workflows.advance import Completed, Failed
from engine.workflows.reading import parse_definition

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from uuid import UUID

    from engine.run_workflow.work import Result
    from engine.store.dispatch import Message
    from tests.world import Org, World

READY = """
SELECT task_id FROM cmis.tasks
 WHERE org_id = :org_id AND kind = 'run_workflow' AND state = 'ready' AND run_at <= cmis.clock() ORDER BY task_id
"""


def noop(step_id: str, next_: str | None = None, **more: Any) -> dict[str, Any]:
    """Return a step that puts out its id."""
    return _call(step_id, "cmis.noop", {"id": step_id}, next_) | more


def fails(step_id: str, next_: str | None = None, **more: Any) -> dict[str, Any]:
    """Return a step that fails as long as `Flows.broken` names it."""
    return _call(step_id, "tests.flaky", {"id": step_id}, next_) | {"retry": {"max_retries": 0}} | more


def delay(step_id: str, next_: str | None = None, **more: Any) -> dict[str, Any]:
    """Return a step that takes an hour."""
    return _step(step_id, "delay", {"hours": 1} | more, next_)


def approval(step_id: str, next_: str | None = None, **more: Any) -> dict[str, Any]:
    """Return a step that asks an editor, unless told otherwise."""
    return _step(step_id, "approval", {"title": f"May {step_id}?"} | more, next_)


def split(step_id: str, *branches: str) -> dict[str, Any]:
    """Return a step from which all of these follow."""
    return _step(step_id, "split", {"mode": "parallel", "branches": list(branches)}, None)


def _call(step_id: str, name: str, params: dict[str, Any], next_: str | None) -> dict[str, Any]:
    return _step(step_id, "action", {"callable": name, "params": params}, next_)


def _step(step_id: str, kind: str, config: dict[str, Any], next_: str | None) -> dict[str, Any]:
    return {"id": step_id, "type": kind, "config": config} | ({} if next_ is None else {"next": next_})


@dataclass
class Flows:
    """The workflows of an org, and a hand that steers them as its admin."""

    org: Org
    sent: list[Message] = field(default_factory=list)
    broken: set[str] = field(default_factory=set)

    @property
    def world(self) -> World:
        return self.org.world

    @property
    def hand(self) -> Hand:
        return Hand(self.world.app, self.org.context, self.sent.extend)

    def template(self, *steps: dict[str, Any], name: str | None = None, **more: Any) -> UUID:
        """Make an active template with one version."""
        document = {"steps": list(steps)} | more
        parse_definition(document)
        with self.world.app.transaction(self.org.context) as connection:
            now = clock.now(connection)
            template_id = uuid7(now)
            row = {
                "org_id": self.org.id,
                "template_id": template_id,
                "name": name or str(template_id),
                "category": "campaign",
                "status": "active",
                "version": 1,
                "definition": document,
                "owner_id": self.org.context.user_id,
                "created_at": now,
                "updated_at": now,
            }
            connection.execute(insert(models.WorkflowTemplate), row)
        self.publish(template_id, 1, *steps, **more)
        return template_id

    def publish(self, template_id: UUID, version: int, *steps: dict[str, Any], **more: Any) -> None:
        """Publish a version of a template."""
        document = {"steps": list(steps)} | more
        parse_definition(document)
        with self.world.app.transaction(self.org.context) as connection:
            row = {
                "org_id": self.org.id,
                "template_id": template_id,
                "version": version,
                "definition": document,
                "steps": len(steps),
                "published_by": self.org.context.user_id,
                "published_at": clock.now(connection),
            }
            connection.execute(insert(models.WorkflowTemplateVersion), row)

    def start(self, template_id: UUID, **context: Any) -> UUID:
        """Start a run; nobody works on it yet."""
        return begin(self.hand, template_id, context).instance_id

    def started(self, *steps: dict[str, Any], **context: Any) -> UUID:
        """Make a template, start a run of it, and let workers go as far as they can now."""
        instance_id = self.start(self.template(*steps), **context)
        self.work()
        return instance_id

    def ready(self) -> list[UUID]:
        """Return the tasks of workflows that could be claimed now."""
        return [row.task_id for row in self.world.rows(READY, org_id=self.org.id)]

    def run(self, task_id: UUID) -> Result:
        """Do what a worker does with a message."""
        return service.run(self.world.app, self.org.id, task_id, worker="worker", send=self.sent.extend)

    def work(self) -> int:
        """Run every task that is ready until none is; returns how many that were."""
        ran = 0
        while waiting := self.ready():
            for task_id in waiting:
                self.run(task_id)
                ran += 1
        return ran

    def instance(self, instance_id: UUID) -> Any:
        """Read a run."""
        [row] = self.world.rows("SELECT * FROM cmis.workflow_instances WHERE instance_id = :id", id=instance_id)
        return row

    def step(self, instance_id: UUID, step_id: str) -> Any:
        """Read one of its steps."""
        [row] = [row for row in self._steps(instance_id) if row.step_id == step_id]
        return row

    def statuses(self, instance_id: UUID) -> dict[str, str]:
        """Return the status of each of its steps."""
        return {row.step_id: row.status for row in self._steps(instance_id)}

    def told(self, instance_id: UUID) -> list[str]:
        """Return what the audit log says about it, in order."""
        query = "SELECT action FROM cmis.automation_audit_log WHERE entity_id = :id ORDER BY audit_id"
        return [row.action for row in self.world.rows(query, id=instance_id)]

    def entries(self, instance_id: UUID, action: str) -> Sequence[Any]:
        """Return the entries of one kind about it."""
        query = "SELECT * FROM cmis.automation_audit_log WHERE entity_id = :id AND action = :action ORDER BY audit_id"
        return self.world.rows(query, id=instance_id, action=action)

    def end(self, instance_id: UUID, outcome: Completed | Failed) -> None:
        """End a step as the worker does that had begun it, whatever its run is by now."""
        with self.world.app.transaction(Context(self.org.id, ENGINE_ACTOR)) as connection:
            desk = Desk(connection, self.org.id, clock.now(connection))
            desk.lock([instance_id])
            run = desk.runs[instance_id]
            decided = run.decide(outcome, desk.moment)
            if isinstance(outcome, Failed):
                run.put(outcome.step, error={"code": "BROKEN", "message": "as the test wants it"})
                run.error = None if decided.status is None else {"code": "BROKEN", "message": f"step {outcome.step}"}
            follow(desk, run, decided)
            desk.write()

    def signal(self, instance_id: UUID, step_id: str | None, **signal: Any) -> None:
        """Tell a step, or the run, of something, as whoever sees it happen does."""
        with self.world.app.transaction(Context(self.org.id, ENGINE_ACTOR)) as connection:
            instances.wake(connection, self.org.id, [(instance_id, step_id, signal)], now=clock.now(connection))

    def snapshot(self, instance_id: UUID) -> tuple[Any, list[Any], int]:
        """Return all there is of a run, to be held against what there is of it later."""
        return self.instance(instance_id), list(self._steps(instance_id)), len(self.told(instance_id))

    def check(self) -> None:
        """Hold what the rows say against each other."""
        assert list(self._broken()) == []

    def _steps(self, instance_id: UUID) -> Sequence[Any]:
        query = "SELECT * FROM cmis.workflow_steps WHERE instance_id = :id ORDER BY position, step_id"
        return self.world.rows(query, id=instance_id)

    def _broken(self) -> Iterator[Any]:
        for query in INVARIANTS:
            yield from self.world.rows(query)


INVARIANTS = (
    # counters equal rows
    """SELECT i.instance_id, 'counters' FROM cmis.workflow_instances i
         JOIN LATERAL (SELECT count(*) AS total, count(*) FILTER (WHERE status = 'completed') AS completed,
                count(*) FILTER (WHERE status = 'failed') AS failed,
                count(*) FILTER (WHERE status = 'skipped') AS skipped,
                count(*) FILTER (WHERE status = 'cancelled') AS cancelled
           FROM cmis.workflow_steps s WHERE s.org_id = i.org_id AND s.instance_id = i.instance_id) s ON true
        WHERE (i.steps_total, i.steps_completed, i.steps_failed, i.steps_skipped, i.steps_cancelled)
              <> (s.total, s.completed, s.failed, s.skipped, s.cancelled)""",
    # active_instances equals rows
    """SELECT t.template_id, 'active' FROM cmis.workflow_templates t
        WHERE (active_instances, usage_count) <> (
          SELECT count(*) FILTER (WHERE status IN ('pending', 'running', 'paused')), count(*)
            FROM cmis.workflow_instances i WHERE i.org_id = t.org_id AND i.template_id = t.template_id)""",
    # nothing of what has ended waits for a worker
    """SELECT t.task_id, 'task of an ended run' FROM cmis.tasks t JOIN cmis.workflow_instances i
           ON i.org_id = t.org_id AND i.instance_id::text = t.payload #>> '{items,0,instance_id}'
        WHERE t.kind = 'run_workflow' AND t.state = 'held' AND i.status IN ('completed', 'failed', 'cancelled')""",
    # every step under way has a task that lives, or waits for somebody
    """SELECT s.instance_id, s.step_id FROM cmis.workflow_steps s
         LEFT JOIN cmis.tasks t
           ON t.org_id = s.org_id AND t.task_id = s.task_id AND t.state IN ('ready', 'held', 'running')
        WHERE s.status IN ('queued', 'running', 'retrying') AND t.task_id IS NULL""",
    # what has ended has no step under way
    """SELECT i.instance_id, s.step_id FROM cmis.workflow_instances i
         JOIN cmis.workflow_steps s USING (org_id, instance_id)
        WHERE i.status IN ('completed', 'failed', 'cancelled')
          AND s.status NOT IN ('completed', 'failed', 'skipped', 'cancelled')""",
)
