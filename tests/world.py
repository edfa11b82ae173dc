"""A database as each role, and orgs with campaigns, rules, jobs and tasks: what tests of the engine act upon."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final

import psycopg
from sqlalchemy import insert, text

import models
from core import clock
from core.db import ENGINE_ACTOR, RESERVED_ORG, Context, Database
from core.ids import uuid7
from dev.clock import advance_clock
from engine import chunk
from engine.dispatch import BATCH, Dispatched, Dispatcher
from engine.run_rules import service, work
from engine.store import tasks
from tests.factories import create_campaign, create_job, create_org, create_rule

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime
    from uuid import UUID

    from dev.site import Site

SPENT: Final = [{"field": "spend", "operator": ">", "value": 0}]
"""True for every campaign that `Org.campaign` makes."""
PAUSE: Final = [{"type": "pause_campaign"}]
NOTIFY: Final = [{"type": "notify", "params": {"message": "look"}}]


@dataclass(frozen=True)
class World:
    """One test's database, as the app, the scheduler and the readonly role."""

    site: Site
    app: Database
    scheduler: Database
    reader: Database

    @classmethod
    def open(cls, site: Site) -> World:
        """Connect as each role."""
        urls = site.urls
        roles = {
            "DATABASE_URL": urls.app,
            "SCHEDULER_DATABASE_URL": urls.scheduler,
            "READONLY_DATABASE_URL": urls.readonly,
        }
        databases = [Database(url, variable=name, application="tests", pool_size=10) for name, url in roles.items()]
        return cls(site, *databases)

    def close(self) -> None:
        """Close all connections."""
        for database in (self.app, self.scheduler, self.reader):
            database.close()

    def org(self, name: str = "org", timezone: str = "UTC") -> Org:
        """Create an org."""
        return Org(self, create_org(self.app, name, timezone))

    def now(self) -> datetime:
        """Return the product's time."""
        with self.app.transaction(None) as connection:
            return clock.now(connection)

    def advance(self, **step: float) -> datetime:
        """Move the product's clock forward; the new time."""
        return advance_clock(self.site.urls.migration, timedelta(**step))

    def rows(self, query: str, **values: Any) -> Sequence[Any]:
        """Read from all orgs."""
        with self.reader.snapshot() as connection:
            return connection.execute(text(query), values).all()

    def one(self, query: str, **values: Any) -> Any:
        """Read one value from all orgs."""
        [[value]] = self.rows(query, **values)
        return value

    def task(self, task_id: UUID) -> Any:
        """Read a task."""
        [row] = self.rows("SELECT * FROM cmis.tasks WHERE task_id = :task_id", task_id=task_id)
        return row

    def meddle(self, statement: str, **values: Any) -> int:
        """Change rows of any org as the role that owns the engine's functions; returns how many."""
        with psycopg.connect(self.site.urls.migration) as connection:
            connection.execute("SET LOCAL ROLE cmis_engine")
            return connection.execute(statement, values).rowcount

    def dispatch(self, limit: int = BATCH) -> Dispatched:
        """Do what a scheduler does with due jobs: one batch."""
        return Dispatcher(self.scheduler, org_cap=1_000).dispatch(limit)

    def run(self, org_id: UUID, task_id: UUID, worker: str = "worker") -> work.Result:
        """Do what a worker does with a message."""
        return service.run(self.app, org_id, task_id, worker=worker)

    def run_all(self) -> int:
        """Run every task that is ready until none is; returns how many messages that took."""
        ran = 0
        ready = (
            "SELECT org_id, task_id FROM cmis.tasks WHERE state = 'ready' AND run_at <= cmis.clock() ORDER BY task_id"
        )
        while waiting := self.rows(ready):
            for org_id, task_id in waiting:
                self.run(org_id, task_id)
                ran += 1
        return ran

    def enqueue(self, groups: Mapping[UUID, Sequence[UUID]], *, attempt: int = 0) -> UUID:
        """Enqueue one task that evaluates these rules of these orgs; returns its id."""
        now = self.now()
        made = [
            chunk.Group(org_id, tuple(chunk.Item(rule_id, uuid7(now), "manual") for rule_id in rule_ids))
            for org_id, rule_ids in groups.items()
        ]
        owner = made[0].org_id if len(made) == 1 else RESERVED_ORG
        task_id = uuid7(now)
        row = {"org_id": owner, "task_id": task_id, "kind": "evaluate_rules", "queue": "rules", "run_at": now}
        with self.app.transaction(Context(owner, ENGINE_ACTOR)) as connection:
            tasks.insert(connection, [row | {"payload": chunk.payload(made), "attempt": attempt}], now=now)
        return task_id


