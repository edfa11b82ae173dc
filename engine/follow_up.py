"""What follows from an event: rules are evaluated, workflows are started, and steps that wait for it go on."""

from __future__ import annotations

import logging
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, NamedTuple
from uuid import UUID

from core.errors import ConflictError, InputError, NotFoundError
from core.ids import uuid7
from engine import chunk, urgency
from engine.enqueue import tasks_of
from engine.rules.reading import shown
from engine.start_workflow import Start, start
from engine.store import campaigns, events, instances, rules, tasks
from engine.workflows.triggering import holds
from models.enums import EntityType, TriggerType
from models.workflow_enums import InstanceTrigger

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from datetime import datetime

    from sqlalchemy import Connection, Row

logger = logging.getLogger(__name__)


class ArchivedError(ConflictError):
    """A workflow that an event was to start is not active any more."""


class Told(NamedTuple):
    """An event that is being told."""

    event_id: UUID
    type: str
    payload: dict[str, Any]


class Named(NamedTuple):
    """The campaign that a payload names, if any; or why what it names is none."""

    campaign_id: UUID | None = None
    note: str | None = None


_NOTHING: Final = Named()


@dataclass(frozen=True, slots=True)
class FollowUp:
    """What follows from an event that was not told before."""

    items: list[chunk.Item] = field(default_factory=list)
    """Evaluations of the rules that it triggers."""
    urgencies: Mapping[UUID, int] = field(default_factory=dict)
    """How urgent those of each rule are."""
    templates: list[UUID] = field(default_factory=list)
    """The workflows that it starts."""
    waiting: Sequence[Row[Any]] = ()
    """The steps that wait for it."""
    named: Named = _NOTHING

    @property
    def counts(self) -> dict[str, int]:
        """How much of each there is."""
        return {"triggered": len(self.items), "started": len(self.templates), "woken": len(self.waiting)}


def of_all(connection: Connection, org_id: UUID, told: Told, *, now: datetime) -> FollowUp:
    """Look up all that follows from an event. Its type is locked, so that no step begins to wait meanwhile."""
    named = _campaign(connection, org_id, told.payload)
    triggered = rules.triggered_by(connection, org_id, told.type)
    items = list(_items(triggered, told, named, now))
    urgencies = {rule.rule_id: urgency.of_rule(rule.priority) for rule in triggered}
    found = events.started_by(connection, org_id, told.type)
    templates = [template.template_id for template in found if _starts(template, told)]
    waiting = events.waiting(connection, org_id, told.type, told.payload)
    return FollowUp(items, urgencies, templates, waiting, named)


def of_one(connection: Connection, org_id: UUID, told: Told, instance_id: UUID) -> FollowUp:
    """Look up what follows for one instance alone, whatever value its steps wait for. Raises NotFoundError."""
    if instances.ended(connection, org_id, instance_id) is None:
        message = f"there is no instance {instance_id} in this org"
        raise NotFoundError.of("instance", message, "see `cmis workflows instances`")
    return FollowUp(waiting=events.waiting_of(connection, org_id, told.type, instance_id))


def begin(connection: Connection, org_id: UUID, told: Told, follow_up: FollowUp, *, now: datetime) -> None:
    """Enqueue the evaluations and signals, and start the instances: templates are locked last.

    Raises ArchivedError for a workflow that is none to start any more.
    """
    tasks.insert(connection, tasks_of(org_id, follow_up.items, follow_up.urgencies, now=now), now=now)
    signal = {"kind": "event", "event_id": str(told.event_id)}
    signals = [(row.instance_id, row.step_id, signal) for row in follow_up.waiting]
    instances.wake(connection, org_id, signals, now=now)
    if not follow_up.templates:
        return
    context = {"event": {"id": str(told.event_id), "type": told.type, "payload": told.payload}}
    key = events.key_of(told.event_id)
    starts = [
        Start(template_id, context, InstanceTrigger.EVENT, event_id=told.event_id, idempotency_key=key)
        for template_id in follow_up.templates
    ]
    try:
        start(connection, org_id, starts, now=now)
    except ConflictError as error:
        raise ArchivedError(error.problems) from error


def _starts(template: Row[Any], told: Told) -> bool:
    """Say whether an event starts a workflow; conditions that cannot be read must not keep it from all others."""
    try:
        return holds(template.event_conditions, told.payload)
    except InputError:
        logger.exception("the event_conditions of workflow %s cannot be read", template.template_id)
        return False


def _items(rows: Sequence[Row[Any]], told: Told, named: Named, now: datetime) -> Iterator[chunk.Item]:
    """Yield an evaluation of each rule that the event triggers.

    A rule that is for one campaign is not, where the event names another one; one about campaigns is not, where what
    the event names is none.
    """
    context = {"event_id": str(told.event_id), "event_type": told.type}
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
            event_id=told.event_id,
        )


def _campaign(connection: Connection, org_id: UUID, payload: dict[str, Any]) -> Named:
    """Find the campaign that the payload names: by `campaign_id`, else by `external_id` with or without `platform`."""
    by_id, external_id, platform = (payload.get(name) for name in ("campaign_id", "external_id", "platform"))
    if by_id is not None:
        campaign_id = _id(by_id)
        found = [] if campaign_id is None else campaigns.named(connection, org_id, campaign_id=campaign_id)
        return _only(found, f"campaign_id {shown(by_id)}")
    if external_id is None:
        return Named()
    where = external_id if isinstance(external_id, str) else str(external_id) if type(external_id) is int else None
    on = platform if isinstance(platform, str) else None
    found = [] if where is None else campaigns.named(connection, org_id, external_id=where, platform=on)
    return _only(found, f"external_id {shown(external_id)}" + ("" if on is None else f" on {shown(on)}"))


def _only(found: list[UUID], name: str) -> Named:
    if len(found) == 1:
        return Named(found[0])
    what = "names several campaigns: give the platform, too" if found else "names no campaign of this org"
    return Named(note=f"{name} {what}")


def _id(value: object) -> UUID | None:
    try:
        return UUID(value) if isinstance(value, str) else None
    except ValueError:
        return None
