"""A backlog: thousands of evaluations that are ready at once, each a task of its own."""

from __future__ import annotations

from itertools import cycle, islice
from typing import TYPE_CHECKING, Final

from core.db import ENGINE_ACTOR, Context
from core.ids import uuid7
from engine import chunk
from engine.store import tasks

if TYPE_CHECKING:
    from collections.abc import Sequence
    from uuid import UUID

    from tests.world import World

_RULES: Final = 40
"""Evaluations of one rule take turns: so many rules let workers work side by side."""
_BATCH: Final = 500
_NEVER: Final = [{"field": "spend", "operator": "<", "value": 0}]
"""What is true of no campaign: an evaluation that changes nothing is the quickest."""


def enqueue(world: World, number: int) -> Sequence[UUID]:
    """Make an org and enqueue so many tasks of it; returns the tasks' executions, one each."""
    org = world.org("backlog")
    org.campaign()
    rules = [org.rule(conditions=_NEVER, name=f"backlog {one}") for one in range(_RULES)]
    now = world.now()
    items = [chunk.Item(rule_id, uuid7(now), "manual") for rule_id in islice(cycle(rules), number)]
    for start in range(0, number, _BATCH):
        rows = [
            {"org_id": org.id, "task_id": uuid7(now), "kind": "evaluate_rules", "queue": "rules", "run_at": now}
            | {"payload": chunk.payload([chunk.Group(org.id, (item,))]), "attempt": 0}
            for item in items[start : start + _BATCH]
        ]
        with world.app.transaction(Context(org.id, ENGINE_ACTOR)) as connection:
            tasks.insert(connection, rows, now=now)
    return [item.execution_id for item in items]
