"""C13: messages that are duplicated, forged, or garbage; each is dropped and counted, and harms nothing."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final
from uuid import uuid4

import redis
from celery import Celery

from chaos.scenario import Scenario
from chaos.turns import in_turn
from models.queue_enums import Dropped

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from chaos.arena import Arena

_PAUSE: Final = 0.1
"""Seconds between two messages."""
_EVALUATE: Final = "automation.evaluate_rules"
_EVENT: Final = "ingest.emit_event"
_HUGE: Final = "x" * 2_000_000
_TOLD_SECONDS: Final = 30.0
"""Within which workers have told the database what they dropped."""
_TASKS: Final = """
SELECT org_id, task_id, 'automation.' || kind AS name, queue FROM cmis.tasks
 WHERE state = 'succeeded' ORDER BY finished_at DESC LIMIT 50"""
_ALIVE: Final = """
SELECT org_id, task_id, 'automation.' || kind AS name, queue FROM cmis.tasks
 WHERE state IN ('ready', 'running') AND published_at >= run_at LIMIT 50"""
_COUNTED: Final = "SELECT reason, messages FROM cmis.dropped_messages"
_NONSENSE: Final[Sequence[list[Any]]] = (
    [],
    ["a", "b"],
    [None, {"x": 1}, 3],
    [[], []],
    [1, 2],
    [str(uuid4())],
    ["\x00", 0],
)
_GARBAGE: Final = (
    b"\x80\x04\x95garbage",
    b"not json",
    b"[1, 2",
    b"{}",
    b"[]",
    b"null",
    b'"text"',
    b'{"body": 5}',
    b'{"body": "e30=", "properties": null, "headers": []}',
    b'{"body": "e30=", "properties": {"delivery_info": "x", "delivery_tag": []}, "headers": {"task": {}}}',
    b"\xff" * 1_000_000,
)
"""What is no message of any library's, as it lies in a list of the broker's."""


@dataclass
class Forger:
    """Whoever may write to the broker. `owed`: what must be counted for what it sent, by reason, at least."""

    arena: Arena
    celery: Celery
    owed: Counter[Dropped] = field(default_factory=Counter)

    def ways(self) -> Mapping[str, Callable[[], bool]]:
        """Return each kind of message, with what sends one; False where there is nothing to make it of yet."""
        return {
            "duplicate": self._duplicate,
            "message with another org's id": self._other_org,
            "message of no task": self._no_task,
            "message of no org": self._no_org,
            "message with nonsense for arguments": self._nonsense,
            "message for an unknown task": self._unknown,
            "message as pickle": self._pickle,
            "message that is huge": self._huge,
            "event that makes no sense": self._event,
            "garbage in the broker": self._garbage,
        }

    def _send(self, reason: Dropped, name: str, args: Any, **options: Any) -> bool:
        self.celery.send_task(name, args, **({"queue": "rules"} | options))
        self.owed[reason] += 1
        return True

    def _duplicate(self) -> bool:
        """Send what is done already, and what is not: of two messages for a task that is ready one is dropped."""
        rows = self.arena.rows(self.arena.chance.choice((_TASKS, _ALIVE)))
        if not rows:
            return False
        row = self.arena.chance.choice(rows)
        return self._send(Dropped.UNCLAIMED, row.name, [str(row.org_id), str(row.task_id)], queue=row.queue)

    def _other_org(self) -> bool:
        rows = self.arena.rows(_ALIVE) or self.arena.rows(_TASKS)
        if not rows:
            return False
        row = self.arena.chance.choice(rows)
        other = next(stage.org.id for stage in self.arena.stages if stage.org.id != row.org_id)
        return self._send(Dropped.UNCLAIMED, row.name, [str(other), str(row.task_id)], queue=row.queue)

    def _no_task(self) -> bool:
        org_id = self.arena.chance.choice(self.arena.stages).org.id
        return self._send(Dropped.UNCLAIMED, _EVALUATE, [str(org_id), str(uuid4())])

    def _no_org(self) -> bool:
        return self._send(Dropped.UNKNOWN_ORG, _EVALUATE, [str(uuid4()), str(uuid4())])

    def _nonsense(self) -> bool:
        return self._send(Dropped.ARGUMENTS, _EVALUATE, self.arena.chance.choice(_NONSENSE))

    def _unknown(self) -> bool:
        return self._send(Dropped.UNKNOWN_TASK, "automation.no_such_task", [])

    def _pickle(self) -> bool:
        return self._send(Dropped.UNREADABLE, _EVALUATE, [str(uuid4()), str(uuid4())], serializer="pickle")

    def _huge(self) -> bool:
        return self._send(Dropped.UNREADABLE, _EVALUATE, [_HUGE, _HUGE])

    def _event(self) -> bool:
        return self._send(Dropped.REFUSED, _EVENT, [str(uuid4()), "no type", {"n": 1}], queue="ingest")

    def _garbage(self) -> bool:
        """Push bytes that no library has made."""
        with redis.Redis.from_url(self.arena.valkey.url) as client:
            queue = self.arena.chance.choice(("rules", "workflows", "actions", "ingest"))
            client.lpush(queue, self.arena.chance.choice(_GARBAGE))
        self.owed[Dropped.UNREADABLE] += 1
        return True


def forge(arena: Arena) -> None:
    """Send until the time is over; then wait until it is counted, since processes are asked to end only later."""
    with Celery("forger", broker=arena.valkey.url, set_as_current=False) as celery:
        forger = Forger(arena, celery)
        ways = forger.ways()
        for kind in in_turn(arena, list(ways)):
            if ways[kind]():
                arena.faults.note(kind)
            arena.wait(_PAUSE)
    arena.seen += [f"no {kind} was sent" for kind in ways if not arena.faults.counts()[kind]]
    arena.wait_until(lambda: not list(_uncounted(arena, forger.owed)), _TOLD_SECONDS)
    arena.seen += list(_uncounted(arena, forger.owed))


def _uncounted(arena: Arena, owed: Mapping[Dropped, int]) -> Iterator[str]:
    """Return what was sent and is not counted as dropped, in words."""
    counted = {row.reason: row.messages for row in arena.rows(_COUNTED)}
    for reason, number in owed.items():
        if counted.get(reason.value, 0) < number:
            yield f"{number} messages were to be dropped as {reason}, and {counted.get(reason.value, 0)} are counted"


SCENARIO: Final = Scenario("C13", "duplicated, forged and garbage messages", 30, forge, survives=True)
