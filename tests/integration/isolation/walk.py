"""The catalogue walk: what must be true of everything in the schema, asked of the catalogue: nothing new escapes.

Each rule is a query that returns one line for each violation. Who adds a table that is no tenant's adds it to
NOT_TENANTS, and says there why.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, LiteralString

if TYPE_CHECKING:
    import psycopg

NOT_TENANTS: Final = {
    "users": "a person may belong to several orgs; has a policy of its own",
    "alembic_version": "the revision of the schema",
    "clock_offset": "one row for the database; the owner's alone",
    "broker_epoch": "one row for the database",
    "retention": "one row for the database; the owner of the deployment decides",
    "retained": "one row for each table",
    "late_changes": "names transactions that changed a month which is about to be dropped",
    "dropped_messages": "one row for each reason; who forges a message does not say truly whose it is",
    "processes": "workers and schedulers serve all orgs; written by cmis.beat alone",
    "lease_watch": "one row for the database",
}
GLOBAL_KEYS: Final = {"orgs_name_key": "names of orgs are unique among all, since --org takes one"}
_CONTEXT: Final = (
    """( SELECT (NULLIF(current_setting('app.current_org_id'::text, true), ''::text))::uuid AS "nullif")"""
)
ORG: Final = f"(org_id = {_CONTEXT})"
"""The one expression that policies may consist of, as the catalogue prints it."""
SHARED: Final = {
    "automation_workflows.public_bundles": f"(is_public AND (status = 'active'::text) AND ({_CONTEXT} IS NOT NULL))",
    "workflow_templates.public_templates": f"(is_public AND (status = 'active'::text) AND ({_CONTEXT} IS NOT NULL))",
    "workflow_template_versions.public_versions": (
        "(EXISTS ( SELECT\n   FROM cmis.workflow_templates t\n"
        "  WHERE ((t.org_id = workflow_template_versions.org_id)"
        " AND (t.template_id = workflow_template_versions.template_id)"
        f" AND t.is_public AND (t.status = 'active'::text) AND ({_CONTEXT} IS NOT NULL))))"
    ),
}
"""Policies by which the app reads rows that other orgs show to all: their whole expressions."""
SCHEDULERS: Final = [
    "add_partition",
    "beat",
    "broker_epoch",
    "claim_due_jobs",
    "clock",
    "clock_is_shifted",
    "due_orgs",
    "enqueue_maintenance",
    "is_anything_due",
    "missing_partitions",
    "publish_failed",
    "reap",
    "pick_publishable",
    "publishable_queues",
    "record_dispatch",
    "requeue_lost",
    "seconds_until_due",
    "swap_broker_epoch",
    "take_publishable",
    "unfinished_tasks",
    "watch_leases",
]
"""Everything that the scheduler's role may do."""

_TABLES: Final[LiteralString] = """
  tables AS (SELECT c.* FROM pg_class c WHERE c.relnamespace = 'cmis'::regnamespace AND c.relkind IN ('r', 'p')),
  tenants AS (SELECT * FROM tables WHERE relname <> ALL (%(not_tenants)s)),
  logins AS (SELECT * FROM pg_roles WHERE rolname IN ('cmis_scheduler', 'cmis_app', 'cmis_readonly')),
  functions AS (SELECT * FROM pg_proc WHERE pronamespace = 'cmis'::regnamespace)
"""

