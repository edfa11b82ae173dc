"""Raw SQL of the app role against bundles: a public one is read by all, and written and hidden by its org alone."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, LiteralString

import psycopg
import pytest

from core.db import RESERVED_ORG
from tests.integration.isolation.attempts import REFUSED, attempt, take

if TYPE_CHECKING:
    from uuid import UUID

    from tests.integration.isolation.conftest import Tenants

Connection = psycopg.Connection[Any]
_THEIRS: LiteralString = "SELECT status FROM cmis.automation_workflows WHERE org_id = %s"


@pytest.fixture
def public(tenants: Tenants, as_app: Connection) -> UUID:
    """Let the other org show its bundle to all, within the test's transaction; returns the bundle's id."""
    take(as_app, tenants.south.context)
    row = as_app.execute("UPDATE cmis.automation_workflows SET is_public = true RETURNING workflow_id").fetchone()
    assert row is not None
    workflow_id: UUID = row[0]
    return workflow_id


def use(connection: Connection, org_id: UUID, workflow_id: UUID) -> bool:
    row = connection.execute("SELECT cmis.use_workflow(%s, %s)", [org_id, workflow_id]).fetchone()
    assert row is not None
    return bool(row[0])


def test_a_public_bundle_is_read_by_another_org_until_it_is_archived(
    tenants: Tenants, as_app: Connection, public: UUID
) -> None:
    assert public
    take(as_app, tenants.north.context)
    assert as_app.execute(_THEIRS, [tenants.south.org_id]).fetchall() == [("active",)]
    take(as_app, tenants.south.context)
    as_app.execute("UPDATE cmis.automation_workflows SET status = 'archived'")
    assert as_app.execute(_THEIRS, [tenants.south.org_id]).fetchall() == [("archived",)]
    take(as_app, tenants.north.context)
    assert as_app.execute(_THEIRS, [tenants.south.org_id]).fetchall() == []


def test_without_a_context_nothing_is_public(as_app: Connection, public: UUID) -> None:
    assert public
    as_app.execute("SELECT set_config('app.current_org_id', '', true)")
    assert attempt(as_app, "SELECT FROM cmis.automation_workflows") == 0


@pytest.mark.parametrize(
    ("statement", "outcome"),
    [
        ("UPDATE cmis.automation_workflows SET name = 'mine' WHERE org_id = %(org)s", 0),
        ("UPDATE cmis.automation_workflows SET usage_count = 9 WHERE org_id = %(org)s", 0),
        ("UPDATE cmis.automation_workflows SET org_id = %(mine)s WHERE org_id = %(org)s", 0),
        ("DELETE FROM cmis.automation_workflows WHERE org_id = %(org)s", REFUSED),
        ("SELECT FROM cmis.automation_workflows WHERE org_id = %(org)s FOR UPDATE", 0),
    ],
)
@pytest.mark.parametrize("owner", ["another org", "the product"])
def test_who_reads_a_public_bundle_cannot_write_or_lock_it(
    tenants: Tenants, as_app: Connection, public: UUID, owner: str, statement: str, outcome: int | str
) -> None:
    assert public
    take(as_app, tenants.north.context)
    org_id = tenants.south.org_id if owner == "another org" else RESERVED_ORG
    assert as_app.execute(_THEIRS, [org_id]).fetchall()
    assert attempt(as_app, statement, {"org": org_id, "mine": tenants.north.org_id}) == outcome


def test_use_is_counted_for_whoever_may_read_and_for_nobody_else(
    tenants: Tenants, administrator: Connection, as_app: Connection
) -> None:
    south, north = tenants.south, tenants.north
    take(as_app, south.context)
    [(workflow_id,)] = as_app.execute(
        "SELECT workflow_id FROM cmis.automation_workflows WHERE org_id = %s", [south.org_id]
    ).fetchall()
    assert use(as_app, south.org_id, workflow_id)
    take(as_app, north.context)
    assert not use(as_app, south.org_id, workflow_id)  # it is private
    assert not use(as_app, north.org_id, workflow_id)  # it is none of theirs
    take(as_app, south.context)
    as_app.execute("UPDATE cmis.automation_workflows SET is_public = true")
    take(as_app, north.context)
    assert use(as_app, south.org_id, workflow_id)
    as_app.execute("SELECT set_config('app.current_org_id', '', true)")
    assert not use(as_app, south.org_id, workflow_id)
    take(as_app, south.context)
    row = as_app.execute(
        "SELECT usage_count, last_used_at IS NOT NULL FROM cmis.automation_workflows WHERE workflow_id = %s",
        [workflow_id],
    ).fetchone()
    assert row == (2, True)
    audited = "SELECT action FROM cmis.automation_audit_log WHERE xid = pg_current_xact_id()"
    assert as_app.execute(audited).fetchall() == [("workflow_updated",)]  # that it became public; usage is none
    assert administrator.execute(
        "SELECT has_function_privilege('cmis_readonly', 'cmis.use_workflow(uuid, uuid)', 'EXECUTE')"
    ).fetchone() == (False,)
