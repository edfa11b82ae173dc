"""Everything of the schema that its owner could have made differently, as text, so that two databases can be compared.

Object ids and roles are left out: they belong to the server, not to the schema.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, LiteralString

if TYPE_CHECKING:
    import psycopg

_OURS: Final[LiteralString] = "relnamespace = 'cmis'::regnamespace"

PARTS: Final[dict[str, LiteralString]] = {
    "tables": "SELECT relname, relkind, relpersistence, relrowsecurity, relforcerowsecurity, relispartition, "
    "pg_get_partkeydef(oid), pg_get_expr(relpartbound, oid), relowner::regrole::text, relreplident "
    "FROM pg_class WHERE relkind IN ('r', 'p') AND " + _OURS,
    "columns": "SELECT c.relname, a.attname, a.attnum, format_type(a.atttypid, a.atttypmod), "
    "a.attnotnull, a.attidentity, a.attgenerated, a.attacl::text, pg_get_expr(d.adbin, d.adrelid) "
    "FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped "
    "LEFT JOIN pg_attrdef d ON d.adrelid = c.oid AND d.adnum = a.attnum WHERE c.relkind IN ('r', 'p', 'v') AND "
    + _OURS,
    "constraints": "SELECT c.relname, k.conname, k.contype, k.convalidated, k.condeferrable, "
    "pg_get_constraintdef(k.oid) FROM pg_class c JOIN pg_constraint k ON k.conrelid = c.oid WHERE " + _OURS,
    "indexes": "SELECT c.relname, i.indisvalid, i.indisreplident, pg_get_indexdef(i.indexrelid) "
    "FROM pg_class c JOIN pg_index i ON i.indrelid = c.oid WHERE " + _OURS,
    "policies": "SELECT c.relname, p.polname, p.polcmd, p.polpermissive, p.polroles::regrole[]::text, "
    "pg_get_expr(p.polqual, c.oid), pg_get_expr(p.polwithcheck, c.oid) "
    "FROM pg_class c JOIN pg_policy p ON p.polrelid = c.oid WHERE " + _OURS,
    "triggers": "SELECT c.relname, pg_get_triggerdef(t.oid), t.tgenabled "
    "FROM pg_class c JOIN pg_trigger t ON t.tgrelid = c.oid AND NOT t.tgisinternal WHERE " + _OURS,
    "functions": "SELECT pg_get_functiondef(oid), proowner::regrole::text, proacl::text, prosecdef, proconfig "
    "FROM pg_proc WHERE pronamespace = 'cmis'::regnamespace",
    "grants": "SELECT c.relname, a.grantee::regrole::text, a.privilege_type, a.is_grantable "
    "FROM pg_class c, aclexplode(c.relacl) a WHERE " + _OURS,
    "schema": "SELECT n.nspowner::regrole::text, a.grantee::regrole::text, a.privilege_type "
    "FROM pg_namespace n, aclexplode(n.nspacl) a WHERE n.nspname = 'cmis'",
    "database": "SELECT a.grantee::regrole::text, a.privilege_type FROM pg_database d, aclexplode(d.datacl) a "
    "WHERE d.datname = current_database() AND a.grantee::regrole::text LIKE 'cmis%%'",
    "views": "SELECT relname, reloptions, relowner::regrole::text, pg_get_viewdef(oid) "
    "FROM pg_class WHERE relkind IN ('v', 'm') AND " + _OURS,
    "sequences": "SELECT relname FROM pg_class WHERE relkind = 'S' AND " + _OURS,
    "types": "SELECT typname, typtype FROM pg_type "
    "WHERE typtype NOT IN ('c', 'b') AND typnamespace = 'cmis'::regnamespace",
    "seeds": "SELECT 'org', org_id::text FROM cmis.orgs UNION ALL SELECT 'user', user_id::text FROM cmis.users "
    "UNION ALL SELECT 'epoch', epoch FROM cmis.broker_epoch "
    "UNION ALL SELECT 'clock', shift::text FROM cmis.clock_offset "
    "UNION ALL SELECT 'bundle', w::text FROM cmis.automation_workflows w",
}


def dump(connection: psycopg.Connection[Any]) -> dict[str, list[str]]:
    """Return every part of the schema as sorted lines of text."""
    return {part: sorted(str(row) for row in connection.execute(query)) for part, query in PARTS.items()}
