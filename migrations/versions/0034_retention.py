"""How long what happened is kept: months that nothing needs any more are dropped whole, runs of workflows deleted."""

from migrations.ddl import drop_tables, protect, run, run_as_engine
from migrations.retiring import HELD, PURGE, RETIRE

revision = "0034"
down_revision = "0033"
branch_labels = None
depends_on = None


def upgrade() -> None:
    run(_SETTINGS)
    run(_RETIRED)
    for table in _TENANTS:
        protect(table, app="SELECT")
    run(_ENGINE)
    run_as_engine(_NOTE + HELD + RETIRE + PURGE)
    run(_PARTITION)


def downgrade() -> None:
    run(_UNWATCHED)
    run("""
        DROP FUNCTION cmis.retire_partition(text);
        DROP FUNCTION cmis.purge_occurrences(integer);
        DROP FUNCTION cmis.purge_instances(integer);
        DROP FUNCTION cmis.retire_rows(text, timestamptz, timestamptz);
        DROP FUNCTION cmis.held_in(text, timestamptz, timestamptz);
        DROP FUNCTION cmis.note_late_change();
        DROP INDEX cmis.workflow_instances_ended;
        REVOKE DELETE ON cmis.workflow_instances, cmis.workflow_steps, cmis.occurrences, cmis.optimizations FROM cmis_engine;
    """)
    drop_tables([*_TENANTS, "late_changes", "retained", "retention"])


# What the owner of a deployment decides, and how far it is carried out. Partitions are made two months back: three are the
# least. The log outlives what it tells of, so that no record of it lacks its row before that is gone by its own months.
_SETTINGS = """
CREATE TABLE cmis.retention (
    only_row BOOLEAN DEFAULT true NOT NULL,
    work_months INTEGER DEFAULT 13 NOT NULL,
    workflow_months INTEGER DEFAULT 13 NOT NULL,
    audit_months INTEGER DEFAULT 25 NOT NULL,
    CONSTRAINT retention_pkey PRIMARY KEY (only_row),
    CONSTRAINT retention_only_row_check CHECK (only_row),
    CONSTRAINT retention_months_check CHECK (work_months BETWEEN 3 AND 1200 AND workflow_months BETWEEN 3 AND 1200 AND audit_months BETWEEN greatest(work_months, workflow_months) AND 1200)
);
CREATE TABLE cmis.retained (
    relation TEXT NOT NULL,
    kept_from TIMESTAMP WITH TIME ZONE DEFAULT '1970-01-01 00:00:00+00'::timestamp with time zone NOT NULL,
    CONSTRAINT retained_pkey PRIMARY KEY (relation)
);
CREATE TABLE cmis.late_changes (
    relation TEXT NOT NULL,
    xid xid8 NOT NULL,
    CONSTRAINT late_changes_pkey PRIMARY KEY (relation, xid)
);
INSERT INTO cmis.retention DEFAULT VALUES;
INSERT INTO cmis.retained (relation) VALUES ('automation_actions'), ('automation_audit_log'), ('automation_executions'),
  ('occurrences'), ('task_attempts'), ('workflow_instances');
GRANT SELECT ON cmis.retention, cmis.retained TO cmis_readonly, cmis_engine;
GRANT UPDATE ON cmis.retained TO cmis_engine;
GRANT SELECT, INSERT ON cmis.late_changes TO cmis_engine;
"""

_TENANTS = ["retired_executions", "retired_effects", "retired_occurrences", "retired_instances"]
# What counters and memories stand for besides the rows: written by the transaction that takes the rows.
_RETIRED = """
CREATE TABLE cmis.retired_executions (
    org_id UUID NOT NULL,
    rule_id UUID NOT NULL,
    success BIGINT NOT NULL,
    partial BIGINT NOT NULL,
    failure BIGINT NOT NULL,
    skipped BIGINT NOT NULL,
    CONSTRAINT retired_executions_pkey PRIMARY KEY (org_id, rule_id)
);
CREATE TABLE cmis.retired_effects (
    org_id UUID NOT NULL,
    rule_id UUID NOT NULL,
    entity_id UUID NOT NULL,
    last_acted_at TIMESTAMP WITH TIME ZONE NOT NULL,
    CONSTRAINT retired_effects_pkey PRIMARY KEY (org_id, rule_id, entity_id)
);
CREATE TABLE cmis.retired_occurrences (
    org_id UUID NOT NULL,
    job_id UUID NOT NULL,
    runs BIGINT NOT NULL,
    until TIMESTAMP WITH TIME ZONE NOT NULL,
    last_run_for TIMESTAMP WITH TIME ZONE,
    CONSTRAINT retired_occurrences_pkey PRIMARY KEY (org_id, job_id)
);
CREATE TABLE cmis.retired_instances (
    org_id UUID NOT NULL,
    template_id UUID NOT NULL,
    instances BIGINT NOT NULL,
    CONSTRAINT retired_instances_pkey PRIMARY KEY (org_id, template_id)
);
"""
_ENGINE = """
CREATE INDEX workflow_instances_ended ON cmis.workflow_instances (finished_at) WHERE finished_at IS NOT NULL;
GRANT DELETE ON cmis.workflow_instances, cmis.workflow_steps, cmis.occurrences, cmis.optimizations TO cmis_engine;
"""

