"""Steps of workflows whose tasks kill their workers fail; what such a task was to tell is not lost silently."""

from migrations.ddl import constant_of, run, run_as_engine

revision = "0025"
down_revision = "0024"
branch_labels = None
depends_on = None


def upgrade() -> None:
    run_as_engine(_ABANDON)
    run_as_engine(constant_of("0019", "_reap")(f"{_DOUBT}    PERFORM cmis.abandon_steps(org_id, task_id);\n"))


def downgrade() -> None:
    run_as_engine(constant_of("0019", "_reap")(_DOUBT))
    run("DROP FUNCTION cmis.abandon_steps(uuid, uuid), cmis.tell_step(uuid, uuid, timestamptz, jsonb)")


_DOUBT = "    PERFORM cmis.doubt_delivery(org_id, task_id);\n"

# What follows from a failure a worker decides, and nobody else: a task with fresh attempts tells it of the loss. Whoever wrote
# the steps of the dead task is gone, so that they are given away without the lock on their instance: a step that is over, or
# that was taken out of the task's hands meanwhile, is not met. What nobody could tell a waiting step fails it, too. What
# concerns an instance as a whole runs nobody's code: it is tried again a little later.
_ABANDON = """
CREATE FUNCTION cmis.abandon_steps(p_org_id uuid, p_task_id uuid) RETURNS void LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE v_now timestamptz := cmis.clock(); v_item record; v_step text; v_given uuid; v_told boolean;
BEGIN
  FOR v_item IN
    SELECT i.document, w.instance_id, i.document ->> 'step_id' AS step_id, i.document -> 'signal' AS signal, t.error
      FROM cmis.tasks t CROSS JOIN jsonb_array_elements(t.payload -> 'items') AS i(document)
      JOIN cmis.workflow_instances w ON w.org_id = t.org_id AND w.instance_id = (i.document ->> 'instance_id')::uuid
       AND w.status IN ('pending', 'running', 'paused')
     WHERE t.org_id = p_org_id AND t.task_id = p_task_id AND t.kind = 'run_workflow' AND t.state = 'dead'
  LOOP
    v_told := false;
    FOR v_step IN
      SELECT s.step_id FROM cmis.workflow_steps s
       WHERE s.org_id = p_org_id AND s.instance_id = v_item.instance_id AND s.task_id = p_task_id
         AND s.status IN ('queued', 'running', 'waiting', 'retrying') ORDER BY s.position
    LOOP
      v_given := cmis.uuid_v7(v_now);
      UPDATE cmis.workflow_steps s SET task_id = v_given
       WHERE s.org_id = p_org_id AND s.instance_id = v_item.instance_id AND s.step_id = v_step
         AND s.task_id = p_task_id AND s.status IN ('queued', 'running', 'waiting', 'retrying');
      IF FOUND THEN
        v_told := true;
        PERFORM cmis.tell_step(p_org_id, v_given, v_now, jsonb_build_object('instance_id', v_item.instance_id, 'step_id', v_step,
          'signal', jsonb_build_object('kind', 'lost', 'error', v_item.error)));
      END IF;
    END LOOP;
    IF v_told THEN
      CONTINUE;
    ELSIF v_item.signal ->> 'kind' IN ('effect', 'event', 'instance') THEN
      PERFORM cmis.tell_step(p_org_id, cmis.uuid_v7(v_now), v_now, jsonb_build_object('instance_id', v_item.instance_id,
        'step_id', v_item.step_id, 'signal', jsonb_build_object('kind', 'lost', 'error', v_item.error, 'of', v_item.signal)));
    ELSIF v_item.step_id IS NULL THEN
      PERFORM cmis.tell_step(p_org_id, cmis.uuid_v7(v_now), v_now + interval '5 min', v_item.document - 'start');
    END IF;
  END LOOP;
END $$;

CREATE FUNCTION cmis.tell_step(p_org_id uuid, p_task_id uuid, p_run_at timestamptz, p_item jsonb) RETURNS void
LANGUAGE sql VOLATILE SET search_path = pg_catalog, pg_temp
AS $$
  INSERT INTO cmis.tasks (org_id, task_id, kind, queue, payload, run_at, publish_at, created_at)
  VALUES (p_org_id, p_task_id, 'run_workflow', 'workflows', jsonb_build_object('items', jsonb_build_array(p_item)), p_run_at,
          p_run_at, cmis.clock())
$$;
REVOKE EXECUTE ON FUNCTION cmis.abandon_steps(uuid, uuid), cmis.tell_step(uuid, uuid, timestamptz, jsonb) FROM PUBLIC;
"""
