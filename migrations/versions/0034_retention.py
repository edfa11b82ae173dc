"""How long what happened is kept: months that nothing needs any more are dropped whole, runs of workflows deleted."""

from migrations.ddl import drop_tables, protect, run, run_as_engine

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
    run_as_engine(_NOTE + _HELD + _RETIRE + _PURGE)
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

# What would miss a month's rows, in words; NULL = nothing does. Org by org where the index begins with it, so that what is
# long over is not read: only the month's own occurrences are.
_HELD = """
CREATE FUNCTION cmis.held_in(p_relation text, p_from timestamptz, p_to timestamptz) RETURNS text
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET plan_cache_mode = force_custom_plan
AS $$
DECLARE
  v_first constant uuid := cmis.uuid_v7_floor(p_from); v_end constant uuid := cmis.uuid_v7_floor(p_to); v_held text;
BEGIN
  CASE p_relation
  WHEN 'automation_executions' THEN
    SELECT format('action %s of org %s is %s', a.action_id, a.org_id, a.status) INTO v_held
      FROM cmis.orgs o CROSS JOIN unnest(ARRAY['held', 'queued', 'running', 'unknown']) AS open(status)
      CROSS JOIN LATERAL (
        SELECT * FROM cmis.automation_actions x
         WHERE x.org_id = o.org_id AND x.status = open.status AND x.action_id >= v_first
           AND x.execution_id >= v_first AND x.execution_id < v_end LIMIT 1) a LIMIT 1;
    IF v_held IS NULL THEN
      SELECT format('execution %s of org %s is running', e.execution_id, e.org_id) INTO v_held
        FROM cmis.orgs o CROSS JOIN LATERAL (
          SELECT * FROM cmis.automation_executions x
           WHERE x.org_id = o.org_id AND x.status = 'running'
             AND x.execution_id >= v_first AND x.execution_id < v_end LIMIT 1) e LIMIT 1;
    END IF;
    IF v_held IS NULL THEN
      SELECT format('task %s of org %s has yet to write execution %s', t.task_id, t.org_id, id) INTO v_held
        FROM cmis.tasks t CROSS JOIN LATERAL (
          SELECT (one #>> '{}')::uuid AS id
            FROM jsonb_path_query(t.payload, 'lax $.groups[*].items[*].execution_id') one) items
       WHERE t.kind = 'evaluate_rules' AND t.state IN ('ready', 'held', 'running') AND id >= v_first AND id < v_end LIMIT 1;
    END IF;
  WHEN 'automation_actions' THEN
    SELECT 'its executions are there still' INTO v_held
      FROM cmis.retained r WHERE r.relation = 'automation_executions' AND r.kept_from < p_to;
    IF v_held IS NULL THEN
      SELECT format('action %s of org %s is %s', a.action_id, a.org_id, a.status) INTO v_held
        FROM cmis.orgs o CROSS JOIN unnest(ARRAY['held', 'queued', 'running', 'unknown']) AS open(status)
        CROSS JOIN LATERAL (
          SELECT * FROM cmis.automation_actions x
           WHERE x.org_id = o.org_id AND x.status = open.status AND x.action_id >= v_first AND x.action_id < v_end
           LIMIT 1) a LIMIT 1;
    END IF;
    IF v_held IS NULL THEN
      SELECT format('run %s of org %s is %s', i.instance_id, i.org_id, i.status) INTO v_held
        FROM cmis.orgs o CROSS JOIN unnest(ARRAY['pending', 'running', 'paused']) AS open(status)
        JOIN cmis.workflow_instances i ON i.org_id = o.org_id AND i.status = open.status AND i.instance_id < v_end
       WHERE EXISTS (SELECT FROM cmis.automation_actions x
                      WHERE x.org_id = i.org_id AND x.instance_id = i.instance_id
                        AND x.action_id >= v_first AND x.action_id < v_end) LIMIT 1;
    END IF;
  WHEN 'task_attempts' THEN
    SELECT format('task %s of org %s is in the queue still', t.task_id, t.org_id) INTO v_held
      FROM cmis.tasks t
     WHERE t.fence > 0 AND t.task_id < v_end AND EXISTS (
       SELECT FROM cmis.task_attempts a WHERE a.org_id = t.org_id AND a.task_id = t.task_id
          AND a.attempt_id >= v_first AND a.attempt_id < v_end) LIMIT 1;
  WHEN 'occurrences' THEN
    SELECT format('the run of job %s of org %s that was planned for %s is open', o.job_id, o.org_id, o.scheduled_for)
      INTO v_held FROM cmis.occurrences o
     WHERE (o.outcome IS NULL OR o.decision = 'buffered') AND o.scheduled_for < p_to LIMIT 1;
  WHEN 'automation_audit_log' THEN
    SELECT format('%s are kept from %s on', r.relation, r.kept_from) INTO v_held FROM cmis.retained r
     WHERE r.relation IN ('automation_executions', 'automation_actions') AND r.kept_from < p_to LIMIT 1;
  END CASE;
  RETURN v_held;
END $$;
REVOKE EXECUTE ON FUNCTION cmis.held_in(text, timestamptz, timestamptz) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION cmis.held_in(text, timestamptz, timestamptz) TO cmis_owner;
"""