RULES: Final[dict[str, LiteralString]] = {
    "row security is enabled and forced on every table and partition": """
        SELECT relname FROM tables WHERE NOT (relrowsecurity AND relforcerowsecurity)
           AND (relname = 'users' OR relname IN (SELECT relname FROM tenants))""",
    "every tenant table and partition has the org policy, for reading and writing": """
        SELECT relname FROM tenants t WHERE NOT EXISTS (
          SELECT FROM pg_policy p WHERE p.polrelid = t.oid AND p.polcmd = '*' AND p.polroles = '{0}'
             AND pg_get_expr(p.polqual, t.oid) = %(org)s AND pg_get_expr(p.polwithcheck, t.oid) = %(org)s)""",
    "only the engine, the readers and what is shared have a policy besides": """
        SELECT t.relname || '.' || p.polname FROM tenants t JOIN pg_policy p ON p.polrelid = t.oid
         WHERE NOT (pg_get_expr(p.polqual, t.oid) = %(org)s AND pg_get_expr(p.polwithcheck, t.oid) = %(org)s)
           AND NOT (p.polroles = ARRAY['cmis_engine'::regrole::oid] AND NOT t.relispartition)
           AND NOT (p.polroles = ARRAY['cmis_app'::regrole::oid] AND p.polcmd = 'r'
                    AND (t.relname || '.' || p.polname, pg_get_expr(p.polqual, t.oid))
                        IN (SELECT * FROM unnest(%(shared)s::text[], %(shared_expressions)s::text[])))
           AND NOT (p.polroles = ARRAY['cmis_readonly'::regrole::oid] AND p.polcmd = 'r' AND NOT t.relispartition)""",
    "users are written by the engine alone": """
        SELECT p.polname FROM tables t JOIN pg_policy p ON p.polrelid = t.oid WHERE t.relname = 'users'
           AND p.polroles <> ARRAY['cmis_engine'::regrole::oid]
           AND (p.polcmd <> 'r' OR 0 = ANY (p.polroles) OR (pg_get_expr(p.polqual, t.oid) = 'true'
                AND p.polroles <> ARRAY['cmis_readonly'::regrole::oid]))""",
    "nobody has a grant on a partition": """
        SELECT t.relname || ' ' || a.privilege_type FROM tables t, aclexplode(t.relacl) a
         WHERE t.relispartition AND a.grantee <> t.relowner""",
    "only the owner may truncate, reference or put triggers": """
        SELECT t.relname || ' ' || a.privilege_type FROM tables t, aclexplode(t.relacl) a
         WHERE a.grantee <> t.relowner AND a.privilege_type NOT IN ('SELECT', 'INSERT', 'UPDATE', 'DELETE')""",
    "no grant may be passed on": """
        SELECT t.relname FROM tables t, aclexplode(t.relacl) a WHERE a.is_grantable AND a.grantee <> t.relowner""",
    "the app deletes from no table": """
        SELECT relname FROM tables WHERE has_table_privilege('cmis_app', oid, 'DELETE')""",
    "the public may do nothing": """
        SELECT c.relname FROM pg_class c, aclexplode(c.relacl) a
         WHERE c.relnamespace = 'cmis'::regnamespace AND a.grantee = 0
        UNION ALL SELECT c.relname || '.' || k.attname FROM pg_class c JOIN pg_attribute k ON k.attrelid = c.oid,
                         aclexplode(k.attacl) a WHERE c.relnamespace = 'cmis'::regnamespace AND a.grantee = 0
        UNION ALL SELECT proname || '()' FROM functions, aclexplode(coalesce(proacl, acldefault('f', proowner))) a
                   WHERE a.grantee = 0
        UNION ALL SELECT nspname FROM pg_namespace, aclexplode(nspacl) a WHERE nspname = 'cmis' AND a.grantee = 0""",
    "definer functions belong to the engine, or to the owner for clock and partitions": """
        SELECT proname || ' of ' || proowner::regrole FROM functions WHERE prosecdef
           AND proowner <> 'cmis_engine'::regrole AND NOT (proowner = 'cmis_owner'::regrole
             AND proname IN ('clock', 'clock_is_shifted', 'advance_clock', 'maintain_partitions',
                             'add_partition', 'retire_partition'))""",
    "definer functions have a safe search path": """
        SELECT proname FROM functions WHERE prosecdef
           AND 'search_path=pg_catalog, pg_temp' <> ALL (coalesce(proconfig, '{}'))""",
    "the scheduler may execute its functions": """
        SELECT name FROM unnest(%(schedulers)s::text[]) name WHERE NOT EXISTS (
          SELECT FROM functions WHERE proname = name AND has_function_privilege('cmis_scheduler', oid, 'EXECUTE'))""",
    "the scheduler may do nothing else": """
        SELECT proname FROM functions WHERE has_function_privilege('cmis_scheduler', oid, 'EXECUTE')
           AND proname <> ALL (%(schedulers)s)
        UNION ALL SELECT relname FROM pg_class WHERE relnamespace = 'cmis'::regnamespace
           AND relkind IN ('r', 'p', 'v', 'm') AND (
                has_table_privilege('cmis_scheduler', oid,
                                    'SELECT, INSERT, UPDATE, DELETE, TRUNCATE, REFERENCES, TRIGGER')
                OR has_any_column_privilege('cmis_scheduler', oid, 'SELECT, INSERT, UPDATE, REFERENCES'))""",
    "login roles have no power of their own": """
        SELECT rolname FROM logins
         WHERE rolsuper OR rolbypassrls OR rolcreaterole OR rolcreatedb OR rolreplication
            OR EXISTS (SELECT FROM pg_auth_members m WHERE m.member = logins.oid)
            OR EXISTS (SELECT FROM pg_class c WHERE c.relnamespace = 'cmis'::regnamespace AND c.relowner = logins.oid)
            OR EXISTS (SELECT FROM functions f WHERE f.proowner = logins.oid)
            OR has_schema_privilege(logins.oid, 'cmis', 'CREATE')""",
    "owner and engine cannot log in and have no power beyond": """
        SELECT rolname FROM pg_roles WHERE rolname IN ('cmis_owner', 'cmis_engine')
           AND (rolcanlogin OR rolsuper OR rolbypassrls OR rolcreaterole OR rolcreatedb OR rolreplication)""",
    "the owner owns every table and view": """
        SELECT relname FROM pg_class WHERE relnamespace = 'cmis'::regnamespace AND relkind IN ('r', 'p', 'v', 'm', 'S')
           AND relowner <> 'cmis_owner'::regrole""",
    "the engine may create nothing": """
        SELECT 'cmis' WHERE has_schema_privilege('cmis_engine', 'cmis', 'CREATE')""",
    "views run with their caller's rights": """
        SELECT relname FROM pg_class WHERE relnamespace = 'cmis'::regnamespace AND relkind IN ('v', 'm')
           AND (relkind = 'm' OR 'security_invoker=true' <> ALL (coalesce(reloptions, '{}')))""",
    "every tenant table has an org, never NULL": """
        SELECT relname FROM tenants t WHERE NOT EXISTS (SELECT FROM pg_attribute a WHERE a.attrelid = t.oid
           AND a.attname = 'org_id' AND a.attnotnull AND a.atttypid = 'uuid'::regtype)""",
    "unique keys of tenants start with the org": """
        SELECT i.indexrelid::regclass::text FROM tenants t JOIN pg_index i ON i.indrelid = t.oid AND i.indisunique
          JOIN pg_class n ON n.oid = i.indexrelid
          JOIN pg_attribute a ON a.attrelid = t.oid AND a.attnum = i.indkey[0]
         WHERE a.attname <> 'org_id' AND n.relname <> ALL (%(global_keys)s)""",
    "every tenant table has a primary key": """
        SELECT relname FROM tenants t
         WHERE NOT EXISTS (SELECT FROM pg_index i WHERE i.indrelid = t.oid AND i.indisprimary)""",
    "references among tenants start with the org on both sides": """
        SELECT f.conname FROM tenants t JOIN pg_constraint f ON f.conrelid = t.oid AND f.contype = 'f'
          JOIN pg_attribute a ON a.attrelid = f.conrelid AND a.attnum = f.conkey[1]
          JOIN pg_attribute b ON b.attrelid = f.confrelid AND b.attnum = f.confkey[1]
         WHERE (a.attname, b.attname) <> ('org_id', 'org_id') AND f.confrelid <> 'cmis.users'::regclass""",
    "every reference has an index": """
        SELECT f.conname FROM tables t JOIN pg_constraint f ON f.conrelid = t.oid AND f.contype = 'f'
         WHERE NOT EXISTS (SELECT FROM pg_index i WHERE i.indrelid = t.oid
           AND (i.indpred IS NULL OR pg_get_expr(i.indpred, t.oid) IN (  -- what references nothing need not be in it
                  SELECT format('(%%I IS NOT NULL)', a.attname) FROM pg_attribute a
                   WHERE a.attrelid = t.oid AND a.attnum = ANY (f.conkey)))
           AND (i.indkey::int2[])[0:cardinality(f.conkey) - 1] @> f.conkey)""",
    "nothing references a partitioned table": """
        SELECT f.conname FROM pg_constraint f JOIN tables t ON t.oid = f.confrelid
         WHERE f.contype = 'f' AND (t.relkind = 'p' OR t.relispartition)""",
    "statuses are text held by a CHECK": """
        SELECT t.relname || '.' || a.attname FROM tables t JOIN pg_attribute a ON a.attrelid = t.oid
         WHERE a.attname IN ('status', 'state', 'decision', 'outcome', 'origin', 'role', 'kind', 'priority', 'queue',
                             'trigger', 'trigger_type', 'target_type', 'schedule_type', 'frequency', 'action')
           AND (a.atttypid NOT IN ('text'::regtype, 'int2'::regtype) OR NOT EXISTS (
                 SELECT FROM pg_constraint k
                  WHERE k.conrelid = t.oid AND k.contype = 'c' AND k.conkey @> ARRAY[a.attnum]))""",
    "no column has an enum type": """
        SELECT t.relname || '.' || a.attname FROM tables t JOIN pg_attribute a ON a.attrelid = t.oid
          JOIN pg_type y ON y.oid = a.atttypid WHERE y.typtype = 'e'""",
    "times know their zone and JSON is binary": """
        SELECT t.relname || '.' || a.attname FROM tables t JOIN pg_attribute a ON a.attrelid = t.oid
         WHERE a.atttypid IN ('timestamp'::regtype, 'json'::regtype, 'timetz'::regtype)""",
}


def violations(connection: psycopg.Connection[Any], rule: str) -> list[str]:
    """Return what violates one of `RULES`, by name; sees uncommitted changes of `connection`."""
    parameters = {
        "not_tenants": list(NOT_TENANTS),
        "global_keys": list(GLOBAL_KEYS),
        "org": ORG,
        "shared": list(SHARED),
        "shared_expressions": list(SHARED.values()),
        "schedulers": SCHEDULERS,
    }
    query: LiteralString = "WITH " + _TABLES + RULES[rule]
    return sorted(str(name) for (name,) in connection.execute(query, parameters))
