"""Take in an event: store it once, and with it, in one transaction, all that follows.

That is an evaluation of each rule that it triggers, an instance of each workflow that it starts, and a signal to each
step that waits for it.
"""

from __future__ import annotations

import json
import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, NamedTuple
from uuid import UUID

import orjson

from core import clock
from core.db import ENGINE_ACTOR, repeat_on_conflict
from core.errors import ConflictError, InputError
from core.ids import uuid7
from engine import chunk
from engine.enqueue import tasks_of
from engine.rules.event_terms import TYPE_REMEDY, is_type
from engine.rules.reading import Problems, refuse_unstorable, shown
from engine.start_workflow import Start, start
from engine.store import actions, campaigns, events, instances, maintenance, rules, tasks
from engine.workflows.triggering import holds
from models.enums import EntityType, InstanceTrigger, Role, TriggerType

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from datetime import datetime

    from sqlalchemy import Connection, Row

    from core.db import Context, Database

logger = logging.getLogger(__name__)

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


class _Named(NamedTuple):
    """The campaign that a payload names, if any; or why what it names is none."""

    campaign_id: UUID | None = None
    note: str | None = None


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
    except _ArchivedError:  # between two looks at it: now it is none that the event starts
        return repeat_on_conflict(once)


class _ArchivedError(ConflictError):
    """A workflow that the event was to start is not active any more."""


class _Follows(NamedTuple):
    """What follows from an event that was not told before."""

    items: list[chunk.Item]
    templates: list[UUID]
    waiting: Sequence[Row[Any]]
    named: _Named


def _emit(connection: Connection, org_id: UUID, event: Event, instance_id: UUID | None, now: datetime) -> Emitted:
    event_id = uuid7(now)
    events.lock_type(connection, org_id, event.type, exclusive=False)
    if instance_id is None:
        follows = _all(connection, org_id, event, event_id, now)
    else:
        waiting = events.waiting_of(connection, org_id, event.type, instance_id)
        follows = _Follows([], [], waiting, _Named())
    key = event.idempotency_key or str(event_id)
    counts = {"triggered": len(follows.items), "started": len(follows.templates), "woken": len(follows.waiting)}
    row = {
        "org_id": org_id,
        "event_id": event_id,
        "type": event.type,
        "payload": event.payload,
        "source": event.source,
        "idempotency_key": key,
        "instance_id": instance_id,
        "occurred_at": event.occurred_at or now,
        "created_at": now,
    }
    if not events.insert(connection, row | counts):
        return _told(events.told(connection, row), key)
    if instance_id is not None and not follows.waiting:
        message = f"no step of the instance {instance_id} waits for an event of type {event.type}"
        raise ConflictError.of("instance", message, "look at what it waits for, or tell the event to all")
    _let_follow(connection, org_id, event, event_id, follows, now)
    named = follows.named
    return Emitted(event_id, already=False, **counts, campaign_id=named.campaign_id, note=named.note)


def _all(connection: Connection, org_id: UUID, event: Event, event_id: UUID, now: datetime) -> _Follows:
    """Look up all that follows from an event which is told to all."""
    named = _campaign(connection, org_id, event.payload)
    rows = rules.triggered_by(connection, org_id, event.type)
    items = list(_items(rows, event, event_id, named, now))
    templates = [row.template_id for row in events.started_by(connection, org_id, event.type) if _starts(row, event)]
    return _Follows(items, templates, events.waiting(connection, org_id, event.type, event.payload), named)


def _starts(template: Row[Any], event: Event) -> bool:
    """Say whether an event starts a workflow; conditions that cannot be read must not keep it from all others."""
    try:
        return holds(template.event_conditions, event.payload)
    except InputError:
        logger.exception("the event_conditions of workflow %s cannot be read", template.template_id)
        return False


def _let_follow(
    connection: Connection, org_id: UUID, event: Event, event_id: UUID, follows: _Follows, now: datetime
) -> None:
    """Enqueue the evaluations and signals, and start the instances; templates are locked last."""
    tasks.insert(connection, tasks_of(org_id, follows.items, now=now), now=now)
    signal = {"kind": "event", "event_id": str(event_id)}
    signals = [(row.instance_id, row.step_id, signal) for row in follows.waiting]
    instances.wake(connection, org_id, signals, now=now)
    context = {"event": {"id": str(event_id), "type": event.type, "payload": event.payload}}
    key = events.key_of(event_id)
    starts = [
        Start(template_id, context, InstanceTrigger.EVENT, event_id=event_id, idempotency_key=key)
        for template_id in follows.templates
    ]
    if not starts:
        return
    try:
        start(connection, org_id, starts, now=now)
    except ConflictError as error:
        raise _ArchivedError(error.problems) from error


def _told(first: Row[Any], key: str) -> Emitted:
    if not first.same:
        message = f"{shown(key)} is the key of another event, {first.event_id} of type {first.type}"
        raise ConflictError.of("idempotency_key", message, "give each event a key of its own")
    return Emitted(first.event_id, already=True, triggered=first.triggered, started=first.started, woken=first.woken)


def _items(
    rows: Sequence[Row[Any]], event: Event, event_id: UUID, named: _Named, now: datetime
) -> Iterator[chunk.Item]:
    """Yield an evaluation of each rule that the event triggers.

    A rule that is for one campaign is not, where the event names another one; one about campaigns is not, where what
    the event names is none.
    """
    context = {"event_id": str(event_id), "event_type": event.type}
    for rule in rows:
        about_event = rule.entity_type == EntityType.EVENT
        others = named.campaign_id is not None and rule.entity_id not in {None, named.campaign_id}
        if not about_event and (others or named.note is not None):
            continue
        yield chunk.Item(
            rule.rule_id,
            uuid7(now),
            TriggerType.EVENT.value,
            context=context,
            campaign_id=None if about_event else named.campaign_id,
            event_id=event_id,
        )


def _campaign(connection: Connection, org_id: UUID, payload: dict[str, Any]) -> _Named:
    """Find the campaign that the payload names: by `campaign_id`, else by `external_id` with or without `platform`."""
    by_id, external_id, platform = (payload.get(name) for name in ("campaign_id", "external_id", "platform"))
    if by_id is not None:
        campaign_id = _id(by_id)
        found = [] if campaign_id is None else campaigns.named(connection, org_id, campaign_id=campaign_id)
        return _only(found, f"campaign_id {shown(by_id)}")
    if external_id is None:
        return _Named()
    where = external_id if isinstance(external_id, str) else str(external_id) if type(external_id) is int else None
    on = platform if isinstance(platform, str) else None
    found = [] if where is None else campaigns.named(connection, org_id, external_id=where, platform=on)
    return _only(found, f"external_id {shown(external_id)}" + ("" if on is None else f" on {shown(on)}"))


def _only(found: list[UUID], name: str) -> _Named:
    if len(found) == 1:
        return _Named(found[0])
    what = "names several campaigns: give the platform, too" if found else "names no campaign of this org"
    return _Named(note=f"{name} {what}")


def _id(value: object) -> UUID | None:
    try:
        return UUID(value) if isinstance(value, str) else None
    except ValueError:
        return None


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
