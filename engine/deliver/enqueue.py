"""The tasks that deliver what an execution has queued: one for each message that goes out."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING, Any, Final

from core.ids import uuid7
from engine.deliver.outcome import MAX_ATTEMPTS
from models.enums import Channel, Queue, TaskKind

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from datetime import datetime
    from uuid import UUID

    from engine.actions.base import Effect

TOGETHER: Final = frozenset({Channel.EMAIL, Channel.SLACK})
"""Channels whose messages people read: what one run of a rule says about many campaigns is one message."""
MAX_TOGETHER: Final = 100
TIMEOUT_SECONDS: Final = 60
"""How long one attempt may take; its couriers stop long before."""


def carried(effects: Iterable[Effect], *, now: datetime) -> list[tuple[UUID, Sequence[UUID]]]:
    """Return the tasks of queued deliveries, each a new id and the effects that it delivers."""
    parcels: dict[tuple[object, ...], list[UUID]] = defaultdict(list)
    tasks: list[tuple[UUID, Sequence[UUID]]] = []
    for effect in effects:
        if effect.channel is None or effect.status != "queued":
            continue
        if effect.channel in TOGETHER:
            parcels[effect.execution_id, effect.position, effect.channel].append(effect.action_id)
        else:
            tasks.append((uuid7(now), [effect.action_id]))
    for ids in parcels.values():
        tasks += [(uuid7(now), ids[at : at + MAX_TOGETHER]) for at in range(0, len(ids), MAX_TOGETHER)]
    return tasks


def row(org_id: UUID, task_id: UUID, action_ids: Sequence[UUID], *, now: datetime) -> dict[str, Any]:
    """Return the row of a delivery's task, due at once."""
    return {
        "org_id": org_id,
        "task_id": task_id,
        "kind": TaskKind.DELIVER.value,
        "queue": Queue.ACTIONS.value,
        "payload": {"action_ids": [str(one) for one in action_ids]},
        "run_at": now,
        "attempt": 0,
        "max_attempts": MAX_ATTEMPTS,
        "timeout_seconds": TIMEOUT_SECONDS,
    }
