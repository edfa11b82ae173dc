"""Raw SQL of the app role against templates: a public one is read with its versions, and written by its org alone."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, LiteralString

import psycopg
import pytest

from tests.integration.isolation.attempts import REFUSED, attempt, take

if TYPE_CHECKING:
    from uuid import UUID

    from tests.integration.isolation.conftest import Tenants

Connection = psycopg.Connection[Any]
_THEIRS: LiteralString = "SELECT status FROM cmis.workflow_templates WHERE org_id = %s"
_VERSIONS: LiteralString = "SELECT version FROM cmis.workflow_template_versions WHERE org_id = %s"


@pytest.fixture
def public(tenants: Tenants, as_app: Connection) -> UUID:
    """Let the other org show its template to all, within the test's transaction; returns the template's id."""
    take(as_app, tenants.south.context)
    row = as_app.execute("UPDATE cmis.workflow_templates SET is_public = true RETURNING template_id").fetchone()
    assert row is not None
    template_id: UUID = row[0]
    return template_id


def seen(connection: Connection, tenants: Tenants) -> tuple[int, int]:
    """Return how many templates and versions of the south the north sees."""
    take(connection, tenants.north.context)
    templates, versions = (
        len(connection.execute(query, [tenants.south.org_id]).fetchall()) for query in (_THEIRS, _VERSIONS)
    )
    return templates, versions


def test_a_template_is_its_orgs_own_until_it_is_public(tenants: Tenants, as_app: Connection) -> None:
    assert seen(as_app, tenants) == (0, 0)


@pytest.mark.parametrize(
    "hiding",
    ["UPDATE cmis.workflow_templates SET is_public = false", "UPDATE cmis.workflow_templates SET status = 'archived'"],
)
def test_a_public_template_is_read_with_its_versions_until_it_is_put_away(
    tenants: Tenants, as_app: Connection, public: UUID, hiding: LiteralString
) -> None:
    assert public
    assert seen(as_app, tenants) == (1, 1)
    take(as_app, tenants.south.context)
    as_app.execute(hiding)
    assert seen(as_app, tenants) == (0, 0)


def test_without_a_context_nothing_is_public(as_app: Connection, public: UUID) -> None:
    assert public
    as_app.execute("SELECT set_config('app.current_org_id', '', true)")
    assert attempt(as_app, "SELECT FROM cmis.workflow_templates") == 0
    assert attempt(as_app, "SELECT FROM cmis.workflow_template_versions") == 0


def test_the_runs_of_a_public_template_stay_its_orgs_own(tenants: Tenants, as_app: Connection, public: UUID) -> None:
    take(as_app, tenants.north.context)
    for statement in (
        "SELECT FROM cmis.workflow_instances WHERE template_id = %(id)s",
        "SELECT FROM cmis.workflow_steps WHERE org_id = %(org)s",
    ):
        assert attempt(as_app, statement, {"id": public, "org": tenants.south.org_id}) == 0


@pytest.mark.parametrize(
    ("statement", "outcome"),
    [
        ("UPDATE cmis.workflow_templates SET name = 'mine' WHERE org_id = %(org)s", 0),
        ("UPDATE cmis.workflow_templates SET usage_count = 9 WHERE org_id = %(org)s", 0),
        ("UPDATE cmis.workflow_templates SET org_id = %(mine)s WHERE org_id = %(org)s", 0),
        ("DELETE FROM cmis.workflow_templates WHERE org_id = %(org)s", REFUSED),
        ("SELECT FROM cmis.workflow_templates WHERE org_id = %(org)s FOR UPDATE", 0),
        ("UPDATE cmis.workflow_template_versions SET steps = 9 WHERE org_id = %(org)s", REFUSED),
        ("DELETE FROM cmis.workflow_template_versions WHERE org_id = %(org)s", REFUSED),
        (
            """INSERT INTO cmis.workflow_template_versions
               SELECT org_id, template_id, 2, definition, steps, published_by, published_at
                 FROM cmis.workflow_template_versions WHERE org_id = %(org)s""",
            REFUSED,
        ),
    ],
)
def test_who_reads_a_public_template_cannot_write_or_lock_it(
    tenants: Tenants, as_app: Connection, public: UUID, statement: str, outcome: int | str
) -> None:
    assert public
    take(as_app, tenants.north.context)
    assert attempt(as_app, statement, {"org": tenants.south.org_id, "mine": tenants.north.org_id}) == outcome


def test_no_instance_is_started_of_another_orgs_template(tenants: Tenants, as_app: Connection, public: UUID) -> None:
    take(as_app, tenants.north.context)
    statement = """
        INSERT INTO cmis.workflow_instances
               (org_id, instance_id, template_id, version, trigger_type, steps_total, created_at)
        VALUES (%s, gen_random_uuid(), %s, 1, 'manual', 1, now())"""
    foreign_key = "23503"
    assert attempt(as_app, statement, [tenants.north.org_id, public]) == foreign_key
    assert attempt(as_app, statement, [tenants.south.org_id, public]) == REFUSED
