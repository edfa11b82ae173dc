"""Deliveries beside the rest: an execution waits for them, its run and its org's share of the queue do not."""

from migrations.ddl import constant_of, run, run_as_engine

revision = "0019"
down_revision = "0018"
branch_labels = None
depends_on = None


def upgrade() -> None:
    run(_indexes(_COUNTED))
    run_as_engine(_unfinished(_COUNTED))
    run_as_engine(_claim(_COUNTED))
    run_as_engine(_settle(" AND a.channel IS NULL"))
    run_as_engine(_DOUBT)
    run_as_engine(_reap("    PERFORM cmis.doubt_delivery(org_id, task_id);\n"))


def downgrade() -> None:
    run_as_engine(_reap(""))
    run("DROP FUNCTION cmis.doubt_delivery(uuid, uuid)")
    run_as_engine(_settle(""))
    run_as_engine(_claim(_ALL))
    run_as_engine(_unfinished(_ALL))
    run(_indexes(_ALL))


# A receiver that is down must not keep an org's rules from running, nor anybody's: what waits for it is no work in progress.
_ALL = "state IN ('ready', 'running')"
_COUNTED = f"{_ALL} AND kind <> 'deliver'"


def _indexes(predicate: str) -> str:
    return f"""
        DROP INDEX cmis.tasks_unfinished, cmis.tasks_unfinished_by_org;
        CREATE INDEX tasks_unfinished ON cmis.tasks (run_at) WHERE {predicate};
        CREATE INDEX tasks_unfinished_by_org ON cmis.tasks (org_id, run_at) WHERE {predicate};
    """


def _of_tasks(predicate: str) -> str:
    return predicate.replace("state", "t.state").replace("kind", "t.kind")


def _unfinished(predicate: str) -> str:
    before: str = constant_of("0011", "_FAIRNESS")
    function = before[: before.index("CREATE FUNCTION cmis.due_orgs")]
    return function.replace("CREATE FUNCTION", "CREATE OR REPLACE FUNCTION").replace(
        _of_tasks(_ALL), _of_tasks(predicate)
    )


def _claim(predicate: str) -> str:
    before: str = constant_of("0015", "_CLAIM")
    return before.replace("CREATE FUNCTION", "CREATE OR REPLACE FUNCTION").replace(
        _of_tasks(_ALL), _of_tasks(predicate)
    )


def _settle(further: str) -> str:
    """Return the function; a queued delivery keeps its execution open, and is no action that waits for another."""
    before: str = constant_of("0017", "_SETTLE")
    function = before[: before.index("REVOKE EXECUTE")].replace("CREATE FUNCTION", "CREATE OR REPLACE FUNCTION")
    return function.replace(
        "FILTER (WHERE a.status = 'queued'))[1]", f"FILTER (WHERE a.status = 'queued'{further}))[1]"
    )


# Nobody knows whether a delivery arrived whose worker died: the next claim resolves it, or a person does where no attempt is
# left. What no worker had begun is given up with its task.
_DOUBT = """
CREATE FUNCTION cmis.doubt_delivery(p_org_id uuid, p_task_id uuid) RETURNS void LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE v_now timestamptz := cmis.clock(); v_task record; v_ids uuid[]; v_left uuid[]; v_execution uuid;
BEGIN
  SELECT t.state, t.error, t.payload INTO v_task FROM cmis.tasks t
   WHERE t.org_id = p_org_id AND t.task_id = p_task_id AND t.kind = 'deliver';
  IF NOT FOUND THEN
    RETURN;
  END IF;
  SELECT array_agg(i::uuid ORDER BY i::uuid) INTO v_ids FROM jsonb_array_elements_text(v_task.payload -> 'action_ids') i;
  WITH doubted AS (
    UPDATE cmis.automation_actions a SET status = 'unknown', error = v_task.error
     WHERE a.org_id = p_org_id AND a.action_id = ANY (v_ids) AND a.task_id = p_task_id AND a.status = 'running'
       AND a.action_id BETWEEN v_ids[1] AND v_ids[cardinality(v_ids)]
    RETURNING a.action_id, a.entity_type, a.entity_id, a.rule_id, a.execution_id, a.type, a.channel, a.attempts)
  INSERT INTO cmis.automation_audit_log (org_id, created_at, audit_id, action, user_id, entity_type, entity_id, rule_id,
         execution_id, action_id, details)
  SELECT p_org_id, v_now, cmis.uuid_v7(v_now), 'action_unknown', '00000000-0000-0000-0000-000000000001', d.entity_type, d.entity_id,
         d.rule_id, d.execution_id, d.action_id,
         jsonb_build_object('type', d.type, 'channel', d.channel, 'attempts', d.attempts, 'reason', v_task.error -> 'message')
    FROM doubted d;
  IF v_task.state = 'ready' THEN
    RETURN;
  END IF;
  WITH left_over AS (
    UPDATE cmis.automation_actions a
       SET status = 'discarded', error = v_task.error, waits_for = NULL, next_attempt_at = NULL, finished_at = v_now
     WHERE a.org_id = p_org_id AND a.action_id = ANY (v_ids) AND a.task_id = p_task_id AND a.status = 'queued'
       AND a.action_id BETWEEN v_ids[1] AND v_ids[cardinality(v_ids)]
    RETURNING a.execution_id)
  SELECT array_agg(DISTINCT l.execution_id ORDER BY l.execution_id) INTO v_left FROM left_over l WHERE l.execution_id IS NOT NULL;
  FOREACH v_execution IN ARRAY coalesce(v_left, '{}') LOOP
    PERFORM cmis.settle_execution(p_org_id, v_execution, v_now);
  END LOOP;
END $$;
REVOKE EXECUTE ON FUNCTION cmis.doubt_delivery(uuid, uuid) FROM PUBLIC;
"""


def _reap(further: str) -> str:
    whole: str = constant_of("0017", "_REAP")
    start = whole.index("CREATE FUNCTION cmis.reap(")
    function = whole[start : whole.index("REVOKE EXECUTE ON FUNCTION cmis.reap(integer) FROM PUBLIC")]
    called = "    PERFORM cmis.abandon_actions(org_id, task_id);\n"
    return function.replace("CREATE FUNCTION", "CREATE OR REPLACE FUNCTION").replace(called, called + further)
