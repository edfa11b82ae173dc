"""Workflows for tests: published as people do, run as workers do, their deliveries made by a worker's post."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from core import clock
from core.db import ENGINE_ACTOR, Context
from core.ids import uuid7
from engine.control_workflows.steering import Hand
from engine.run_workflow import effects, service
from engine.run_workflow.acting import Acting
from engine.start_workflow import Start, start
from engine.store import instances, templates
from models.workflow_enums import InstanceTrigger

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from uuid import UUID

    from tests.posting import Desk
    from tests.world import Org, World

_READY: Final = """
SELECT task_id FROM cmis.tasks WHERE kind = :kind AND state = 'ready' AND run_at <= cmis.clock() ORDER BY task_id"""


@dataclass(frozen=True)
class Flow:
    """An org's workflows, and the worker that runs them."""

    desk: Desk

    @property
    def org(self) -> Org:
        """The org."""
        return self.desk.org

    @property
    def world(self) -> World:
        """The org's world."""
        return self.org.world

    @property
    def hand(self) -> Hand:
        """The org's admin, who steers its instances."""
        return Hand(self.world.app, self.org.context, lambda _: None)

    def publish(self, *steps: Mapping[str, Any], name: str | None = None, status: str = "active") -> UUID:
        """Publish a workflow of these steps; returns its id."""
        now, definition = self.world.now(), {"steps": list(steps)}
        key = {"org_id": self.org.id, "template_id": uuid7(now)}
        about = {"name": name or str(key["template_id"]), "category": "campaign", "status": status, "version": 1}
        times = {"owner_id": self.org.context.user_id, "created_at": now, "updated_at": now}
        published = {"version": 1, "steps": len(steps), "published_by": self.org.context.user_id, "published_at": now}
        with self.world.app.transaction(self.org.context) as connection:
            templates.create(connection, key | about | times | {"definition": definition})
            templates.publish(connection, key | published | {"definition": definition})
        return key["template_id"]

    def start(self, template_id: UUID, **context: Any) -> UUID:
        """Start an instance; returns its id."""
        with self.world.app.transaction(Context(self.org.id, ENGINE_ACTOR)) as connection:
            one = Start(template_id, context, InstanceTrigger.MANUAL, triggered_by=self.org.context.user_id)
            [started] = start(connection, self.org.id, [one], now=clock.now(connection))
        return started.instance_id

    def run(self) -> None:
        """Run the tasks of workflows that are ready until none is."""
        while waiting := self.world.rows(_READY, kind="run_workflow"):
            for (task_id,) in waiting:
                service.run(self.world.app, self.org.id, task_id, worker="worker", send=lambda _: None)

    def evaluate(self) -> None:
        """Run the tasks of rules that are ready."""
        for (task_id,) in self.world.rows(_READY, kind="evaluate_rules"):
            self.world.run(self.org.id, task_id)

    def deliver(self) -> None:
        """Make the deliveries that are ready now, each once."""
        for (task_id,) in self.world.rows(_READY, kind="deliver"):
            self.desk.run(task_id)

    def play(self, *steps: Mapping[str, Any], **context: Any) -> UUID:
        """Publish, start and run; returns the instance."""
        instance_id = self.start(self.publish(*steps), **context)
        self.run()
        return instance_id

    def wake(self, instance_id: UUID, step_id: str | None, signal: Mapping[str, Any]) -> None:
        """Tell an instance, or a step of it, of a signal."""
        with self.world.app.transaction(Context(self.org.id, ENGINE_ACTOR)) as connection:
            instances.wake(connection, self.org.id, [(instance_id, step_id, signal)], now=clock.now(connection))

    def act(self, instance_id: UUID, step_id: str, **acting: Any) -> Any:
        """Do what the engine does with another attempt of a step."""
        made = {"template_id": self.instance(instance_id).template_id, "task_id": uuid7(self.world.now()), "attempt": 2}
        one = Acting(self.org.id, instance_id, step_id, **({"campaign": None} | made | acting))
        with self.world.app.transaction(Context(self.org.id, ENGINE_ACTOR)) as connection:
            return effects.act(connection, one, now=clock.now(connection))

    def instance(self, instance_id: UUID) -> Any:
        """Read an instance."""
        [row] = self.world.rows("SELECT * FROM cmis.workflow_instances WHERE instance_id = :id", id=instance_id)
        return row

    def step(self, instance_id: UUID, step_id: str) -> Any:
        """Read a step."""
        query = "SELECT * FROM cmis.workflow_steps WHERE instance_id = :id AND step_id = :step"
        [row] = self.world.rows(query, id=instance_id, step=step_id)
        return row

    def effects(self, instance_id: UUID) -> Sequence[Any]:
        """Read the effects of an instance, by step."""
        query = "SELECT * FROM cmis.automation_actions WHERE instance_id = :id ORDER BY step_id"
        return self.world.rows(query, id=instance_id)

    def effect(self, instance_id: UUID, step_id: str | None = None) -> Any:
        """Read the one effect of an instance, or that of one of its steps."""
        [row] = [one for one in self.effects(instance_id) if step_id in {None, one.step_id}]
        return row

    def told(self, action_id: UUID) -> list[str]:
        """Return what the audit log says of an effect, in order."""
        query = "SELECT action FROM cmis.automation_audit_log WHERE action_id = :id ORDER BY created_at, audit_id"
        return [action for (action,) in self.world.rows(query, id=action_id)]


def action(step_id: str, kind: str, params: Mapping[str, Any] | None = None, **others: Any) -> dict[str, Any]:
    """Return a step that is an action; `campaign` goes to its config, the rest is the step's."""
    config: dict[str, Any] = {"action": kind, "params": dict(params or {})}
    if "campaign" in others:
        config["campaign"] = others.pop("campaign")
    return {"id": step_id, "type": "action", "config": config, **others}
