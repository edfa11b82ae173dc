"""A lost chunk is split and never dead; a task that nobody can read is dead, alone; no reaping just after an outage."""

from migrations.ddl import constant_of, run, run_as_engine

revision = "0030"
down_revision = "0029"
branch_labels = None
depends_on = None


def upgrade() -> None:
    run("DROP FUNCTION cmis.reap(integer), cmis.reap_tasks(integer), cmis.reap_leases(integer)")
    for functions in (_SEVERAL, _leases(), _REAP):
        run_as_engine(functions)
    run(_WATCH_TABLE)
    run_as_engine(_WATCH)


def downgrade() -> None:
    run("DROP FUNCTION cmis.watch_leases(interval, interval)")
    run("DROP TABLE cmis.lease_watch")
    run(f"DROP FUNCTION cmis.reap(integer), {', '.join(_OURS)}")
    run_as_engine(constant_of("0015", "_REAP"))
    run_as_engine("REVOKE EXECUTE ON FUNCTION cmis.reap(integer) FROM PUBLIC")
    run_as_engine(_from_rename(constant_of("0017", "_REAP")))
    run_as_engine(constant_of("0019", "_reap")(_TOLD_BEFORE))
    run_as_engine(_from_rename(constant_of("0028", "_REAP")))


_OURS = (
    "cmis.reap_together(uuid[], uuid[])",
    "cmis.reap_leases(uuid[], uuid[])",
    "cmis.reap_bare(uuid, uuid, text)",
    "cmis.carries_several(text, jsonb)",
)
_TOLD_BEFORE = "    PERFORM cmis.doubt_delivery(org_id, task_id);\n    PERFORM cmis.abandon_steps(org_id, task_id);\n"


def _from_rename(functions: str) -> str:
    """Return what puts another function around `cmis.reap`; what it called before has stayed."""
    return functions[functions.index("ALTER FUNCTION cmis.reap(integer) RENAME") :].replace(
        "FROM cmis_scheduler", "FROM PUBLIC, cmis_scheduler"
    )


# A delivery is one call, whatever it carries, and actions of one execution follow one another: neither is several.
_SEVERAL = """
CREATE FUNCTION cmis.carries_several(p_kind text, p_payload jsonb) RETURNS boolean LANGUAGE sql IMMUTABLE
SET search_path = pg_catalog, pg_temp
AS $$
  SELECT CASE p_kind
    WHEN 'evaluate_rules' THEN (SELECT coalesce(sum(jsonb_array_length(g -> 'items')), 0) > 1
                                  FROM jsonb_array_elements(p_payload -> 'groups') g)
    WHEN 'run_workflow' THEN coalesce(jsonb_array_length(p_payload -> 'items'), 0) > 1
    ELSE false END
$$;
REVOKE EXECUTE ON FUNCTION cmis.carries_several(text, jsonb) FROM PUBLIC;
"""

# Attempts end what carries one item. What carries several is ready again whatever it has used up, with an attempt more if it must
# be: whoever claims it next splits it, or gives each item a task of its own, so that the one that kills its workers dies alone.
# A task of an org that names another org's evaluations was made by nobody of ours: nothing of it is written anywhere.
_FOREIGN = """  IF EXISTS (
    SELECT FROM unnest(p_orgs, p_tasks) AS x(org_id, task_id)
      JOIN cmis.tasks t ON t.org_id = x.org_id AND t.task_id = x.task_id AND t.kind IN ('evaluate_rules', 'apply_actions')
     CROSS JOIN LATERAL jsonb_array_elements(t.payload -> 'groups') g
     WHERE t.org_id <> '00000000-0000-0000-0000-000000000000' AND g ->> 'org_id' IS DISTINCT FROM t.org_id::text)
  THEN
    RAISE EXCEPTION 'its payload names another org than its own' USING ERRCODE = '22023';
  END IF;
  RETURN QUERY
"""
_EXPIRED = """  WITH expired AS MATERIALIZED (
    SELECT t.org_id, t.task_id, t.lease_owner, cmis.carries_several(t.kind, t.payload) AS several
      FROM unnest(p_orgs, p_tasks) AS x(org_id, task_id) JOIN cmis.tasks t ON t.org_id = x.org_id AND t.task_id = x.task_id),
"""
_MOVED = """    UPDATE cmis.tasks t SET
      state = CASE WHEN t.cancel_requested THEN 'cancelled' WHEN t.attempt >= t.max_attempts AND NOT expired.several THEN 'dead'
                   ELSE 'ready' END,
      finished_at = CASE WHEN t.cancel_requested OR t.attempt >= t.max_attempts AND NOT expired.several THEN v_now END,
      max_attempts = greatest(t.max_attempts, CASE WHEN expired.several THEN t.attempt + 1 END),
"""