# Notes what counters stand for, and deletes what goes with the month's rows. When a rule last acted on an entity is noted
# with the executions, whatever month their effects are in: only with their execution it can be told. A job's times that are
# older than their month, and were decided late, go with it: of a chain what is gone is always its beginning.
_RETIRE = """
CREATE FUNCTION cmis.retire_rows(p_relation text, p_from timestamptz, p_to timestamptz) RETURNS void
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET plan_cache_mode = force_custom_plan
AS $$
DECLARE v_first constant uuid := cmis.uuid_v7_floor(p_from); v_end constant uuid := cmis.uuid_v7_floor(p_to);
BEGIN
  IF p_relation = 'automation_executions' THEN
    INSERT INTO cmis.retired_executions AS r (org_id, rule_id, success, partial, failure, skipped)
    SELECT e.org_id, e.rule_id, count(*) FILTER (WHERE e.status = 'success'), count(*) FILTER (WHERE e.status = 'partial'),
           count(*) FILTER (WHERE e.status = 'failure'), count(*) FILTER (WHERE e.status = 'skipped')
      FROM cmis.automation_executions e WHERE e.execution_id >= v_first AND e.execution_id < v_end GROUP BY 1, 2
    ON CONFLICT (org_id, rule_id) DO UPDATE
      SET success = r.success + excluded.success, partial = r.partial + excluded.partial,
          failure = r.failure + excluded.failure, skipped = r.skipped + excluded.skipped;
    INSERT INTO cmis.retired_effects AS r (org_id, rule_id, entity_id, last_acted_at)
    SELECT a.org_id, a.rule_id, CASE a.entity_type WHEN 'event' THEN a.rule_id ELSE a.entity_id END,
           max(CASE WHEN a.status IN ('succeeded', 'undone') THEN coalesce(a.decided_at, a.created_at) ELSE a.created_at END)
      FROM cmis.automation_executions e
      JOIN cmis.automation_actions a ON a.org_id = e.org_id AND a.execution_id = e.execution_id AND a.action_id >= v_first
     WHERE e.execution_id >= v_first AND e.execution_id < v_end AND e.status <> 'skipped'
       AND (a.status IN ('succeeded', 'undone') OR a.task_id <> e.task_id) AND a.type <> 'push_change'
     GROUP BY 1, 2, 3
    ON CONFLICT (org_id, rule_id, entity_id) DO UPDATE SET last_acted_at = greatest(r.last_acted_at, excluded.last_acted_at);
    DELETE FROM cmis.optimizations p WHERE p.optimization_id < v_end;
  ELSIF p_relation = 'occurrences' THEN
    WITH month AS MATERIALIZED (
      SELECT o.org_id, o.job_id, count(*) FILTER (WHERE o.decision = 'run') AS runs, max(o.until) AS until,
             max(o.scheduled_for) FILTER (WHERE o.decision = 'run') AS last_run_for
        FROM cmis.occurrences o WHERE o.origin = 'schedule' AND o.scheduled_for >= p_from AND o.scheduled_for < p_to
       GROUP BY 1, 2),
    older AS (
      DELETE FROM cmis.occurrences o USING month m
       WHERE o.org_id = m.org_id AND o.job_id = m.job_id AND o.origin = 'schedule' AND o.scheduled_for < p_from
      RETURNING o.org_id, o.job_id, o.decision, o.until, o.scheduled_for)
    INSERT INTO cmis.retired_occurrences AS r (org_id, job_id, runs, until, last_run_for)
    SELECT k.org_id, k.job_id, sum(k.runs), max(k.until), max(k.last_run_for) FROM (
      SELECT * FROM month
      UNION ALL
      SELECT o.org_id, o.job_id, (o.decision = 'run')::integer, o.until, CASE o.decision WHEN 'run' THEN o.scheduled_for END
        FROM older o) k GROUP BY 1, 2
    ON CONFLICT (org_id, job_id) DO UPDATE SET runs = r.runs + excluded.runs, until = greatest(r.until, excluded.until),
      last_run_for = greatest(r.last_run_for, excluded.last_run_for);
  END IF;
END $$;
REVOKE EXECUTE ON FUNCTION cmis.retire_rows(text, timestamptz, timestamptz) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION cmis.retire_rows(text, timestamptz, timestamptz) TO cmis_owner;
"""

