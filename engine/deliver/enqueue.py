"""What an execution has queued for outside, in parcels: one task for each message that goes out."""

from __future__ import annotations

import json
from collections import defaultdict
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Final

from core.ids import uuid7
from engine.deliver.outcome import MAX_ATTEMPTS
from models.enums import Channel, Queue, TaskKind

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from datetime import datetime
    from uuid import UUID

    from engine.actions.base import Effect
    from engine.deliver.outcome import Pace

TOGETHER: Final = frozenset({Channel.EMAIL, Channel.SLACK})
"""Channels whose messages people read: what one run of a rule says about many campaigns is one message."""
MAX_TOGETHER: Final = 100
TIMEOUT_SECONDS: Final = 60
"""How long one attempt may take; its couriers stop long before."""
_ADDRESS: Final = ("url", "to")
"""What of a message says to whom it goes: only what goes to the same people is told together."""


@dataclass(frozen=True, slots=True)
class Parcel:
    """One message that goes out: its task, and the effects that it is."""

    task_id: UUID
    action_ids: Sequence[UUID]
    pace: Pace | None = None
    """How often it is tried, and when; None = as deliveries are."""

    def row(self, org_id: UUID, *, now: datetime) -> dict[str, Any]:
        """Return its task's row, due at once."""
        paced = {} if self.pace is None else {"pace": asdict(self.pace)}
        return {
            "org_id": org_id,
            "task_id": self.task_id,
            "kind": TaskKind.DELIVER.value,
            "queue": Queue.ACTIONS.value,
            "payload": {"action_ids": [str(one) for one in self.action_ids], **paced},
            "run_at": now,
            "attempt": 0,
            "max_attempts": MAX_ATTEMPTS if self.pace is None else self.pace.attempts,
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
            address = json.dumps([effect.after.get(name) for name in _ADDRESS])
            shared[effect.execution_id, effect.position, effect.channel, address].append(effect.action_id)
        else:
            parcels.append(Parcel(uuid7(now), (effect.action_id,)))
    for ids in shared.values():
        parcels += [Parcel(uuid7(now), ids[at : at + MAX_TOGETHER]) for at in range(0, len(ids), MAX_TOGETHER)]
    return parcels
