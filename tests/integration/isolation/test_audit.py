"""Configuration is audited by the database itself, raw SQL too; the budget ledger is a chain that only it writes."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Any
from uuid import UUID
from zoneinfo import ZoneInfo

import psycopg
import pytest
from sqlalchemy import insert, text

from core.db import CLI_ACTOR, Context
from models import Campaign
from tests.factories import IP, create_campaign, create_org
from tests.integration.isolation.attempts import REFUSED, attempt, take

if TYPE_CHECKING:
    from collections.abc import Sequence

    from core.db import Database
    from dev.site import Site
    from tests.integration.isolation.conftest import Tenants

Connection = psycopg.Connection[Any]
_ENTRIES = """
SELECT action, user_id, host(ip), entity_type, entity_id, rule_id, before, after FROM cmis.automation_audit_log
 WHERE xid = pg_current_xact_id() ORDER BY created_at, audit_id
"""
_LEDGER = """
SELECT seq, before, after, user_id, action_id, day FROM cmis.budget_ledger WHERE campaign_id = %s ORDER BY seq
"""


def entries(connection: Connection) -> Sequence[tuple[Any, ...]]:
    """Return what the present transaction has put into the log."""
    return connection.execute(_ENTRIES).fetchall()


CHANGES = [
    ("orgs", "name = 'renamed'", "org_updated", {"name": ("north", "renamed")}),
    ("campaigns", "status = 'paused'", "campaign_updated", {"status": ("active", "paused")}),
    ("campaigns", "budget = 70, name = 'x'", "campaign_updated", {"budget": (100.0, 70.0), "name": ("campaign", "x")}),
    ("campaigns", "tags = '[1]'", "campaign_updated", {"tags": ([], [1])}),
    ("automation_rules", "status = 'paused'", "rule_paused", {"status": ("active", "paused")}),
    ("automation_rules", "status = 'archived'", "rule_archived", {"status": ("active", "archived")}),
    ("automation_rules", "status = 'draft'", "rule_updated", {"status": ("active", "draft")}),
    ("automation_rules", "cooldown_minutes = 5", "rule_updated", {"cooldown_minutes": (60, 5)}),
    (
        "automation_rules",
        "status = 'paused', priority = 'high'",
        "rule_updated",
        {"status": ("active", "paused"), "priority": ("medium", "high")},
    ),
    ("scheduled_jobs", "status = 'paused'", "job_paused", {"status": ("active", "paused")}),
    ("scheduled_jobs", "status = 'completed'", "job_completed", {"status": ("active", "completed")}),
    ("scheduled_jobs", "status = 'failed'", "job_failed", {"status": ("active", "failed")}),
    ("scheduled_jobs", "timezone = 'Asia/Tokyo'", "job_updated", {"timezone": ("UTC", "Asia/Tokyo")}),
]
"""Raw SQL of the app role: a table, a change, and the action with (before, after) of the changed columns alone."""


@pytest.mark.parametrize(("table", "change", "action", "values"), CHANGES)
def test_raw_sql_is_audited_with_its_user_and_address_and_the_changed_columns_alone(
    tenants: Tenants, as_app: Connection, table: str, change: str, action: str, values: dict[str, tuple[Any, Any]]
) -> None:
    take(as_app, tenants.north.context)
    assert attempt(as_app, f"UPDATE cmis.{table} SET {change}") == 1
    ((said, user, ip, _, _, _, before, after),) = entries(as_app)
    assert (said, user, ip) == (action, tenants.north.admin_id, IP)
    assert before == {column: old for column, (old, _) in values.items()}
    assert after == {column: new for column, (_, new) in values.items()}


def test_an_entry_names_the_row_and_its_rule(tenants: Tenants, as_app: Connection) -> None:
    north = tenants.north
    take(as_app, north.context)
    as_app.execute("UPDATE cmis.automation_rules SET name = 'x'")
    as_app.execute("UPDATE cmis.scheduled_jobs SET name = 'x'")
    as_app.execute("UPDATE cmis.campaigns SET name = 'x'")
    as_app.execute("UPDATE cmis.orgs SET name = 'x'")
    assert [(kind, entity, rule) for _, _, _, kind, entity, rule, _, _ in entries(as_app)] == [
        ("rule", north.rule_id, north.rule_id),
        ("job", north.job_id, north.rule_id),
        ("campaign", north.campaign_id, None),
        ("org", north.org_id, None),
    ]


def test_an_insert_is_audited_with_its_configuration(tenants: Tenants) -> None:
    with tenants.app.transaction(tenants.north.context) as connection:
        campaign_id = create_campaign(connection, tenants.north.context, name="new")
        row = connection.execute(
            text("SELECT action, user_id, before, after FROM cmis.automation_audit_log WHERE entity_id = :id"),
            {"id": campaign_id},
        ).one()
        connection.rollback()
    assert (row.action, row.user_id, row.before) == ("campaign_created", tenants.north.admin_id, None)
    assert row.after["name"] == "new"
    assert "version" not in row.after


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE cmis.automation_rules SET success_count = success_count + 1, acted_today = 3, last_executed_at = now()",
        "UPDATE cmis.scheduled_jobs SET next_run_at = now(), run_count = 9, last_run_at = now(), last_error = 'x'",
        "UPDATE cmis.campaigns SET status = status, name = name",
        "UPDATE cmis.automation_rules SET status = status",
    ],
)
def test_counters_cursors_and_changes_that_change_nothing_are_not_audited(
    tenants: Tenants, as_app: Connection, statement: str
) -> None:
    take(as_app, tenants.north.context)
    assert attempt(as_app, statement) == 1
    assert entries(as_app) == []


def test_counters_do_not_move_a_rules_version_and_its_definition_does(tenants: Tenants, as_app: Connection) -> None:
    take(as_app, tenants.north.context)
    versions = []
    for change in ("success_count = 5", "status = status", "cooldown_minutes = 5"):
        as_app.execute(f"UPDATE cmis.automation_rules SET {change}")
        versions.append(as_app.execute("SELECT version FROM cmis.automation_rules").fetchone())
    assert versions == [(1,), (1,), (2,)]


def test_an_effect_of_the_engine_is_left_to_its_action_taken(tenants: Tenants, as_app: Connection) -> None:
    take(as_app, tenants.north.context)
    action = _plan(as_app, tenants, {"status": "paused", "budget": 80})
    as_app.execute("UPDATE cmis.campaigns SET status = 'paused', budget = 80, last_action_id = %s", [action])
    assert entries(as_app) == []
    assert as_app.execute(_LEDGER, [tenants.north.campaign_id]).fetchall()[-1][1:5] == (
        100,
        80,
        tenants.north.admin_id,
        action,
    )


def test_a_change_by_hand_after_an_effect_is_audited_and_not_the_effects(tenants: Tenants, as_app: Connection) -> None:
    take(as_app, tenants.north.context)
    action = _plan(as_app, tenants, {"budget": 80})
    as_app.execute("UPDATE cmis.campaigns SET budget = 80, last_action_id = %s", [action])
    as_app.execute("UPDATE cmis.campaigns SET budget = 90")
    assert [entry[0] for entry in entries(as_app)] == ["campaign_updated"]
    assert as_app.execute(_LEDGER, [tenants.north.campaign_id]).fetchall()[-1][1:5] == (
        80,
        90,
        tenants.north.admin_id,
        None,
    )


def test_a_change_that_takes_an_effects_name_away_is_audited(tenants: Tenants, as_app: Connection) -> None:
    take(as_app, tenants.north.context)
    action = _plan(as_app, tenants, {"budget": 80})
    as_app.execute("UPDATE cmis.campaigns SET budget = 80, last_action_id = %s", [action])
    as_app.execute("UPDATE cmis.campaigns SET budget = 90, last_action_id = NULL")
    assert [entry[0] for entry in entries(as_app)] == ["campaign_updated"]


def _plan(connection: Connection, tenants: Tenants, after: dict[str, Any]) -> UUID:
    """Record an effect on the campaign of the north, as the engine does before it applies one; returns its id."""
    north = tenants.north
    planned = connection.execute(
        "INSERT INTO cmis.automation_actions (org_id, action_id, execution_id, rule_id, task_id, position, type, "
        " entity_type, entity_id, after, idempotency_key, status, created_at) "
        "SELECT %s, cmis.uuid_v7(cmis.clock()), %s, %s, %s, 1, 'set_field', 'campaign', %s, %s, 'planned', "
        " 'succeeded', cmis.clock() RETURNING action_id",
        [
            north.org_id,
            north.execution_id,
            north.rule_id,
            north.task_id,
            north.campaign_id,
            psycopg.types.json.Jsonb(after),
        ],
    ).fetchone()
    assert planned
    return UUID(str(planned[0]))


def test_a_change_outside_any_context_is_audited_without_a_user(tenants: Tenants, administrator: Connection) -> None:
    administrator.execute("UPDATE cmis.campaigns SET name = 'x' WHERE org_id = %s", [tenants.north.org_id])
    ((action, user, ip, *_),) = entries(administrator)
    assert (action, user, ip) == ("campaign_updated", None, None)


def test_memberships_and_users_are_audited(tenants: Tenants, administrator: Connection) -> None:
    member = [tenants.north.admin_id]
    administrator.execute("UPDATE cmis.user_orgs SET role = 'viewer' WHERE user_id = %s", member)
    administrator.execute("DELETE FROM cmis.user_orgs WHERE user_id = %s", member)
    administrator.execute("UPDATE cmis.users SET is_active = false WHERE user_id = %s", member)
    said = [(action, before, after) for action, _, _, _, _, _, before, after in entries(administrator)]
    deleted = {"user_id": str(tenants.north.admin_id), "role": "viewer", "is_active": True}
    assert said == [
        ("member_updated", {"role": "admin"}, {"role": "viewer"}),
        ("member_deleted", deleted, None),
        ("user_updated", {"is_active": True}, {"is_active": False}),
    ]


def test_creating_an_org_leaves_its_trail(app: Database) -> None:
    context = create_org(app, "fresh")
    with app.transaction(context) as connection:
        rows = connection.execute(text("SELECT action, user_id FROM cmis.automation_audit_log")).all()
    assert sorted(rows) == [("member_created", CLI_ACTOR), ("org_created", CLI_ACTOR), ("user_created", CLI_ACTOR)]


@pytest.mark.parametrize("role", ["cmis_app", "cmis_engine", "cmis_owner", "the superuser"])
@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE cmis.automation_audit_log SET action = action",
        "DELETE FROM cmis.automation_audit_log",
        "TRUNCATE cmis.automation_audit_log",
    ],
)
def test_nobody_changes_the_log(tenants: Tenants, administrator: Connection, role: str, statement: str) -> None:
    """Not its owner and not even the superuser, but by taking the trigger away first."""
    if role != "the superuser":
        administrator.execute(f"SET LOCAL ROLE {role}")
    if role in {"cmis_owner", "cmis_app"}:
        administrator.execute("SELECT set_config('app.current_org_id', %s, true)", [str(tenants.north.org_id)])
    assert attempt(administrator, statement) == REFUSED


def test_no_partition_of_the_log_is_changed_either(tenants: Tenants, administrator: Connection) -> None:
    partitions = administrator.execute(
        "SELECT DISTINCT tableoid::regclass::text FROM cmis.automation_audit_log WHERE org_id = %s",
        [tenants.north.org_id],
    ).fetchall()
    assert partitions
    for (name,) in partitions:
        assert attempt(administrator, f"DELETE FROM {name}") == REFUSED
        assert attempt(administrator, f"UPDATE {name} SET action = action") == REFUSED


def test_the_ledger_starts_with_the_campaign(tenants: Tenants, as_app: Connection) -> None:
    take(as_app, tenants.north.context)
    ((seq, before, after, user, action, _),) = as_app.execute(_LEDGER, [tenants.north.campaign_id]).fetchall()
    assert (seq, before, after, user, action) == (1, None, 100, tenants.north.admin_id, None)


def test_the_ledger_follows_raw_sql_and_ignores_what_is_no_change(tenants: Tenants, as_app: Connection) -> None:
    take(as_app, tenants.north.context)
    as_app.execute("""SELECT cmis.set_guardrails('{"budget_floor": 0}', '{}')""")
    for budget in ("50", "50.00", "NULL", "0", "99999999.99"):
        as_app.execute(f"UPDATE cmis.campaigns SET budget = {budget}, name = name")
    as_app.execute("UPDATE cmis.campaigns SET name = 'x'")
    chain = [(row[1], row[2]) for row in as_app.execute(_LEDGER, [tenants.north.campaign_id])]
    top = Decimal("99999999.99")
    assert chain == [(None, 100), (100, 50), (50, None), (None, 0), (0, top)]


def test_nobody_but_the_trigger_writes_the_ledger(tenants: Tenants, as_app: Connection) -> None:
    take(as_app, tenants.north.context)
    row = [tenants.north.org_id, tenants.north.campaign_id]
    statement = (
        "INSERT INTO cmis.budget_ledger (org_id, campaign_id, seq, day, created_at) VALUES (%s, %s, 9, now(), now())"
    )
    assert attempt(as_app, statement, row) == REFUSED
    assert attempt(as_app, "UPDATE cmis.budget_ledger SET after = 1") == REFUSED
    assert attempt(as_app, "DELETE FROM cmis.budget_ledger") == REFUSED


def test_a_campaign_with_a_ledger_cannot_vanish(tenants: Tenants, administrator: Connection) -> None:
    row = [tenants.north.campaign_id]
    administrator.execute("DELETE FROM cmis.campaign_metrics WHERE campaign_id = %s", row)
    assert attempt(administrator, "DELETE FROM cmis.campaigns WHERE campaign_id = %s", row) == "23503"


def test_the_chain_holds_under_twenty_changes_at_once(app: Database, database: Site) -> None:
    context = create_org(app, "busy")
    with app.transaction(context) as connection:
        campaign_id = create_campaign(connection, context)

    def change(amount: int) -> None:
        with app.transaction(context) as connection:
            connection.execute(text("UPDATE cmis.campaigns SET budget = budget + :amount"), {"amount": amount})

    with ThreadPoolExecutor(7) as pool:
        for done in [pool.submit(change, amount) for amount in range(1, 21)]:
            done.result()
    with psycopg.connect(database.urls.readonly) as reader:
        chain = reader.execute(_LEDGER, [campaign_id]).fetchall()
        version = reader.execute("SELECT version FROM cmis.campaigns").fetchone()
    assert [row[0] for row in chain] == list(range(1, 22))
    assert [row[1] for row in chain] == [None, *(row[2] for row in chain[:-1])]
    assert chain[-1][2] == 100 + sum(range(1, 21))
    assert version == (21,)


@pytest.mark.parametrize("zone", ["Pacific/Kiritimati", "Pacific/Pago_Pago", "Asia/Kathmandu", "UTC"])
def test_the_ledgers_day_is_the_orgs(app: Database, zone: str) -> None:
    context = create_org(app, "far", zone)
    with app.transaction(context) as connection:
        create_campaign(connection, context)
        day, created_at = connection.execute(text("SELECT day, created_at FROM cmis.budget_ledger")).one()
    assert day == created_at.astimezone(ZoneInfo(zone)).date()


def test_an_import_of_many_campaigns_starts_a_ledger_for_each(app: Database) -> None:
    context = create_org(app, "many")
    now = datetime.now(UTC)
    rows: list[dict[str, Any]] = [
        {"org_id": context.org_id, "campaign_id": UUID(int=n), "name": str(n), "created_at": now, "updated_at": now}
        for n in range(1, 51)
    ]
    with app.transaction(Context(context.org_id, CLI_ACTOR)) as connection:
        connection.execute(insert(Campaign), rows)
        started = connection.execute(text("SELECT count(*), min(seq), max(seq) FROM cmis.budget_ledger")).one()
    assert started == (50, 1, 1)
