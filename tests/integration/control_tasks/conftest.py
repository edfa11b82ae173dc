"""A world, an org, its desk and workflows; and workers that die of a task at its first attempt, which is its last."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest

from core import clock
from core.db import ENGINE_ACTOR, Context
from engine import rescue
from engine.control_tasks.frame import deal
from engine.store import tasks
from tests.integration.workflows.conftest import desk, flow, org, world

if TYPE_CHECKING:
    from collections.abc import Callable
    from uuid import UUID

    from engine.control_tasks.frame import Case, Dealt
    from tests.world import Org, World

__all__ = ["desk", "flow", "org", "world"]


@dataclass(frozen=True)
class Operator:
    """Somebody who deals with an org's tasks."""

    org: Org

    @property
    def world(self) -> World:
        """The org's world."""
        return self.org.world

    def do(self, verb: Callable[[Case], Dealt], task_id: UUID, note: str | None = None, **how: Any) -> Dealt:
        """Do something to one task."""
        [done] = deal(self.world.app, self.org.context, verb, [task_id], note=note, **how)
        return done

    def claim(self, task_id: UUID) -> tasks.Claim:
        """Be a worker that has claimed a task, and no more."""
        with self.world.app.transaction(Context(self.org.id, ENGINE_ACTOR)) as connection:
            claimed = tasks.claim(connection, self.org.id, task_id, worker="dying", now=clock.now(connection))
        assert claimed is not None
        return claimed

    def die_of(self, task_id: UUID) -> None:
        """Let a task's worker die at its last attempt, and the scheduler notice."""
        self.world.meddle("UPDATE cmis.tasks SET max_attempts = attempt + 1 WHERE task_id = %(id)s", id=task_id)
        self.claim(task_id)
        self.lose()
        assert self.world.task(task_id).state == "dead"

    def lose(self) -> None:
        """Let the leases of all workers end."""
        self.world.meddle(
            "UPDATE cmis.tasks SET lease_expires_at = clock_timestamp() - interval '1 s' WHERE state = 'running'"
        )
        assert rescue.reap(self.world.scheduler) == 1

    def told(self, task_id: UUID) -> list[str]:
        """Return what the audit log says of a task, in order."""
        query = "SELECT action FROM cmis.automation_audit_log WHERE entity_id = :id ORDER BY created_at, audit_id"
        return [action for (action,) in self.world.rows(query, id=task_id)]

    def outcomes(self) -> list[tuple[str, str | None]]:
        """Return the outcomes of all occurrences that ran, with their reasons."""
        query = "SELECT outcome, reason FROM cmis.occurrences WHERE decision = 'run' ORDER BY scheduled_for"
        return [(row.outcome, row.reason) for row in self.world.rows(query)]


@pytest.fixture
def operator(org: Org) -> Operator:
    """Give the test somebody who deals with the org's tasks."""
    return Operator(org)