def _leases() -> str:
    """Return what moves the tasks that it is given, as 0015's function did with those that it found."""
    before: str = constant_of("0015", "_REAP")
    expired = before[before.index("  WITH expired AS") : before.index("  moved AS (")]
    moved = before[before.index("    UPDATE cmis.tasks t SET\n") : before.index("      run_at = v_now, publish_at")]
    return (
        before.replace("CREATE OR REPLACE FUNCTION cmis.reap(p_limit integer)", _LEASES)
        .replace("VOLATILE SECURITY DEFINER", "VOLATILE")
        .replace("  RETURN QUERY\n", _FOREIGN)
        .replace(expired, _EXPIRED)
        .replace(moved, _MOVED)
        + "REVOKE EXECUTE ON FUNCTION cmis.reap_leases(uuid[], uuid[]) FROM PUBLIC;"
    )


_LEASES = "CREATE FUNCTION cmis.reap_leases(p_orgs uuid[], p_tasks uuid[])"

# Expired leases, in batches. A batch that a row's contents make fail is done one by one; the row itself is dead, and its audit
# says why: nothing that somebody wrote into a payload keeps others from being rescued. Any other error, such as a lock or a
# month's partition that is missing (it is met by the audit, too), is nobody's contents, and is raised.
_REAP = """
CREATE FUNCTION cmis.reap_together(p_orgs uuid[], p_tasks uuid[]) RETURNS TABLE (org_id uuid, task_id uuid, state text)
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
  FOR org_id, task_id, state IN
    SELECT l.org_id, l.task_id, l.state FROM cmis.reap_leases(p_orgs, p_tasks) l
     ORDER BY l.org_id, (SELECT t.payload #>> '{groups,0,items,0,rule_id}' FROM cmis.tasks t
                          WHERE t.org_id = l.org_id AND t.task_id = l.task_id)
  LOOP
    PERFORM cmis.abandon_actions(org_id, task_id);
    PERFORM cmis.doubt_delivery(org_id, task_id);
    PERFORM cmis.abandon_steps(org_id, task_id);
    PERFORM cmis.abandon_starts(org_id, task_id);
    IF state = 'dead' THEN
      PERFORM cmis.break_lost(org_id, task_id);
    END IF;
    RETURN NEXT;
  END LOOP;
END $$;

CREATE FUNCTION cmis.reap_bare(p_org_id uuid, p_task_id uuid, p_said text) RETURNS TABLE (org_id uuid, task_id uuid, state text)
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE v_now timestamptz := cmis.clock(); v_task record;
BEGIN
  UPDATE cmis.tasks t SET state = 'dead', finished_at = v_now, lease_owner = NULL, lease_expires_at = NULL,
         error = jsonb_build_object('code', 'UNREADABLE', 'message', 'lost, and what it carried cannot be ended: ' || left(p_said, 200))
   WHERE t.org_id = p_org_id AND t.task_id = p_task_id
  RETURNING t.fence, t.attempt, t.attempt_id, t.error INTO v_task;
  UPDATE cmis.task_attempts a SET outcome = 'lost', finished_at = v_now, error = v_task.error
   WHERE a.org_id = p_org_id AND a.attempt_id = v_task.attempt_id AND a.outcome IS NULL;
  INSERT INTO cmis.automation_audit_log (org_id, created_at, audit_id, action, user_id, entity_type, entity_id, details)
  VALUES (p_org_id, v_now, cmis.uuid_v7(v_now), 'task_died', '00000000-0000-0000-0000-000000000001', 'task', p_task_id,
          jsonb_build_object('fence', v_task.fence, 'attempt', v_task.attempt, 'error', v_task.error));
  RETURN QUERY SELECT p_org_id, p_task_id, 'dead';
END $$;

CREATE FUNCTION cmis.reap(p_limit integer) RETURNS TABLE (org_id uuid, task_id uuid, state text)
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
DECLARE v_orgs uuid[]; v_tasks uuid[]; v_said text;
BEGIN
  SELECT array_agg(e.org_id), array_agg(e.task_id) INTO v_orgs, v_tasks FROM (
    SELECT t.org_id, t.task_id FROM cmis.tasks t
     WHERE t.state = 'running' AND t.lease_expires_at < clock_timestamp()
     ORDER BY t.lease_expires_at LIMIT p_limit FOR NO KEY UPDATE SKIP LOCKED) e;
  IF v_tasks IS NULL THEN
    RETURN;
  END IF;
  BEGIN
    RETURN QUERY SELECT r.org_id, r.task_id, r.state FROM cmis.reap_together(v_orgs, v_tasks) r;
    RETURN;
  EXCEPTION WHEN data_exception OR integrity_constraint_violation THEN
    NULL;
  END;
  FOR i IN 1 .. cardinality(v_tasks) LOOP
    BEGIN
      RETURN QUERY SELECT r.org_id, r.task_id, r.state FROM cmis.reap_together(v_orgs[i:i], v_tasks[i:i]) r;
    EXCEPTION WHEN data_exception OR integrity_constraint_violation THEN
      GET STACKED DIAGNOSTICS v_said = MESSAGE_TEXT;
      RETURN QUERY SELECT r.org_id, r.task_id, r.state FROM cmis.reap_bare(v_orgs[i], v_tasks[i], v_said) r;
    END;
  END LOOP;
END $$;
REVOKE EXECUTE ON FUNCTION cmis.reap_together(uuid[], uuid[]), cmis.reap_bare(uuid, uuid, text), cmis.reap(integer) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION cmis.reap(integer) TO cmis_scheduler;
"""

