"""What starts workflows: jobs whose target is a template, and events; and events that only one instance is told of."""

from migrations.ddl import constant_of, run, run_as_engine

revision = "0028"
down_revision = "0027"
branch_labels = None
depends_on = None


def upgrade() -> None:
    run(_COLUMNS)
    _watch("template_id")
    run("DROP FUNCTION cmis.claim_due_jobs(integer, uuid[], integer, integer)")
    run_as_engine(_claim() + constant_of("0015", "_GRANT"))
    run_as_engine(_record())
    run_as_engine(_REAP)


def downgrade() -> None:
    run_as_engine(_REAP_BACK)
    run_as_engine(_replace(constant_of("0011", "_RECORD")))
    run("DROP FUNCTION cmis.claim_due_jobs(integer, uuid[], integer, integer)")
    run_as_engine(_claim_before() + constant_of("0015", "_GRANT"))
    _watch()
    run(_COLUMNS_BACK)


# The time of an instance is what its definition says, unless its job says otherwise.
_COLUMNS = """
ALTER TABLE cmis.scheduled_jobs
  ALTER COLUMN timeout_seconds DROP NOT NULL,
  ADD CONSTRAINT scheduled_jobs_timeout_check CHECK (timeout_seconds IS NOT NULL OR target_type = 'workflow');
ALTER TABLE cmis.occurrences
  ADD COLUMN reason TEXT,
  ADD CONSTRAINT occurrences_reason_check CHECK (reason IS NULL OR outcome IS NOT NULL);
ALTER TABLE cmis.automation_events
  ADD COLUMN started INTEGER DEFAULT 0 NOT NULL,
  ADD COLUMN woken INTEGER DEFAULT 0 NOT NULL,
  ADD COLUMN instance_id UUID,
  ADD CONSTRAINT automation_events_org_id_instance_id_fkey FOREIGN KEY (org_id, instance_id)
    REFERENCES cmis.workflow_instances (org_id, instance_id);
CREATE INDEX automation_events_org_id_instance_id_idx ON cmis.automation_events (org_id, instance_id)
  WHERE instance_id IS NOT NULL;
"""
_COLUMNS_BACK = """
ALTER TABLE cmis.automation_events DROP COLUMN started, DROP COLUMN woken, DROP COLUMN instance_id;
ALTER TABLE cmis.occurrences DROP COLUMN reason;
UPDATE cmis.scheduled_jobs SET timeout_seconds = 300 WHERE timeout_seconds IS NULL;
ALTER TABLE cmis.scheduled_jobs DROP CONSTRAINT scheduled_jobs_timeout_check, ALTER COLUMN timeout_seconds SET NOT NULL;
"""


def _watch(*columns: str) -> None:
    """Make the triggers of the jobs' audit and of their revision anew, over these columns besides those of 0015."""
    further = ["campaign_id", *columns]
    audited, planned = constant_of("0015", "_audited")(), constant_of("0015", "_PLANNED")
    constant_of("0015", "_watch")([*audited, *further], [*planned, *further])


def _claim_before() -> str:
    before: str = constant_of("0019", "_claim")(constant_of("0019", "_COUNTED"))
    return before


def _claim() -> str:
    return (
        _claim_before()
        .replace("campaign_id uuid, entities bigint", "campaign_id uuid, template_id uuid, entities bigint")
        .replace("j.rule_id, j.campaign_id,", "j.rule_id, j.campaign_id, j.template_id,")
    )


def _replace(function: str) -> str:
    return function.replace("CREATE FUNCTION", "CREATE OR REPLACE FUNCTION")


# The instance of a run whose job starts another one may be waiting for days: it is told. A worker that is about to make it
# holds the task of the run, `after`: whoever reads the signal waits for that.
_CANCELS_BEFORE = """    UPDATE cmis.occurrences o SET cancel_requested = true FROM open"""
_CANCELS = """    , told AS (
      INSERT INTO cmis.tasks (org_id, task_id, kind, queue, payload, run_at, publish_at, created_at)
      SELECT open.org_id, cmis.uuid_v7(p_now), 'run_workflow', 'workflows',
             jsonb_build_object('items', jsonb_build_array(jsonb_build_object('instance_id', open.instance_id, 'signal',
               jsonb_build_object('kind', 'cancel', 'reason', 'another run of the job is due', 'after', open.task_id)))),
             p_now, p_now, p_now
        FROM open WHERE open.instance_id IS NOT NULL AND NOT open.cancel_requested)
    UPDATE cmis.occurrences o SET cancel_requested = true FROM open"""


