"""Publishing as one scheduler does it: look, pick, mark, commit, send. What has no room in the broker stays here."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from core import faults
from core.clock import monotonic
from engine.store import dispatch, publishing
from models.enums import Queue
from scheduler.window import FIRST, LOOK_SECONDS, Window
from tasks import depth
from tasks.publish import publish

if TYPE_CHECKING:
    from collections.abc import Mapping
    from uuid import UUID

    from kombu.connection import Connection

    from core.db import Database

BATCH: Final = 500
"""How many messages of one queue are sent in one look."""
QUEUES: Final = [queue.value for queue in Queue]
DRY_SECONDS: Final = 0.01
"""How long one waits that found a queue empty and had to leave tasks behind: its window was too small."""


@dataclass(frozen=True, slots=True)
class Look:
    """What one look came to: whether the broker refused messages, and when to look again."""

    refused: bool = False
    again: float | None = None
    """After how many seconds; None = when something falls due."""


@dataclass(slots=True)
class Publisher:
    """One scheduler's publishing. All that it remembers is how fast queues drain, and whose turn was the last."""

    database: Database
    queue_cap: int = 2_000
    """Messages that wait in one queue of the broker, whatever its workers take, at which no further ones are sent."""
    org_cap: int = 500
    """Tasks of one org that are in flight in one queue, published or running, at which no further ones are sent."""
    at_once: int = FIRST
    """Messages that may wait in a queue of which nothing was measured."""
    windows: dict[str, Window] = field(default_factory=dict)
    reached: dict[str, UUID | None] = field(default_factory=dict)

    def look(self, connection: Connection) -> Look:
        """Publish what is due and has room. What the broker does not take is due again at once."""
        with self.database.transaction(None) as transaction:
            due = publishing.publishable_queues(transaction, QUEUES)
        if not due:
            return Look()
        waiting = depth.waiting(connection, due)
        rooms = self._rooms(waiting)
        if not rooms:
            return Look(again=LOOK_SECONDS)
        beside = {queue: waiting[queue] for queue, again in due.items() if again and waiting[queue]}
        with self.database.transaction(None) as transaction:
            picked = publishing.pick(transaction, rooms, self.reached, cap=self.org_cap)
            taken = publishing.take(transaction, list(picked.values()), beside)
        faults.crash("publish.marked")
        refused = publish(connection, taken.messages)
        if refused:
            with self.database.transaction(None) as transaction:
                dispatch.publish_failed(transaction, refused)
            return Look(refused=True)
        self._note(picked, rooms, waiting, taken)
        return Look(again=_again(picked, waiting, taken))

    def _rooms(self, waiting: Mapping[str, int]) -> dict[str, int]:
        """Return for how many messages each queue has room; queues that have none are left out."""
        now = monotonic()
        rooms = {}
        for queue, length in waiting.items():
            window = self.windows.setdefault(queue, Window(self.queue_cap, self.at_once))
            rooms[queue] = min(BATCH, window.room(length, now))
            if not rooms[queue]:
                window.looked(length, now, short=True)
        return {queue: room for queue, room in rooms.items() if room}

    def _note(
        self,
        picked: Mapping[str, publishing.Picked],
        rooms: Mapping[str, int],
        waiting: Mapping[str, int],
        taken: publishing.Taken,
    ) -> None:
        """Remember what this look left behind for the next one."""
        now = monotonic()
        for queue, one in picked.items():
            sent = sum(message.queue == queue for message in taken.messages)
            self.reached[queue] = one.reached
            self.windows[queue].looked(waiting[queue] + sent, now, short=one.short and len(one.tasks) >= rooms[queue])


def _again(picked: Mapping[str, publishing.Picked], waiting: Mapping[str, int], taken: publishing.Taken) -> float:
    """Return after how many seconds to look again: soon, where something was due, as more may follow."""
    if any(len(one.tasks) >= BATCH for one in picked.values()):
        return 0.0
    dry = any(one.short and waiting[queue] == 0 for queue, one in picked.items())
    return DRY_SECONDS if dry and taken.messages else LOOK_SECONDS