@dataclass(frozen=True)
class Org:
    """One org of a world. Every campaign that it makes spent 100 on 1 conversion yesterday, unless told otherwise."""

    world: World
    context: Context

    @property
    def id(self) -> UUID:
        """Its id."""
        return self.context.org_id

    def campaign(self, metrics: Mapping[str, Any] | None = None, **values: Any) -> UUID:
        """Make a campaign, by default active with a budget of 100; `metrics` of yesterday, `{}` for none."""
        with self.world.app.transaction(self.context) as connection:
            campaign_id = create_campaign(connection, self.context, **values)
            sums = {"spend": 100, "conversions": 1} if metrics is None else dict(metrics)
            if sums:
                now = clock.now(connection)
                row = {"org_id": self.id, "campaign_id": campaign_id, "date": (now - timedelta(days=1)).date()}
                connection.execute(insert(models.CampaignMetric), row | {"observed_at": now} | sums)
        return campaign_id

    def rule(self, conditions: Any = SPENT, actions: Any = PAUSE, **values: Any) -> UUID:
        """Make an active rule without a cooldown."""
        given = {"conditions": conditions, "actions": actions, "cooldown_minutes": 0} | values
        with self.world.app.transaction(self.context) as connection:
            return create_rule(connection, self.context, **given)

    def job(self, rule_id: UUID | None, *, due_for: timedelta = timedelta(minutes=1), **values: Any) -> UUID:
        """Make a job, by default one that fires once and has been due for a minute."""
        due = self.world.now().replace(microsecond=0) - due_for
        once = {
            "schedule_type": "once",
            "cron_expression": None,
            "start_date": due,
            "anchor_at": due,
            "next_run_at": due,
        }
        with self.world.app.transaction(self.context) as connection:
            return create_job(connection, self.context, rule_id, **({"name": f"job {uuid7(due)}"} | once | values))

    def hourly(self, rule_id: UUID | None, *, hours_due: int, **values: Any) -> UUID:
        """Make a job that fires each hour on the hour and has `hours_due` such times behind it."""
        this_hour = self.world.now().replace(minute=0, second=0, microsecond=0)
        first = this_hour - timedelta(hours=hours_due - 1)
        cron = {"schedule_type": "cron", "cron_expression": "0 * * * *", "start_date": None}
        anchor = dict.fromkeys(("anchor_at", "created_at"), first - timedelta(hours=1)) | {"next_run_at": first}
        return self.job(rule_id, **(cron | anchor | values))

    def evaluate(self, *rule_ids: UUID) -> Sequence[Any]:
        """Evaluate rules in one task, as a worker does; returns their executions in the order of `rule_ids`."""
        task_id = self.world.enqueue({self.id: rule_ids})
        self.world.run(self.id, task_id)
        found = self.world.rows("SELECT * FROM cmis.automation_executions WHERE task_id = :task_id", task_id=task_id)
        return sorted(found, key=lambda execution: rule_ids.index(execution.rule_id))

    def update_rule(self, rule_id: UUID, **columns: Any) -> None:
        """Change a rule as its people would."""
        table = models.AutomationRule
        with self.world.app.transaction(self.context) as connection:
            connection.execute(
                models.AutomationRule.__table__.update()  # type: ignore[attr-defined]
                .where(table.org_id == self.id, table.rule_id == rule_id)
                .values(**columns)
            )

    def campaign_row(self, campaign_id: UUID) -> Any:
        """Read a campaign."""
        [row] = self.world.rows("SELECT * FROM cmis.campaigns WHERE campaign_id = :id", id=campaign_id)
        return row
