"""Take in an event: store it once, and with it, in one transaction, all that follows.

That is an evaluation of each rule that it triggers, an instance of each workflow that it starts, and a signal to each
step that waits for it.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import orjson

from core import clock
from core.db import ENGINE_ACTOR, repeat_on_conflict
from core.errors import ConflictError, InputError
from core.ids import uuid7
from engine import follow_up
from engine.follow_up import ArchivedError, Told
from engine.rules.event_terms import TYPE_REMEDY, is_type
from engine.rules.reading import Problems, refuse_unstorable, shown
from engine.store import actions, events, maintenance
from models.enums import Role

if TYPE_CHECKING:
    from datetime import datetime
    from uuid import UUID

    from sqlalchemy import Connection, Row

    from core.db import Context, Database

MAX_BYTES: Final = 64 * 1024
MAX_DEPTH: Final = 16
MAX_KEY: Final = 200
MAX_SOURCE: Final = 200


@dataclass(frozen=True, slots=True)
class Event:
    """A valid event, that is to be told once."""

    type: str
    payload: dict[str, Any]
    idempotency_key: str | None
    """None = it is like no other: its id is its key."""
    occurred_at: datetime | None
    """Aware; None = now."""
    source: str | None


@dataclass(frozen=True, slots=True)
class Emitted:
    """What became of an event."""

    event_id: UUID
    already: bool
    """Whether it had been told before: its id and what it did are those of the first time."""
    triggered: int
    """How many rules it triggered."""
    started: int
    """How many instances of workflows it started."""
    woken: int
    """How many steps of instances had waited for it."""
    campaign_id: UUID | None = None
    """The campaign that its payload names."""
    note: str | None = None
    """Why rules about campaigns were not triggered, though the payload names one."""


def read(
    event_type: object,
    payload: object,
    *,
    idempotency_key: object = None,
    occurred_at: datetime | None = None,
    source: object = None,
) -> Event:
    """Return the event; raises InputError with every problem."""
    problems = Problems()
    if not is_type(event_type):
        problems.add("type", f"cannot be {shown(event_type)}", TYPE_REMEDY)
    if not isinstance(payload, dict):
        problems.add("payload", f"must be an object, not {shown(payload)}", "write {name: value}")
    else:
        _check_payload(payload, problems)
    for name, value, longest in (("idempotency_key", idempotency_key, MAX_KEY), ("source", source, MAX_SOURCE)):
        _check_text(name, value, longest, problems)
    if occurred_at is not None and occurred_at.tzinfo is None:
        problems.add("occurred_at", "has no offset from UTC", "write it like 2026-03-01T09:00:00Z")
    problems.raise_if_any()
    if not isinstance(payload, dict):
        raise TypeError("a payload that is no object was taken for one")
    key = None if idempotency_key is None else str(idempotency_key)
    return Event(str(event_type), payload, key, occurred_at, None if source is None else str(source))


def emit(
    database: Database, context: Context, event: Event, *, wake: bool = False, instance_id: UUID | None = None
) -> Emitted:
    """Store an event and let follow what follows, exactly once for each idempotency key; by an operator or more.

    Told again with the same type and payload it is the first event; with others ConflictError is raised. `wake` rouses
    the schedulers, which else look at their next poll: for a person who waits, and not for streams of events.
    `instance_id`: only that instance's waiting steps are told, whatever value they wait for; ConflictError is raised
    where none waits for this type.
    """

    def once() -> Emitted:
        with database.transaction(context) as connection:
            if context.user_id != ENGINE_ACTOR:
                actions.require_role(connection, Role.OPERATOR)
            emitted = _emit(connection, context.org_id, event, instance_id, clock.now(connection))
            if wake and not emitted.already and emitted.triggered + emitted.started + emitted.woken:
                maintenance.wake_schedulers(connection)
            return emitted

    try:
        return repeat_on_conflict(once)
    except ArchivedError:  # between two looks at it: now it is none that the event starts
        return repeat_on_conflict(once)


def _emit(connection: Connection, org_id: UUID, event: Event, instance_id: UUID | None, now: datetime) -> Emitted:
    told = Told(uuid7(now), event.type, event.payload)
    events.lock_type(connection, org_id, event.type, exclusive=False)
    if instance_id is None:
        follows = follow_up.of_all(connection, org_id, told, now=now)
    else:
        follows = follow_up.of_one(connection, org_id, told, instance_id)
    row = {
        "org_id": org_id,
        "event_id": told.event_id,
        "type": event.type,
        "payload": event.payload,
        "source": event.source,
        "idempotency_key": event.idempotency_key or str(told.event_id),
        "instance_id": instance_id,
        "occurred_at": event.occurred_at or now,
        "created_at": now,
    }
    if not events.insert(connection, row | follows.counts):
        return _again(events.told(connection, row), row["idempotency_key"])
    if instance_id is not None and not follows.waiting:
        message = f"no step of the instance {instance_id} waits for an event of type {event.type}"
        raise ConflictError.of("instance", message, "look at what it waits for, or tell the event to all")
    follow_up.begin(connection, org_id, told, follows, now=now)
    named = follows.named
    return Emitted(told.event_id, already=False, **follows.counts, campaign_id=named.campaign_id, note=named.note)


def _again(first: Row[Any], key: object) -> Emitted:
    if not first.same:
        message = f"{shown(key)} is the key of another event, {first.event_id} of type {first.type}"
        raise ConflictError.of("idempotency_key", message, "give each event a key of its own")
    return Emitted(first.event_id, already=True, triggered=first.triggered, started=first.started, woken=first.woken)


def _check_payload(payload: dict[Any, Any], problems: Problems) -> None:
    try:
        refuse_unstorable(payload, "payload", MAX_DEPTH)
        written = json.dumps(payload, separators=(",", ":"), ensure_ascii=False).encode()
        orjson.loads(written)  # as it is read again from its row
    except InputError as error:
        problems.extend(error)
    except (TypeError, ValueError):  # no JSON, or a number that no double can hold
        problems.add("payload", "holds what JSON has not, or a number that is too long", "give plain JSON")
    else:
        if len(written) > MAX_BYTES:
            problems.add("payload", f"has {len(written):,} bytes as JSON", f"give at most {MAX_BYTES:,}")


def _check_text(name: str, value: object, longest: int, problems: Problems) -> None:
    if value is None:
        return
    if not isinstance(value, str) or not 0 < len(value) <= longest or not value.isprintable():
        remedy = f"give 1 to {longest} characters that can be printed, or leave it out"
        problems.add(name, f"cannot be {shown(value)}", remedy)
