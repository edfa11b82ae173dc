"""What an execution has queued for outside, in parcels: one task for each message that goes out."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
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


@dataclass(frozen=True, slots=True)
class Parcel:
    """One message that goes out: its task, and the effects that it is."""

    task_id: UUID
    action_ids: Sequence[UUID]

    def row(self, org_id: UUID, *, now: datetime) -> dict[str, Any]:
        """Return its task's row, due at once."""
        return {
            "org_id": org_id,
            "task_id": self.task_id,
            "kind": TaskKind.DELIVER.value,
            "queue": Queue.ACTIONS.value,
            "payload": {"action_ids": [str(one) for one in self.action_ids]},
            "run_at": now,
            "attempt": 0,
            "max_attempts": MAX_ATTEMPTS,
            "timeout_seconds": TIMEOUT_SECONDS,
        }


def carried(effects: Iterable[Effect], *, now: datetime) -> list[Parcel]:
    """Return the parcels of those of the effects that are to be delivered."""
    shared: dict[tuple[object, ...], list[UUID]] = defaultdict(list)
    parcels: list[Parcel] = []
    for effect in effects:
        if effect.channel is None or effect.status != "queued":
            continue
        if effect.channel in TOGETHER:
            shared[effect.execution_id, effect.position, effect.channel].append(effect.action_id)
        else:
            parcels.append(Parcel(uuid7(now), (effect.action_id,)))
    for ids in shared.values():
        parcels += [Parcel(uuid7(now), ids[at : at + MAX_TOGETHER]) for at in range(0, len(ids), MAX_TOGETHER)]
    return parcels
