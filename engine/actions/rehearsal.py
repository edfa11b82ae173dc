"""A stage on which an action can be tried against a real database: an org that nobody will ever see."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Final

from core import clock
from core.db import CLI_ACTOR, ENGINE_ACTOR, Context, switch
from core.ids import uuid7
from engine.actions.base import Campaign, Change, Effect
from engine.store import campaigns, executions, orgs, rules, templates
from models.workflow_enums import TemplateStatus, WorkflowCategory

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from datetime import datetime
    from uuid import UUID

    from sqlalchemy import Connection

    from core.db import Database
    from engine.actions.base import Action, Params

COLUMNS: Final[Mapping[str, Any]] = {
    "name": "Example",
    "status": "active",
    "budget": Decimal(100),
    "currency": "EUR",
    "bid_amount": Decimal(2),
    "objective": None,
    "tags": (),
    "end_date": None,
    "platform": "other",
    "external_id": None,
}
"""The campaign of an example that does not say otherwise."""


WORKFLOW: Final = "Example"
"""The published workflow of the org."""


@dataclass(frozen=True, slots=True)
class Stage:
    """The transaction of an org's rehearsal, and its time."""

    connection: Connection
    org_id: UUID
    now: datetime

    def campaign(self, columns: Mapping[str, Any]) -> UUID:
        """Make a campaign of these columns; the rest as in COLUMNS."""
        campaign_id = uuid7(self.now)
        times = {"created_at": self.now, "updated_at": self.now}
        row = {**COLUMNS, **columns, "org_id": self.org_id, "campaign_id": campaign_id}
        row["tags"] = list(row["tags"])
        campaigns.create(self.connection, [row | times])
        return campaign_id

    def seen(self, campaign_id: UUID) -> Campaign:
        """Return a campaign as a plan sees it."""
        [row] = campaigns.some(self.connection, self.org_id, [campaign_id])
        return Campaign.of(row)

    def columns(self, campaign_ids: Sequence[UUID]) -> dict[UUID, dict[str, Any]]:
        """Return what effects may change of campaigns, JSON-ready."""
        found = campaigns.changeable(self.connection, self.org_id, campaign_ids)
        return {one: {name: columns[name] for name in campaigns.CHANGEABLE} for one, columns in found.items()}

    def meddle(self, campaign_ids: Sequence[UUID], columns: Mapping[str, Any]) -> None:
        """Change campaigns as a person would: in no action's name."""
        rows = [{"campaign_id": one, "action_id": None, "columns": columns} for one in campaign_ids]
        campaigns.apply(self.connection, self.org_id, rows)

    def intend(self, action: Action, params: Params, planned: Mapping[UUID, Change]) -> list[Effect]:
        """Record the effects of one execution of a rule, as the engine does before it applies them."""
        rule_id, execution_id, task_id = (uuid7(self.now) for _ in range(3))
        rules.create(self.connection, self._rule(rule_id, action, params))
        execution = _execution(execution_id, rule_id)
        executions.insert(self.connection, self.org_id, task_id, [execution], [{}], now=self.now)
        effects = [
            Effect(
                action_id=uuid7(self.now),
                execution_id=execution_id,
                rule_id=rule_id,
                position=0,
                kind=action.name,
                params=params,
                entity_id=campaign_id,
                before=change.before,
                after=change.after,
                status="succeeded",
            )
            for campaign_id, change in planned.items()
        ]
        rows = [effect.row() for effect in effects]
        executions.insert_actions(self.connection, self.org_id, task_id, rows, now=self.now)
        return effects

    def _rule(self, rule_id: UUID, action: Action, params: Params) -> dict[str, Any]:
        return {
            "org_id": self.org_id,
            "rule_id": rule_id,
            "name": "Example",
            "status": "active",
            "conditions": [{"field": "status", "operator": "is_not_null"}],
            "actions": [{"type": action.name, "params": dict(params)}],
            "owner_id": ENGINE_ACTOR,
            "created_at": self.now,
            "updated_at": self.now,
        }


def _publish(connection: Connection, org_id: UUID, now: datetime) -> None:
    """Give the org a workflow that can be started."""
    key = {"org_id": org_id, "template_id": uuid7(now)}
    definition = {"steps": [{"id": "wait", "type": "delay", "config": {"days": 1}}]}
    workflow = {
        "name": WORKFLOW,
        "category": WorkflowCategory.CAMPAIGN.value,
        "status": TemplateStatus.ACTIVE.value,
        "version": 1,
        "owner_id": ENGINE_ACTOR,
        "created_at": now,
        "updated_at": now,
    }
    templates.create(connection, key | workflow | {"definition": definition})
    published = {"version": 1, "steps": 1, "published_by": ENGINE_ACTOR, "published_at": now}
    templates.publish(connection, key | published | {"definition": definition})


@contextmanager
def rehearsal(database: Database) -> Iterator[Stage]:
    """Give a new org's transaction to the block, as the engine's actor under row-level security; all is rolled back.

    `database` is the app role's (DATABASE_URL).
    """
    with database.rehearsal(None) as connection:
        now = clock.now(connection)
        org_id, admin_id = uuid7(now), uuid7(now)
        org = orgs.OrgRef(org_id, f"rehearsal {org_id}", "UTC")
        email = f"{admin_id}@rehearsal.invalid"
        orgs.create(connection, org, actor_id=CLI_ACTOR, admin_id=admin_id, admin_email=email)
        switch(connection, Context(org_id, ENGINE_ACTOR))
        _publish(connection, org_id, now)
        yield Stage(connection, org_id, now)


def _execution(execution_id: UUID, rule_id: UUID) -> dict[str, Any]:
    return {
        "execution_id": execution_id,
        "rule_id": rule_id,
        "rule_version": 1,
        "trigger": "manual",
        "status": "success",
        "attempt": 1,
        "duration_ms": 0,
        "actions_executed": [],
        "results": {},
        "context": {},
    }
