"""Pushes: each change of a campaign that is applied goes to every active connector of its platform.

A push is queued in the transaction of its change, so that it is there exactly if the change is. `version` is the
campaign's after the change: it only grows, whatever becomes of ids, and it is what orders the pushes of one campaign.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeAlias

from core.ids import uuid7, uuid7_time
from engine.actions.base import Effect
from engine.actions.registry import PUSH
from engine.deliver.enqueue import Parcel
from engine.store import campaigns, connectors, executions, tasks
from models.enums import Channel

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from datetime import datetime
    from uuid import UUID

    from sqlalchemy import Connection, Row

Active: TypeAlias = "Sequence[tuple[str, str | None]]"
"""Id and platform of each active connector; None = it takes the changes of all."""


@dataclass(frozen=True, slots=True)
class Applied:
    """One change of a campaign that is applied, in the caller's transaction."""

    entity_id: UUID
    before: Mapping[str, Any]
    after: Mapping[str, Any]
    key: str
    """What the idempotency keys of its pushes begin with; unique, and the same if the transaction is repeated."""
    made_at: datetime
    """What time the ids of its pushes have: that of the effect, since an execution's statements are bounded by it."""
    position: int = 0
    execution_id: UUID | None = None
    """The execution that waits for the pushes; None = a person's change, for which nothing waits."""
    rule_id: UUID | None = None
    instance_id: UUID | None = None
    """The run of a workflow whose step made the change; it does not wait for the pushes."""
    step_id: str | None = None

    @classmethod
    def of(cls, effect: Effect) -> Applied:
        """Return the change that an effect of a rule, or of a step, was."""
        key = f"{effect.idempotency_key}:push"
        origin = (effect.position, effect.execution_id, effect.rule_id, effect.instance_id, effect.step_id)
        return cls(effect.entity_id, effect.before, effect.after, key, uuid7_time(effect.action_id), *origin)

    @classmethod
    def undoing(cls, row: Row[Any], *, now: datetime) -> Applied:
        """Return the change that takes an effect back; a person's, for which the effect's execution does not wait."""
        return cls(row.entity_id, row.after, row.before, f"{row.idempotency_key}:undo", now)

    @classmethod
    def by_hand(cls, entity_id: UUID, before: Mapping[str, Any], after: Mapping[str, Any], *, now: datetime) -> Applied:
        """Return a person's change."""
        return cls(entity_id, before, after, f"{uuid7(now)}:push", now)


@dataclass(frozen=True, slots=True)
class Push(Effect):
    """A push as an effect of the execution whose change it tells."""

    key: str = ""

    def row(self) -> dict[str, Any]:
        """Return the push as its row in the database."""
        return Effect.row(self) | {"idempotency_key": self.key}


@dataclass(slots=True)
class _Walk:
    """Campaigns as one change after the other is applied to them: each is one more version."""

    campaigns: Mapping[UUID, Row[Any]]
    """Their rows, with platform, external_id, name and version."""
    steps: Counter[UUID]
    """How many changes further than its row each campaign is; less than none where the row has later ones already."""
    names: dict[UUID, str] = field(default_factory=dict)

    def message(self, one: Applied | Effect) -> tuple[Row[Any], dict[str, Any]]:
        """Return the campaign of the next change, and what a push tells of it."""
        campaign = self.campaigns[one.entity_id]
        self.steps[one.entity_id] += 1
        if "name" in one.before:
            self.names[one.entity_id] = one.after["name"]
        change = {column: {"before": was, "after": one.after[column]} for column, was in one.before.items()}
        told = {
            "id": str(one.entity_id),
            "external_id": campaign.external_id,
            "platform": campaign.platform,
            "name": self.names.get(one.entity_id, campaign.name),
        }
        return campaign, {"campaign": told, "change": change, "version": campaign.version + self.steps[one.entity_id]}


def queue(
    effects: Sequence[list[Effect]],
    pages: Sequence[Mapping[UUID, Row[Any]]],
    active: Active | None,
    *,
    now: datetime,
) -> None:
    """Add to the planned effects of each run the pushes of its changes, in the order in which these will be applied.

    `pages`: the locked campaigns as they are before. `active`: the org's connectors; None = it has none.
    """
    if not active:
        return
    known: dict[UUID, Row[Any]] = {}
    for page in pages:
        known.update(page)
    walk = _Walk(known, Counter())
    for run in effects:
        run += [push for effect in run if _changes(effect) for push in _pushes(effect, walk, active, now)]


def pushes(
    connection: Connection, org_id: UUID, changed: Sequence[Applied], *, now: datetime
) -> Sequence[dict[str, Any]]:
    """Queue the pushes of changes that were just applied, in their order, and return their rows.

    The campaigns are locked and read as the changes have left them. Where no connector takes them that is one query.
    """
    changed = [one for one in changed if one.before]
    active = connectors.active(connection, org_id) if changed else ()
    if not active:
        return ()
    behind: Counter[UUID] = Counter()
    behind.subtract(one.entity_id for one in changed)
    walk = _Walk(campaigns.identities(connection, org_id, list(behind)), behind)
    rows = [row for one in changed for row in _rows(one, walk, active, now)]
    if rows:
        executions.insert_actions(connection, org_id, rows[0]["task_id"], rows, now=now)
        parcels = [Parcel(row["task_id"], [row["action_id"]]) for row in rows]
        tasks.insert(connection, [parcel.row(org_id, now=now) for parcel in parcels], now=now)
    return rows


def _changes(effect: Effect) -> bool:
    return effect.status == "succeeded" and bool(effect.before)


def _pushes(effect: Effect, walk: _Walk, active: Active, now: datetime) -> Iterator[Push]:
    campaign, message = walk.message(effect)
    key = f"{effect.idempotency_key}:push"
    for connector_id in _taking(campaign, active):
        yield Push(
            uuid7(now),
            effect.execution_id,
            effect.rule_id,
            effect.position,
            PUSH,
            {"connector_id": connector_id},
            effect.entity_id,
            {},
            {"connector_id": connector_id, **message},
            "queued",
            channel=Channel.CONNECTOR,
            key=f"{key}:{connector_id}",
        )


def _rows(one: Applied, walk: _Walk, active: Active, now: datetime) -> Iterator[dict[str, Any]]:
    campaign, message = walk.message(one)
    for connector_id in _taking(campaign, active):
        yield {
            "action_id": uuid7(one.made_at),
            "execution_id": one.execution_id,
            "rule_id": one.rule_id,
            "task_id": uuid7(now),
            "position": one.position,
            "type": PUSH,
            "params": {"connector_id": connector_id},
            "entity_id": one.entity_id,
            "before": {},
            "after": {"connector_id": connector_id, **message},
            "idempotency_key": f"{one.key}:{connector_id}",
            "status": "queued",
            "channel": Channel.CONNECTOR,
            "instance_id": one.instance_id,
            "step_id": one.step_id,
        }


def _taking(campaign: Row[Any], active: Active) -> Iterator[str]:
    """Yield the connectors that take the changes of a campaign."""
    return (connector_id for connector_id, platform in active if platform in {None, campaign.platform})
