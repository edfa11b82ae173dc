"""Partitions: made ahead, once, by whoever comes first; and no statement looks into more than two months of a table."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any
from uuid import UUID, uuid4

import psycopg
import pytest
from sqlalchemy import text

from core import clock
from core.ids import uuid7, uuid7_floor, uuid7_time
from engine.store import occurrences
from tests.factories import create_job, create_org, create_rule, fill
from tests.integration.isolation.walk import RULES, violations

if TYPE_CHECKING:
    from core.db import Database
    from dev.site import Site
    from tests.integration.isolation.conftest import Tenants

PARENTS = ["automation_actions", "automation_audit_log", "automation_executions", "occurrences", "task_attempts"]
_MONTHS = """
SELECT right(c.relname, 6) FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid
 WHERE i.inhparent = %s::regclass AND c.relname NOT LIKE '%%_default' ORDER BY 1
"""
_CLOCK = "SELECT cmis.clock()"


def months(connection: psycopg.Connection[Any], parent: str) -> list[str]:
    return [month for (month,) in connection.execute(_MONTHS, [f"cmis.{parent}"])]


def around(moment: datetime, first: int, last: int) -> list[str]:
    """Return the months from `first` to `last`, counted from the moment's, as names of partitions end."""
    count = moment.year * 12 + moment.month - 1
    return [f"{month // 12}{month % 12 + 1:02}" for month in range(count + first, count + last + 1)]


def scalar(connection: psycopg.Connection[Any], query: str, parameters: list[Any] | None = None) -> Any:
    row = connection.execute(query, parameters).fetchone()
    assert row is not None
    return row[0]


def test_partitions_reach_from_two_months_back_to_three_ahead(tenants: Tenants) -> None:
    with psycopg.connect(tenants.site.urls.migration) as connection:
        now = scalar(connection, _CLOCK)
        parents = connection.execute(
            "SELECT relname FROM pg_class WHERE relkind = 'p' AND relnamespace = 'cmis'::regnamespace ORDER BY 1"
        ).fetchall()
        assert [name for (name,) in parents] == PARENTS
        for parent in PARENTS:
            assert months(connection, parent) == around(now, -2, 3), parent


def test_making_them_again_makes_none(database: Site) -> None:
    with psycopg.connect(database.urls.app, autocommit=True) as connection:
        assert [scalar(connection, "SELECT cmis.maintain_partitions()") for _ in range(2)] == [0, 0]


def test_two_sessions_at_once_make_each_partition_once(database: Site) -> None:
    with psycopg.connect(database.urls.migration, autocommit=True) as connection:
        connection.execute("UPDATE cmis.clock_offset SET shift = '4 months'")

    def maintain() -> int:
        with psycopg.connect(database.urls.app) as connection:
            made: int = scalar(connection, "SELECT cmis.maintain_partitions()")
            return made

    with ThreadPoolExecutor(2) as pool:
        made = sorted(done.result() for done in [pool.submit(maintain) for _ in range(2)])
    assert made == [0, 4 * len(PARENTS)]


def test_a_partition_made_later_is_as_protected_as_the_first_ones(database: Site) -> None:
    with psycopg.connect(database.urls.migration) as connection:
        connection.execute("SELECT cmis.advance_clock('7 months')")
        assert {rule: violations(connection, rule) for rule in RULES if violations(connection, rule)} == {}


def test_the_clock_makes_partitions_before_it_moves(database: Site, app: Database) -> None:
    with psycopg.connect(database.urls.migration, autocommit=True) as connection:
        before = scalar(connection, _CLOCK)
        reached = scalar(connection, "SELECT cmis.advance_clock('3 months')")
        assert scalar(connection, _CLOCK) - reached < timedelta(seconds=5)
        assert timedelta(days=88) < reached - before < timedelta(days=93)
        for parent in PARENTS:
            assert months(connection, parent) == around(before, -2, 3 + len(around(before, 1, 3))), parent
    tenant = fill(app, create_org(app, "later"))
    assert uuid7_time(tenant.execution_id) > before + timedelta(days=88)