# Who was out of reach of the database could not extend a lease. Schedulers look each second, and the row remembers for all of
# them, also for one that starts after an outage: where nobody could look for longer than leases are safe without, the next one
# to look lets one whole lease pass. Another one's look that is under way is not waited for. Leases run on the true clock.
_WATCH_TABLE = """
CREATE TABLE cmis.lease_watch (
    only_row BOOLEAN DEFAULT true NOT NULL,
    looked_at TIMESTAMP WITH TIME ZONE NOT NULL,
    resumes_at TIMESTAMP WITH TIME ZONE NOT NULL,
    CONSTRAINT lease_watch_pkey PRIMARY KEY (only_row),
    CONSTRAINT lease_watch_only_row_check CHECK (only_row)
);
GRANT SELECT, INSERT, UPDATE ON cmis.lease_watch TO cmis_engine;
GRANT SELECT ON cmis.lease_watch TO cmis_readonly;
"""
_WATCH = """
CREATE FUNCTION cmis.watch_leases(p_gap interval, p_rest interval) RETURNS double precision LANGUAGE plpgsql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
  v_now timestamptz := clock_timestamp(); -- as lease_expires_at
  v_looked timestamptz;
  v_resumes timestamptz;
BEGIN
  INSERT INTO cmis.lease_watch (looked_at, resumes_at) SELECT v_now, v_now WHERE NOT EXISTS (SELECT FROM cmis.lease_watch)
  ON CONFLICT DO NOTHING;
  SELECT w.looked_at, w.resumes_at INTO v_looked, v_resumes FROM cmis.lease_watch w FOR NO KEY UPDATE SKIP LOCKED;
  IF FOUND THEN
    v_resumes := CASE WHEN v_now - v_looked > p_gap THEN v_now + p_rest ELSE v_resumes END;
    UPDATE cmis.lease_watch SET looked_at = greatest(v_now, looked_at), resumes_at = v_resumes;
  ELSE
    SELECT w.resumes_at INTO v_resumes FROM cmis.lease_watch w WHERE v_now - w.looked_at <= p_gap;
    v_resumes := coalesce(v_resumes, v_now + p_rest);
  END IF;
  RETURN greatest(extract(epoch FROM v_resumes - v_now), 0);
END $$;
REVOKE EXECUTE ON FUNCTION cmis.watch_leases(interval, interval) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION cmis.watch_leases(interval, interval) TO cmis_scheduler;
"""
