"""Load the demo's orgs into a database, run them to the end with real processes, and report what the rows say."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from core import clock
from core.clock import monotonic
from core.db import CLI_ACTOR, Context, Database
from core.errors import SetupError
from core.ids import uuid7
from dev.demo_csv import write_csv
from dev.demo_data import build
from dev.demo_rules import JOBS_CREATED_BEFORE
from dev.fleet import fleet
from dev.launch import wait_until
from dev.provider import servers
from engine import define, ingest, invariants
from engine.imports.read import ReadOptions, read_export
from engine.schedule.definition import parse
from engine.schedule.occurrences import first_occurrence
from engine.schedule.stored import to_columns
from engine.store import activity, campaigns, jobs

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime
    from pathlib import Path
    from uuid import UUID

    from dev.demo_data import DemoOrg
    from dev.demo_rules import DemoRule

WORKERS: Final = 2
SCHEDULERS: Final = 1
_FAULTS: Final = "rules.item=1x1"
"""The first rule that each worker process reads fails once, so that the demo shows a retry."""
_DEADLINE_SECONDS: Final = 120.0


@dataclass(frozen=True, slots=True)
class Report:
    """What the demo did, counted from the database after it was drained."""

    summary: dict[str, Any]
    executions: list[dict[str, Any]]
    invariants: list[invariants.Checked]

    def document(self) -> dict[str, Any]:
        """Return the report as one JSON document."""
        broken = {check.name: list(check.offenders) for check in self.invariants if check.offenders}
        return self.summary | {"invariants_broken": broken, "detail": self.executions}


def run(faults: str = _FAULTS) -> Report:
    """Start throw-away servers and processes, load the demo, wait until everything due is done, and report."""
    started = monotonic()
    with servers() as made:
        app = Database(made.site.urls.app, variable="DATABASE_URL", application="cmis-demo")
        load(app, made.run)
        app.close()
        reader = Database(made.site.urls.readonly, variable="READONLY_DATABASE_URL", application="cmis-demo")
        environment = made.site.full_env() | {"CMIS_FAULTS": faults}
        with fleet(WORKERS, SCHEDULERS, environment, made.run):
            await_drained(reader)
        report = _report(reader, started)
        reader.close()
        return report


def load(database: Database, directory: Path) -> None:
    """Insert the orgs: campaigns, metrics by importing their CSV (written to `directory`), rules and due jobs."""
    with database.transaction(None) as connection:
        now = clock.now(connection)
    for org in build(now):
        _load_org(database, org, directory, now)


def await_drained(reader: Database) -> None:
    """Wait until nothing is due, waiting or running; a SetupError after two minutes."""

    def drained() -> bool:
        with reader.snapshot() as connection:
            return activity.pending(connection) == 0

    if not wait_until(drained, _DEADLINE_SECONDS):
        message = f"the demo's work was not done after {_DEADLINE_SECONDS:.0f} s"
        raise SetupError(message, "is the machine very busy? run it again")


def _load_org(database: Database, org: DemoOrg, directory: Path, now: datetime) -> None:
    made = define.create_org(database, org.name, org.timezone, None, actor=CLI_ACTOR)
    context = Context(made.org_id, CLI_ACTOR)
    ids = _load_campaigns(database, context, org, now)
    target = ingest.Target(database, context, org.timezone)
    reading = read_export(write_csv(org, directory), ReadOptions(ingest.latest_day(target)), _silently)
    ingest.write_metrics(target, reading.sums, replace=False, progress=_silently)
    for rule in org.rules:
        _load_rule(database, context, rule, ids, now)


def _load_campaigns(database: Database, context: Context, org: DemoOrg, now: datetime) -> dict[object, UUID]:
    ids = {campaign["external_id"]: uuid7(now) for campaign in org.campaigns}
    rows = [
        {"org_id": context.org_id, "campaign_id": ids[campaign["external_id"]], "created_at": now, "updated_at": now}
        | campaign
        for campaign in org.campaigns
    ]
    with database.transaction(context) as connection:
        campaigns.create(connection, rows)
    return ids


def _load_rule(database: Database, context: Context, rule: DemoRule, ids: Mapping[object, UUID], now: datetime) -> None:
    entity = {"entity_id": str(ids[rule.campaign])} if rule.campaign else {}
    row = define.create_rule(database, context, rule.document | entity).row
    with database.transaction(context) as connection:
        for job in rule.jobs:
            jobs.create(connection, _job(context, row.rule_id, job, now))


def _job(context: Context, rule_id: UUID, document: Mapping[str, Any], now: datetime) -> dict[str, Any]:
    """Return a job's row as it would stand had it been created half an hour ago."""
    created = now - JOBS_CREATED_BEFORE
    schedule = parse({key: value for key, value in document.items() if key != "name"}, now=created)
    first = first_occurrence(schedule, created)
    return to_columns(schedule) | {
        "org_id": context.org_id,
        "job_id": uuid7(now),
        "name": document["name"],
        "target_type": "rule",
        "rule_id": rule_id,
        "next_run_at": first.at if first else None,
        "owner_id": context.user_id,
        "created_at": created,
        "updated_at": created,
    }


def _report(reader: Database, started: float) -> Report:
    with reader.snapshot() as connection:
        summary: dict[str, Any] = dict(activity.counts(connection))
        summary["executions"] = activity.executions_by_status(connection)
        summary["skipped"] = activity.executions_by_skip_reason(connection)
        detail = [row._asdict() for row in activity.executions(connection)]
    summary["seconds"] = round(monotonic() - started, 2)
    return Report(summary, detail, invariants.check(reader, drained=True))


def _silently(*_: int) -> None:
    """Report no progress."""