def _record() -> str:
    """Return the function; runs have an execution or an instance."""
    before: str = constant_of("0011", "_RECORD")
    return _replace(
        before.replace("execution_id = r.execution_id,", "execution_id = r.execution_id, instance_id = r.instance_id,")
        .replace(
            "             execution_id uuid, task_id uuid)",
            "             execution_id uuid, instance_id uuid, task_id uuid)",
        )
        .replace(
            "SELECT o.org_id, o.job_id, o.scheduled_for FROM",
            "SELECT o.org_id, o.job_id, o.scheduled_for, o.instance_id, o.task_id, o.cancel_requested FROM",
        )
        .replace(_CANCELS_BEFORE, _CANCELS)
        .replace("execution_id, task_id, outcome,", "execution_id, instance_id, task_id, outcome,")
        .replace("o.execution_id, o.task_id, CASE", "o.execution_id, o.instance_id, o.task_id, CASE")
        .replace(
            "decision text, execution_id uuid, task_id uuid);",
            "decision text, execution_id uuid, instance_id uuid, task_id uuid);",
        )
    )


# A task that was to start instances, and whose attempts are used up by crashes, or that was cancelled, leaves runs that
# nobody will begin.
_REAP = """
CREATE FUNCTION cmis.abandon_starts(p_org_id uuid, p_task_id uuid) RETURNS void LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE v_now timestamptz := cmis.clock(); v_run record;
BEGIN
  FOR v_run IN
    SELECT (i #>> '{start,job_id}')::uuid AS job_id, i #>> '{start,origin}' AS origin,
           (i #>> '{start,scheduled_for}')::timestamptz AS scheduled_for,
           CASE t.state WHEN 'dead' THEN 'lost' ELSE 'cancelled' END AS outcome
      FROM cmis.tasks t CROSS JOIN jsonb_array_elements(t.payload -> 'items') i
     WHERE t.org_id = p_org_id AND t.task_id = p_task_id AND t.kind = 'run_workflow' AND t.state IN ('dead', 'cancelled')
       AND i ? 'start'
  LOOP
    UPDATE cmis.occurrences o SET outcome = v_run.outcome, finished_at = v_now
     WHERE o.org_id = p_org_id AND o.job_id = v_run.job_id AND o.origin = v_run.origin
       AND o.scheduled_for = v_run.scheduled_for AND o.outcome IS NULL AND NOT EXISTS (
         SELECT FROM cmis.workflow_instances w WHERE w.org_id = o.org_id AND w.instance_id = o.instance_id);
  END LOOP;
END $$;
REVOKE EXECUTE ON FUNCTION cmis.abandon_starts(uuid, uuid) FROM PUBLIC;

ALTER FUNCTION cmis.reap(integer) RENAME TO reap_tasks;
REVOKE EXECUTE ON FUNCTION cmis.reap_tasks(integer) FROM cmis_scheduler;
CREATE FUNCTION cmis.reap(p_limit integer) RETURNS TABLE (org_id uuid, task_id uuid, state text)
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
  FOR org_id, task_id, state IN SELECT r.org_id, r.task_id, r.state FROM cmis.reap_tasks(p_limit) r
  LOOP
    PERFORM cmis.abandon_starts(org_id, task_id);
    RETURN NEXT;
  END LOOP;
END $$;
REVOKE EXECUTE ON FUNCTION cmis.reap(integer) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION cmis.reap(integer) TO cmis_scheduler;
"""
_REAP_BACK = """
DROP FUNCTION cmis.reap(integer);
ALTER FUNCTION cmis.reap_tasks(integer) RENAME TO reap;
GRANT EXECUTE ON FUNCTION cmis.reap(integer) TO cmis_scheduler;
DROP FUNCTION cmis.abandon_starts(uuid, uuid);
"""
