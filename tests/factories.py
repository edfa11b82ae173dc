"""Orgs for tests, filled as the app role would: at least one row in every tenant table, and none by the back door.

A new tenant table needs its row in `fill`; a test in tests/integration/isolation fails until it has one. What the
role may not write, since only the database does, is written by `retire`.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any
from uuid import UUID, uuid4

from psycopg import sql
from sqlalchemy import insert, update

import models
from core import clock
from core.db import CLI_ACTOR, Context, Database
from core.ids import uuid7
from engine.store import actions, orgs
from models.enums import PermitVerb

if TYPE_CHECKING:
    import psycopg
    from sqlalchemy import Connection

IP = "203.0.113.7"


@dataclass(frozen=True, slots=True)
class Tenant:
    """An org, its admin, and the ids of the rows that `fill` made for it."""

    org_id: UUID
    admin_id: UUID
    campaign_id: UUID
    rule_id: UUID
    job_id: UUID
    task_id: UUID
    execution_id: UUID
    action_id: UUID
    scheduled_for: datetime

    @property
    def context(self) -> Context:
        """The admin's context, from an address."""
        return Context(self.org_id, self.admin_id, IP)


def create_org(database: Database, name: str, timezone: str = "UTC") -> Context:
    """Create an org with an admin of its own, and return the admin's context."""
    with database.transaction(None) as connection:
        now = clock.now(connection)
        org = orgs.OrgRef(uuid7(now), name, timezone)
        admin_id = uuid7(now)
        orgs.create(
            connection, org, actor_id=CLI_ACTOR, admin_id=admin_id, admin_email=f"{uuid4().hex}@{org.org_id}.test"
        )
    return Context(org.org_id, admin_id, IP)


def create_campaign(connection: Connection, context: Context, **values: Any) -> UUID:
    """Insert a campaign (by default active, with a budget of 100) and return its id."""
    now = clock.now(connection)
    defaults: dict[str, Any] = {
        "org_id": context.org_id,
        "campaign_id": uuid7(now),
        "name": "campaign",
        "status": "active",
        "budget": 100,
        "created_at": now,
        "updated_at": now,
    }
    row = defaults | values
    connection.execute(insert(models.Campaign), row)
    campaign_id: UUID = row["campaign_id"]
    return campaign_id


def create_rule(connection: Connection, context: Context, **values: Any) -> UUID:
    """Insert an active rule over all campaigns and return its id."""
    now = clock.now(connection)
    defaults: dict[str, Any] = {
        "org_id": context.org_id,
        "rule_id": uuid7(now),
        "name": "rule",
        "status": "active",
        "conditions": [{"field": "cpa", "operator": ">", "value": 50}],
        "actions": [{"type": "pause_campaign", "params": {}}],
        "owner_id": context.user_id,
        "created_at": now,
        "updated_at": now,
    }
    row = defaults | values
    connection.execute(insert(models.AutomationRule), row)
    rule_id: UUID = row["rule_id"]
    return rule_id


def create_job(connection: Connection, context: Context, rule_id: UUID | None, **values: Any) -> UUID:
    """Insert an active hourly cron job, by default for a rule, due in an hour, and return its id."""
    now = clock.now(connection)
    defaults: dict[str, Any] = {
        "org_id": context.org_id,
        "job_id": uuid7(now),
        "name": "job",
        "rule_id": rule_id,
        "schedule_type": "cron",
        "cron_expression": "0 * * * *",
        "anchor_at": now,
        "next_run_at": now + timedelta(hours=1),
        "owner_id": context.user_id,
        "created_at": now,
        "updated_at": now,
    }
    row = defaults | values
    connection.execute(insert(models.ScheduledJob), row)
    job_id: UUID = row["job_id"]
    return job_id


def fill(database: Database, context: Context) -> Tenant:
    """Write at least one row into every tenant table of the org; returns their ids."""
    with database.transaction(context) as connection:
        now = clock.now(connection)
        campaign_id = create_campaign(connection, context, external_id="external")
        rule_id = create_rule(connection, context)
        tenant = Tenant(
            org_id=context.org_id,
            admin_id=context.user_id,
            campaign_id=campaign_id,
            rule_id=rule_id,
            job_id=create_job(connection, context, rule_id),
            task_id=uuid7(now),
            execution_id=uuid7(now),
            action_id=uuid7(now),
            scheduled_for=now.astimezone(UTC).replace(minute=0, second=0, microsecond=0),
        )
        for table, row in _rows(tenant, now):
            connection.execute(insert(table), {"org_id": tenant.org_id} | row)
        _leave_traces(connection, tenant)
    return tenant


def retire(connection: psycopg.Connection[Any], tenant: Tenant) -> None:
    """Write, as an administrator, what only the database does when it drops a month: a row into each such table."""
    counted = {
        "retired_executions": (tenant.rule_id, 1, 0, 0, 0),
        "retired_effects": (tenant.rule_id, tenant.campaign_id, tenant.scheduled_for),
        "retired_occurrences": (tenant.job_id, 1, tenant.scheduled_for, None),
        "retired_instances": (tenant.rule_id, 1),
    }
    for table, values in counted.items():
        places = sql.SQL(", ").join([sql.Placeholder()] * (len(values) + 1))
        into = sql.SQL("INSERT INTO {} VALUES ({})").format(sql.Identifier("cmis", table), places)
        connection.execute(into, [tenant.org_id, *values])


def _leave_traces(connection: Connection, tenant: Tenant) -> None:
    """Do what makes the database itself write: a permit, and a change under a bound on a run's changes."""
    actions.permit(connection, tenant.action_id, PermitVerb.UNDO)
    orgs.set_guardrails(connection, {"max_entities_per_run": 1}, [])
    connection.execute(update(models.Campaign).values(objective="sales"))
    orgs.set_guardrails(connection, {}, [])


