"""What must exist before the first revision: the roles and the schema. Safe to run again, also side by side."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import text

if TYPE_CHECKING:
    from sqlalchemy import Connection

ROLES = {
    "cmis_owner": "NOLOGIN",  # owns the schema; migrations only
    "cmis_engine": "NOLOGIN",  # owns the SECURITY DEFINER functions; has policies of its own
    "cmis_scheduler": "LOGIN",  # EXECUTE on the scheduler's functions and nothing else
    "cmis_app": "LOGIN",  # API, workers, CLI; under row-level security
    "cmis_readonly": "LOGIN",  # invariants and metrics
}
_PLAIN = "NOSUPERUSER NOBYPASSRLS NOCREATEDB NOCREATEROLE INHERIT"

_CREATE = """
DO $$ BEGIN
  IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = '{role}') THEN CREATE ROLE {role} {login} {plain}; END IF;
EXCEPTION WHEN duplicate_object OR unique_violation THEN NULL; -- another database of this cluster was faster
END $$
"""
_MEMBERSHIP = """
DO $$ BEGIN
  IF NOT pg_has_role(current_user, '{role}', 'SET') THEN EXECUTE format('GRANT {role} TO %I', current_user); END IF;
END $$
"""
_SCHEMA = """
DO $$ BEGIN
  IF to_regnamespace('cmis') IS NULL THEN
    EXECUTE format('GRANT CREATE ON DATABASE %I TO cmis_owner', current_database());
    CREATE SCHEMA cmis AUTHORIZATION cmis_owner;
    GRANT USAGE ON SCHEMA cmis TO cmis_engine, cmis_scheduler, cmis_app, cmis_readonly;
    EXECUTE format('REVOKE CREATE ON DATABASE %I FROM cmis_owner', current_database());
  END IF;
END $$
"""


def prepare(connection: Connection) -> None:
    """Create roles and schema if they are missing, and let the migrating role act as owner and engine."""
    for role, login in ROLES.items():
        connection.execute(text(_CREATE.format(role=role, login=login, plain=_PLAIN)))
    membership = _MEMBERSHIP if _server_version(connection) >= 16 else _MEMBERSHIP.replace("'SET'", "'MEMBER'")  # noqa: PLR2004 - SET is an option of memberships since 16
    for role in ("cmis_owner", "cmis_engine"):
        connection.execute(text(membership.format(role=role)))
    connection.execute(text(_SCHEMA))


def _server_version(connection: Connection) -> int:
    return int(connection.execute(text("SHOW server_version_num")).scalar_one()) // 10_000