# Runs from the leaves of their tree on: one that another was forked from, or is part of, waits for that one. A planned time
# of long ago has no month of its own: it goes once it was decided on long ago, too.
_PURGE = """
CREATE FUNCTION cmis.purge_instances(p_limit integer) RETURNS integer LANGUAGE plpgsql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
  v_before timestamptz := cmis.clock() - (SELECT make_interval(months => r.workflow_months) FROM cmis.retention r);
  v_ids uuid[]; v_purged integer;
BEGIN
  WITH old AS MATERIALIZED (
    SELECT i.org_id, i.instance_id, i.template_id FROM cmis.workflow_instances i
     WHERE i.finished_at < v_before
       AND NOT EXISTS (SELECT FROM cmis.workflow_instances c
                        WHERE c.org_id = i.org_id AND c.parent_instance_id = i.instance_id)
       AND NOT EXISTS (SELECT FROM cmis.workflow_instances f WHERE f.org_id = i.org_id AND f.forked_from = i.instance_id)
       AND NOT EXISTS (SELECT FROM cmis.automation_events e WHERE e.org_id = i.org_id AND e.instance_id = i.instance_id)
     ORDER BY i.finished_at LIMIT p_limit FOR UPDATE OF i SKIP LOCKED),
  noted AS (
    INSERT INTO cmis.retired_instances AS r (org_id, template_id, instances)
    SELECT old.org_id, old.template_id, count(*) FROM old GROUP BY 1, 2 ORDER BY 1, 2
    ON CONFLICT (org_id, template_id) DO UPDATE SET instances = r.instances + excluded.instances),
  steps AS (
    DELETE FROM cmis.workflow_steps s USING old WHERE s.org_id = old.org_id AND s.instance_id = old.instance_id)
  DELETE FROM cmis.workflow_instances i USING old WHERE i.org_id = old.org_id AND i.instance_id = old.instance_id;
  GET DIAGNOSTICS v_purged = ROW_COUNT;
  IF v_purged > 0 THEN
    UPDATE cmis.retained r SET kept_from = v_before WHERE r.relation = 'workflow_instances' AND r.kept_from < v_before;
  END IF;
  RETURN v_purged;
END $$;

CREATE FUNCTION cmis.purge_occurrences(p_limit integer) RETURNS integer LANGUAGE plpgsql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp SET timezone = 'UTC'
AS $$
DECLARE
  v_before timestamptz := date_trunc('month', cmis.clock())
                          - (SELECT make_interval(months => r.work_months) FROM cmis.retention r);
  v_purged integer;
BEGIN
  WITH old AS MATERIALIZED (
    SELECT o.org_id, o.job_id, o.origin, o.scheduled_for FROM cmis.occurrences o
     WHERE o.tableoid = 'cmis.occurrences_default'::regclass AND o.scheduled_for < v_before AND o.outcome IS NOT NULL
       AND o.decision <> 'buffered' AND o.decided_at < v_before
     ORDER BY o.scheduled_for LIMIT p_limit),
  gone AS (
    DELETE FROM cmis.occurrences o USING old
     WHERE o.org_id = old.org_id AND o.job_id = old.job_id AND o.origin = old.origin AND o.scheduled_for = old.scheduled_for
       AND o.scheduled_for < v_before
    RETURNING o.*),
  noted AS (
    INSERT INTO cmis.retired_occurrences AS r (org_id, job_id, runs, until, last_run_for)
    SELECT g.org_id, g.job_id, count(*) FILTER (WHERE g.decision = 'run'), max(g.until),
           max(g.scheduled_for) FILTER (WHERE g.decision = 'run')
      FROM gone g WHERE g.origin = 'schedule' GROUP BY 1, 2 ORDER BY 1, 2
    ON CONFLICT (org_id, job_id) DO UPDATE SET runs = r.runs + excluded.runs, until = greatest(r.until, excluded.until),
      last_run_for = greatest(r.last_run_for, excluded.last_run_for))
  SELECT count(*) INTO v_purged FROM gone;
  IF v_purged > 0 THEN
    UPDATE cmis.retained r SET kept_from = v_before WHERE r.relation = 'occurrences' AND r.kept_from < v_before;
  END IF;
  RETURN v_purged;
END $$;
REVOKE EXECUTE ON FUNCTION cmis.purge_instances(integer), cmis.purge_occurrences(integer) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION cmis.purge_instances(integer), cmis.purge_occurrences(integer) TO cmis_app, cmis_owner;
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
