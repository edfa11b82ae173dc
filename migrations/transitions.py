"""What may follow what in workflows, as the database guards it: models/transitions.py, held equal by a test.

The WHEN of a trigger is all that a legal change costs.
"""

from __future__ import annotations

INSTANCE = {
    "pending": ["running", "paused", "completed", "failed", "cancelled"],
    "running": ["paused", "completed", "failed", "cancelled"],
    "paused": ["running", "failed", "cancelled"],
}
_ENDS = ["completed", "failed", "skipped", "cancelled"]
STEP = {
    "pending": ["queued", "running", "waiting", "retrying", *_ENDS],
    "queued": ["running", "waiting", "retrying", *_ENDS],
    "running": ["retrying", "waiting", *_ENDS],
    "waiting": ["queued", "running", "retrying", *_ENDS],
    "retrying": ["queued", "running", "waiting", *_ENDS],
    "failed": ["queued", "skipped"],
}
REFUSE = """
CREATE FUNCTION cmis.refuse_transition() RETURNS trigger LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
  RAISE EXCEPTION 'a row of % that is % cannot become %', TG_TABLE_NAME, OLD.status, NEW.status
    USING ERRCODE = 'CM020', CONSTRAINT = TG_NAME;
END $$;
REVOKE EXECUTE ON FUNCTION cmis.refuse_transition() FROM PUBLIC;
GRANT EXECUTE ON FUNCTION cmis.refuse_transition() TO cmis_owner;
"""


def guards() -> str:
    """Return the triggers that hold instances and steps to these pairs, and published versions to what they are."""
    sql = """
        CREATE TRIGGER workflow_template_versions_frozen BEFORE UPDATE OR DELETE ON cmis.workflow_template_versions
          FOR EACH ROW EXECUTE FUNCTION cmis.refuse_change();
    """
    for table, machine, finals in (
        ("workflow_instances", INSTANCE, ["completed", "failed", "cancelled"]),
        ("workflow_steps", STEP, ["completed", "skipped", "cancelled"]),
    ):
        pairs = ", ".join(f"('{before}', '{after}')" for before, many in machine.items() for after in many)
        final = ", ".join(f"'{status}'" for status in finals)
        sql += f"""
        CREATE TRIGGER {table}_transition BEFORE UPDATE OF status ON cmis.{table} FOR EACH ROW
          WHEN (OLD.status <> NEW.status AND (OLD.status, NEW.status) NOT IN ({pairs}))
          EXECUTE FUNCTION cmis.refuse_transition();
        CREATE TRIGGER {table}_final BEFORE UPDATE ON cmis.{table} FOR EACH ROW WHEN (OLD.status IN ({final}))
          EXECUTE FUNCTION cmis.refuse_transition();
        """
    return sql