# A month's rows are counted without a lock, and dropped under one that is held for moments: between the two somebody may
# change a row. A trigger that the month is given first, and no other month has, notes by which transaction.
_NOTE = """
CREATE FUNCTION cmis.note_late_change() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
  INSERT INTO cmis.late_changes (relation, xid) VALUES (TG_TABLE_NAME, pg_current_xact_id()) ON CONFLICT DO NOTHING;
  RETURN NULL;
END $$;
REVOKE EXECUTE ON FUNCTION cmis.note_late_change() FROM PUBLIC;
GRANT EXECUTE ON FUNCTION cmis.note_late_change() TO cmis_owner;
"""

# The oldest month of a table that is wholly older than what is kept: watched by the first call, dropped by the next. The
# caller commits after each: DROP TABLE locks the parent against everybody, for as long as the transaction goes on. It waits
# a quarter of a second for that lock, behind which all others queue, and no longer: the next hour tries again.
_PARTITION = """
CREATE FUNCTION cmis.retire_partition(p_relation text) RETURNS TABLE (partition text, outcome text, reason text)
LANGUAGE plpgsql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp SET timezone = 'UTC' SET lock_timeout = '250ms'
AS $$
DECLARE
  v_month timestamptz; v_end timestamptz; v_seen pg_snapshot := pg_current_snapshot();
BEGIN
  SELECT min(to_timestamp(right(c.relname, 6), 'YYYYMM')) INTO v_month
    FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid
   WHERE i.inhparent = format('cmis.%I', p_relation)::regclass AND c.relname ~ '_[0-9]{6}$';
  v_end := v_month + interval '1 month';
  IF v_month IS NULL OR v_end > date_trunc('month', cmis.clock()) - (
       SELECT make_interval(months => CASE p_relation WHEN 'automation_audit_log' THEN r.audit_months ELSE r.work_months END)
         FROM cmis.retention r) THEN
    RETURN;
  END IF;
  partition := p_relation || '_' || to_char(v_month, 'YYYYMM');
  IF NOT pg_try_advisory_xact_lock(hashtext('cmis.retire_partition'), hashtext(p_relation)) THEN
    outcome := 'busy'; reason := 'another process is about to drop it'; RETURN NEXT; RETURN;
  END IF;

  IF NOT EXISTS (SELECT FROM pg_trigger t
                  WHERE t.tgrelid = format('cmis.%I', partition)::regclass AND t.tgname = 'note_late_change') THEN
    BEGIN
      EXECUTE format('CREATE TRIGGER note_late_change AFTER INSERT OR UPDATE OR DELETE ON cmis.%I FOR EACH ROW
                      EXECUTE FUNCTION cmis.note_late_change()', partition);
      outcome := 'watched';
    EXCEPTION WHEN lock_not_available THEN
      outcome := 'busy'; reason := 'its rows are being changed';
    END;
    RETURN NEXT; RETURN;
  END IF;

  reason := cmis.held_in(p_relation, v_month, v_end);
  IF reason IS NOT NULL THEN outcome := 'held'; RETURN NEXT; RETURN; END IF;
  BEGIN
    PERFORM cmis.retire_rows(p_relation, v_month, v_end);
    EXECUTE format('DROP TABLE cmis.%I', partition);
    IF EXISTS (SELECT FROM cmis.late_changes l WHERE l.relation = partition AND NOT pg_visible_in_snapshot(l.xid, v_seen)) THEN
      RAISE EXCEPTION 'changed' USING ERRCODE = '40001';
    END IF;
    DELETE FROM cmis.late_changes l WHERE l.relation = partition;
    UPDATE cmis.retained r SET kept_from = greatest(r.kept_from, v_end) WHERE r.relation = p_relation;
    outcome := 'dropped';
  EXCEPTION
    WHEN lock_not_available THEN outcome := 'busy'; reason := 'the table is in use';
    WHEN serialization_failure THEN outcome := 'busy'; reason := 'its rows were changed meanwhile';
  END;
  RETURN NEXT;
END $$;
REVOKE EXECUTE ON FUNCTION cmis.retire_partition(text) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION cmis.retire_partition(text) TO cmis_app;
"""
_UNWATCHED = """
DO $$
DECLARE v_table regclass;
BEGIN
  FOR v_table IN SELECT t.tgrelid FROM pg_trigger t WHERE t.tgname = 'note_late_change' LOOP
    EXECUTE format('DROP TRIGGER note_late_change ON %s', v_table);
  END LOOP;
END $$;
"""
