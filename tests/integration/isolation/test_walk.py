"""The walk finds nothing in the schema, and finds everything that somebody could leave out."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, LiteralString

import psycopg
import pytest

from tests.integration.isolation.walk import NOT_TENANTS, RULES, violations

if TYPE_CHECKING:
    from tests.integration.isolation.conftest import Tenants

Connection = psycopg.Connection[Any]
_PLAIN: LiteralString = "CREATE TABLE cmis.forgotten (org_id uuid NOT NULL PRIMARY KEY)"
_PROTECTED: LiteralString = """
  ; ALTER TABLE cmis.forgotten ENABLE ROW LEVEL SECURITY; ALTER TABLE cmis.forgotten FORCE ROW LEVEL SECURITY;
"""
_MONTH: LiteralString = """
  CREATE TABLE cmis.forgotten (LIKE cmis.occurrences INCLUDING DEFAULTS INCLUDING CONSTRAINTS);
  ALTER TABLE cmis.occurrences ATTACH PARTITION cmis.forgotten FOR VALUES FROM ('2001-01-01') TO ('2001-02-01');
"""
_OPEN: LiteralString = "CREATE POLICY open ON cmis.forgotten USING (true) WITH CHECK (true)"
_ORG: LiteralString = "(SELECT nullif(current_setting('app.current_org_id', true), '')::uuid)"

MUTANTS: list[tuple[str, LiteralString, str]] = [
    ("row security is enabled and forced on every table and partition", _PLAIN, "forgotten"),
    ("row security is enabled and forced on every table and partition", _MONTH, "forgotten"),
    (
        "row security is enabled and forced on every table and partition",
        "ALTER TABLE cmis.tasks NO FORCE ROW LEVEL SECURITY",
        "tasks",
    ),
    (
        "row security is enabled and forced on every table and partition",
        "ALTER TABLE cmis.users DISABLE ROW LEVEL SECURITY",
        "users",
    ),
    (
        "every tenant table and partition has the org policy, for reading and writing",
        _PLAIN + _PROTECTED,
        "forgotten",
    ),
    ("every tenant table and partition has the org policy, for reading and writing", _MONTH, "forgotten"),
    (
        "every tenant table and partition has the org policy, for reading and writing",
        _PLAIN + _PROTECTED + "CREATE POLICY p ON cmis.forgotten USING (org_id = " + _ORG + ")",
        "forgotten",
    ),
    (
        "only the engine, the readers and what is shared have a policy besides",
        _PLAIN + _PROTECTED + _OPEN,
        "forgotten.open",
    ),
    (
        "only the engine, the readers and what is shared have a policy besides",
        "CREATE POLICY open ON cmis.tasks TO cmis_readonly USING (true) WITH CHECK (true)",
        "tasks.open",
    ),
    (
        "only the engine, the readers and what is shared have a policy besides",
        "ALTER POLICY public_bundles ON cmis.automation_workflows USING (is_public)",
        "automation_workflows.public_bundles",
    ),
    (
        "only the engine, the readers and what is shared have a policy besides",
        "CREATE POLICY public_bundles ON cmis.tasks FOR SELECT TO cmis_app USING (true)",
        "tasks.public_bundles",
    ),
    ("users are written by the engine alone", "CREATE POLICY open ON cmis.users TO cmis_app USING (true)", "open"),
    (
        "nobody has a grant on a partition",
        "GRANT SELECT ON cmis.occurrences_default TO cmis_app",
        "occurrences_default SELECT",
    ),
    (
        "only the owner may truncate, reference or put triggers",
        "GRANT TRUNCATE ON cmis.tasks TO cmis_app",
        "tasks TRUNCATE",
    ),
    ("no grant may be passed on", "GRANT SELECT ON cmis.tasks TO cmis_app WITH GRANT OPTION", "tasks"),
    ("the app deletes from no table", "GRANT DELETE ON cmis.tasks TO cmis_app", "tasks"),
    ("the public may do nothing", "GRANT SELECT ON cmis.tasks TO PUBLIC", "tasks"),
    ("the public may do nothing", "GRANT SELECT (kind) ON cmis.tasks TO PUBLIC", "tasks.kind"),
    ("the public may do nothing", "CREATE FUNCTION cmis.open() RETURNS int LANGUAGE sql AS 'SELECT 1'", "open()"),
    ("the public may do nothing", "GRANT USAGE ON SCHEMA cmis TO PUBLIC", "cmis"),
    (
        "definer functions belong to the engine, or to the owner for clock and partitions",
        "ALTER FUNCTION cmis.list_orgs() OWNER TO cmis_owner",
        "list_orgs of cmis_owner",
    ),
    (
        "definer functions have a safe search path",
        "ALTER FUNCTION cmis.list_orgs() SET search_path = public",
        "list_orgs",
    ),
    (
        "the scheduler may execute its functions",
        "REVOKE EXECUTE ON FUNCTION cmis.reap(integer) FROM cmis_scheduler",
        "reap",
    ),
    (
        "the scheduler may do nothing else",
        "GRANT EXECUTE ON FUNCTION cmis.list_orgs() TO cmis_scheduler",
        "list_orgs",
    ),
    ("the scheduler may do nothing else", "GRANT SELECT (kind) ON cmis.tasks TO cmis_scheduler", "tasks"),
    ("login roles have no power of their own", "GRANT cmis_owner TO cmis_app", "cmis_app"),
    ("login roles have no power of their own", "GRANT CREATE ON SCHEMA cmis TO cmis_readonly", "cmis_readonly"),
    ("the owner owns every table and view", "ALTER TABLE cmis.tasks OWNER TO cmis_engine", "tasks"),
    ("the engine may create nothing", "GRANT CREATE ON SCHEMA cmis TO cmis_engine", "cmis"),
    ("views run with their caller's rights", "CREATE VIEW cmis.forgotten AS SELECT * FROM cmis.tasks", "forgotten"),
    (
        "every tenant table has an org, never NULL",
        "CREATE TABLE cmis.forgotten (id uuid PRIMARY KEY, org_id uuid)",
        "forgotten",
    ),
    (
        "unique keys of tenants start with the org",
        "CREATE UNIQUE INDEX wide ON cmis.campaigns (campaign_id)",
        "cmis.wide",
    ),
    ("every tenant table has a primary key", "CREATE TABLE cmis.forgotten (org_id uuid NOT NULL)", "forgotten"),
    (
        "references among tenants start with the org on both sides",
        (
            "ALTER TABLE cmis.campaigns ADD UNIQUE (campaign_id); "
            "ALTER TABLE cmis.notifications ADD CONSTRAINT crossing FOREIGN KEY (entity_id) "
            "REFERENCES cmis.campaigns (campaign_id)"
        ),
        "crossing",
    ),
    (
        "every reference has an index",
        (
            "ALTER TABLE cmis.notifications ADD CONSTRAINT slow FOREIGN KEY (org_id, entity_id) "
            "REFERENCES cmis.campaigns (org_id, campaign_id)"
        ),
        "slow",
    ),
    (
        "nothing references a partitioned table",
        (
            "ALTER TABLE cmis.notifications ADD CONSTRAINT pinned FOREIGN KEY (org_id, action_id) "
            "REFERENCES cmis.automation_actions (org_id, action_id)"
        ),
        "pinned",
    ),
    (
        "statuses are text held by a CHECK",
        "ALTER TABLE cmis.tasks DROP CONSTRAINT tasks_state_check, DROP CONSTRAINT tasks_kind_check",
        "tasks.kind",
    ),
    (
        "no column has an enum type",
        "CREATE TYPE cmis.mood AS ENUM ('a'); ALTER TABLE cmis.tasks ADD mood cmis.mood",
        "tasks.mood",
    ),
    (
        "times know their zone and JSON is binary",
        "ALTER TABLE cmis.notifications ADD seen timestamp",
        "notifications.seen",
    ),
]
"""A rule, what somebody could do against it, and how the walk must name that."""


@pytest.mark.parametrize("rule", RULES)
def test_the_walk_finds_nothing(administrator: Connection, rule: str) -> None:
    assert violations(administrator, rule) == []


@pytest.mark.parametrize(("rule", "deed", "name"), MUTANTS)
def test_the_walk_names_what_somebody_left_out(
    administrator: Connection, rule: str, deed: LiteralString, name: str
) -> None:
    administrator.execute(deed)
    assert name in violations(administrator, rule)


def test_every_rule_has_been_seen_to_fail() -> None:
    """Powers of roles belong to the whole server, which other tests use at the same time: that rule is left out."""
    assert set(RULES) - {rule for rule, _, _ in MUTANTS} == {"owner and engine cannot log in and have no power beyond"}


def test_the_exceptions_exist(tenants: Tenants, administrator: Connection) -> None:
    assert tenants
    for table in NOT_TENANTS:
        assert administrator.execute("SELECT to_regclass(%s) IS NOT NULL", [f"cmis.{table}"]).fetchone() == (True,)
