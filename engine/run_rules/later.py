"""The actions of a rule that follow after a delay: each place in its list becomes a task of its own.

The first of them is ready, to run after the delay; the others are held. Whichever ends releases the next one
(`cmis.settle_execution`), so that no action comes before its predecessors, and between two there is at least the delay,
however late workers are.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from core.ids import uuid7
from engine import chunk
from models.enums import Queue, TaskKind, TaskState

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime, timedelta
    from uuid import UUID

    from engine.run_rules.state import Memory, Run


@dataclass(frozen=True, slots=True)
class Follower:
    """The task that applies one place of a rule's list of actions to all campaigns of an execution."""

    task_id: UUID
    item: chunk.Item
    position: int
    run_at: datetime
    delay: timedelta

    @property
    def execution_id(self) -> UUID:
        """The execution whose actions it applies."""
        return self.item.execution_id

    def row(self, org_id: UUID) -> dict[str, Any]:
        """Return the task's row."""
        carried = chunk.payload([chunk.Group(org_id, (self.item,))])
        return {
            "org_id": org_id,
            "task_id": self.task_id,
            "kind": TaskKind.APPLY_ACTIONS.value,
            "queue": Queue.RULES.value,
            "payload": carried | {"position": self.position, "delay_seconds": int(self.delay.total_seconds())},
            "state": (TaskState.READY if self.position == 1 else TaskState.HELD).value,
            "run_at": self.run_at,
            "attempt": 0,
        }


def followers(run: Run, memory: Memory) -> Iterator[Follower]:
    """Yield the tasks of the actions that a run has queued, in their order."""
    if run.rule.delay:
        for position in sorted({effect.position for effect in run.effects if effect.follows}):
            run_at = memory.now + position * run.rule.delay
            yield Follower(uuid7(memory.now), run.item, position, run_at, run.rule.delay)