def test_the_clock_moves_only_forward_and_only_for_the_owner(database: Site) -> None:
    with psycopg.connect(database.urls.migration, autocommit=True) as connection:
        with pytest.raises(psycopg.errors.InvalidParameterValue, match="only moves forward"):
            connection.execute("SELECT cmis.advance_clock('-1 second')")
        for role in ("cmis_app", "cmis_scheduler", "cmis_readonly", "cmis_engine"):
            connection.execute(f"SET ROLE {role}")
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                connection.execute("SELECT cmis.advance_clock('1 second')")
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                connection.execute("UPDATE cmis.clock_offset SET shift = '1 hour'")


def test_rows_of_the_default_partition_move_into_their_month(database: Site, app: Database) -> None:
    context = create_org(app, "early")
    with app.transaction(context) as connection:
        now = clock.now(connection)
        job_id = create_job(connection, context, create_rule(connection, context))
        far = [now + timedelta(days=days) for days in (1, 200, 201)]
        for moment in far:
            row = {"job_id": job_id, "origin": "manual", "scheduled_for": moment, "job_revision": 1}
            run = {"execution_id": uuid4(), "task_id": uuid4(), "actor_id": context.user_id}
            occurrences.insert_runs(connection, context.org_id, [row | run], now=now)
    place = "SELECT tableoid::regclass::text FROM cmis.occurrences ORDER BY scheduled_for"
    with psycopg.connect(database.urls.migration, autocommit=True) as connection:
        assert [name for (name,) in connection.execute(place)][1:] == ["cmis.occurrences_default"] * 2
        connection.execute("SELECT cmis.advance_clock('150 days')")
        expected = [f"cmis.occurrences_{moment.astimezone(UTC):%Y%m}" for moment in far]
        assert [name for (name,) in connection.execute(place)] == expected
        assert violations(connection, "row security is enabled and forced on every table and partition") == []


def test_an_occurrence_of_the_far_past_has_a_place_and_an_execution_of_it_has_none(tenants: Tenants) -> None:
    past = datetime(2001, 1, 1, tzinfo=UTC)
    with tenants.app.transaction(tenants.north.context) as connection:
        row = {"job_id": tenants.north.job_id, "origin": "backfill", "scheduled_for": past, "job_revision": 1}
        run = {"execution_id": uuid4(), "task_id": uuid4(), "actor_id": tenants.north.admin_id}
        occurrences.insert_runs(connection, tenants.north.org_id, [row | run], now=past)
        where = connection.execute(
            text("SELECT tableoid::regclass::text FROM cmis.occurrences WHERE scheduled_for = :past"), {"past": past}
        )
        assert where.scalar_one() == "cmis.occurrences_default"
        connection.rollback()


INSTANTS = [
    datetime(1970, 1, 1, tzinfo=UTC),
    datetime(2024, 2, 29, 23, 59, 59, 999999, tzinfo=UTC),
    datetime(2026, 11, 23, 12, 30, 15, 123456, tzinfo=UTC),
    datetime(2026, 12, 1, tzinfo=UTC),
    datetime(2099, 12, 31, 23, 59, 59, 1000, tzinfo=UTC),
]


@pytest.mark.parametrize("moment", INSTANTS)
def test_the_database_and_the_application_make_the_same_ids(tenants: Tenants, moment: datetime) -> None:
    with psycopg.connect(tenants.site.urls.app) as connection:
        assert scalar(connection, "SELECT cmis.uuid_v7_floor(%s)", [moment]) == uuid7_floor(moment)
        theirs: UUID = scalar(connection, "SELECT cmis.uuid_v7(%s)", [moment])
    ours = uuid7(moment)
    for made in (theirs, ours):
        assert (made.version, made.variant) == (7, "specified in RFC 4122")
        assert uuid7_time(made) == uuid7_time(uuid7_floor(moment))
        assert made > uuid7_floor(moment)
    assert theirs != ours


def test_an_id_of_a_months_first_instant_lies_in_that_month(tenants: Tenants) -> None:
    with psycopg.connect(tenants.site.urls.migration) as connection:
        now = scalar(connection, _CLOCK)
        for month in around(now, -2, 3):
            first = datetime(int(month[:4]), int(month[4:]), 1, tzinfo=UTC)
            bound = scalar(
                connection,
                "SELECT pg_get_expr(relpartbound, oid) FROM pg_class WHERE relname = %s",
                [f"automation_executions_{month}"],
            )
            assert bound.startswith(f"FOR VALUES FROM ('{uuid7_floor(first)}')")