def _rows(tenant: Tenant, now: datetime) -> list[tuple[type[models.Base], dict[str, Any]]]:
    run = {"execution_id": tenant.execution_id, "task_id": tenant.task_id, "rule_id": tenant.rule_id}
    return [
        (
            models.CampaignMetric,
            {"campaign_id": tenant.campaign_id, "date": now.date(), "observed_at": now, "spend": 1},
        ),
        (
            models.RuleEntityState,
            {
                "rule_id": tenant.rule_id,
                "entity_id": tenant.campaign_id,
                "last_acted_at": now,
                "execution_id": tenant.execution_id,
            },
        ),
        (models.Task, {"task_id": tenant.task_id, "kind": "evaluate_rules", "queue": "rules"} | _times(now)),
        (
            models.TaskAttempt,
            {
                "attempt_id": uuid7(now),
                "task_id": tenant.task_id,
                "fence": 1,
                "attempt": 1,
                "worker": "worker",
                "started_at": now,
            },
        ),
        (
            models.Occurrence,
            {
                "job_id": tenant.job_id,
                "origin": "schedule",
                "scheduled_for": tenant.scheduled_for,
                "until": tenant.scheduled_for,
                "count": 1,
                "job_revision": 1,
                "decision": "run",
                "execution_id": tenant.execution_id,
                "task_id": tenant.task_id,
                "decided_at": now,
            },
        ),
        (
            models.AutomationExecution,
            run
            | {"rule_version": 1, "trigger": "schedule", "status": "success", "started_at": now, "finished_at": now},
        ),
        (
            models.AutomationAction,
            run
            | {
                "action_id": tenant.action_id,
                "position": 0,
                "type": "pause_campaign",
                "entity_type": "campaign",
                "entity_id": tenant.campaign_id,
                "idempotency_key": str(tenant.action_id),
                "status": "succeeded",
                "created_at": now,
                "finished_at": now,
            },
        ),
        (
            models.Optimization,
            {
                "optimization_id": uuid7(now),
                "job_id": tenant.job_id,
                "campaign_id": tenant.campaign_id,
                "trigger": "manual",
                "task_id": tenant.task_id,
                "status": "success",
                "started_at": now,
                "finished_at": now,
            },
        ),
        (
            models.Notification,
            {"notification_id": uuid7(now), "channel": "in_app", "title": "title", "body": "body", "created_at": now},
        ),
        (models.Destination, {"destination": "https://receiver.test:443", "updated_at": now}),
        (models.TokenBucket, {"bucket": "org", "rate_per_minute": 60}),
        (models.OrgQueueLimit, {"queue": "rules", "in_flight": 50}),
        (
            models.Secret,
            {
                "name": "signing",
                "secret_id": uuid7(now),
                "key_id": "test",
                "nonce": bytes(12),
                "ciphertext": b"sealed",
                "created_at": now,
                "updated_at": now,
            },
        ),
        (
            models.Connector,
            {
                "connector_id": uuid7(now),
                "name": "connector",
                "url": "https://connector.test/changes",
                "signing_secret": "secret://signing",
                "created_at": now,
                "updated_at": now,
            },
        ),
        (
            models.AutomationEvent,
            {
                "event_id": uuid7(now),
                "type": "lead.created",
                "payload": {},
                "idempotency_key": str(tenant.action_id),
                "occurred_at": now,
                "created_at": now,
            },
        ),
        (
            models.AutomationWorkflow,
            {
                "workflow_id": uuid7(now),
                "name": "bundle",
                "category": "performance",
                "rules": [{"name": "rule", "conditions": [], "actions": []}],
                "owner_id": tenant.admin_id,
                "created_at": now,
                "updated_at": now,
            },
        ),
        *_workflow_rows(tenant, now),
        (
            models.AuditEntry,
            {
                "created_at": now,
                "audit_id": uuid7(now),
                "action": "rule_executed",
                "entity_type": "rule",
                "entity_id": tenant.rule_id,
            },
        ),
    ]


def _workflow_rows(tenant: Tenant, now: datetime) -> list[tuple[type[models.Base], dict[str, Any]]]:
    """Return a template, its version, an instance of it that is an hour into its day of waiting, and its step."""
    definition = {"steps": [{"id": "wait", "type": "delay", "config": {"days": 1}}]}
    template = {"template_id": uuid7(now)}
    instance = {"instance_id": uuid7(now)}
    return [
        (
            models.WorkflowTemplate,
            template
            | {
                "name": "workflow",
                "category": "campaign",
                "status": "active",
                "definition": definition,
                "version": 1,
                "owner_id": tenant.admin_id,
                "created_at": now,
                "updated_at": now,
            },
        ),
        (
            models.WorkflowTemplateVersion,
            template
            | {
                "version": 1,
                "definition": definition,
                "steps": 1,
                "published_by": tenant.admin_id,
                "published_at": now,
            },
        ),
        (
            models.WorkflowInstance,
            template
            | instance
            | {
                "version": 1,
                "status": "running",
                "trigger_type": "manual",
                "steps_total": 1,
                "created_at": now,
                "started_at": now,
            },
        ),
        (
            models.WorkflowStep,
            instance
            | {
                "step_id": "wait",
                "position": 0,
                "type": "delay",
                "status": "waiting",
                "attempt": 1,
                "waits_for": "delay",
                "wake_at": now + timedelta(hours=23),
                "started_at": now,
            },
        ),
    ]


def _times(now: datetime) -> dict[str, datetime]:
    return {"run_at": now, "publish_at": now, "created_at": now}
