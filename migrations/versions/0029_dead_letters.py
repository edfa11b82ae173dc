"""Dead letters: tasks that failed for good stay until somebody has dealt with them, and it is on record who did, and how."""

from migrations.ddl import constant_of, run, run_as_engine

revision = "0029"
down_revision = "0028"
branch_labels = None
depends_on = None


def upgrade() -> None:
    run(_COLUMNS)
    run(constant_of("0013", "_audit_actions")(_audited_now()))
    run_as_engine(_PURGE)


def downgrade() -> None:
    run_as_engine(_replace(_purge_before()))
    run(constant_of("0013", "_audit_actions")(constant_of("0024", "_audited_now")()))
    run(_COLUMNS_BACK)


# Lists read one state of one org in the order of ids, which is that of time. The dead letters that nobody has dealt with are
# few, and have indexes of their own: by org for people, by age for who deletes them.
_COLUMNS = """
ALTER TABLE cmis.tasks
  ADD COLUMN handled_at TIMESTAMP WITH TIME ZONE,
  ADD COLUMN handled_by UUID,
  ADD COLUMN handled_as TEXT,
  ADD COLUMN handled_note TEXT,
  ADD COLUMN retry_of UUID,
  ADD CONSTRAINT tasks_handled_as_check CHECK (handled_as IN ('retried', 'discarded', 'resolved')),
  ADD CONSTRAINT tasks_handled_check CHECK ((handled_at IS NULL) = (handled_as IS NULL) AND (handled_at IS NULL) = (handled_by IS NULL) AND (handled_note IS NULL OR handled_at IS NOT NULL)),
  ADD CONSTRAINT tasks_handled_at_check CHECK (handled_at IS NULL OR state IN ('failed', 'dead'));
DROP INDEX cmis.tasks_org_id_state_idx;
CREATE INDEX tasks_org_id_state_task_id_idx ON cmis.tasks (org_id, state, task_id);
DROP INDEX cmis.tasks_final;
CREATE INDEX tasks_final ON cmis.tasks (finished_at) WHERE finished_at IS NOT NULL AND (state NOT IN ('failed', 'dead') OR handled_at IS NOT NULL);
CREATE INDEX tasks_unhandled ON cmis.tasks (finished_at) WHERE state IN ('failed', 'dead') AND handled_at IS NULL;
CREATE INDEX tasks_dead_letters ON cmis.tasks (org_id, task_id) WHERE state IN ('failed', 'dead') AND handled_at IS NULL;
CREATE INDEX tasks_org_id_retry_of_idx ON cmis.tasks (org_id, retry_of) WHERE retry_of IS NOT NULL;
"""
_COLUMNS_BACK = """
DROP INDEX cmis.tasks_org_id_state_task_id_idx, cmis.tasks_final, cmis.tasks_unhandled, cmis.tasks_dead_letters;
ALTER TABLE cmis.tasks
  DROP COLUMN handled_at, DROP COLUMN handled_by, DROP COLUMN handled_as, DROP COLUMN handled_note, DROP COLUMN retry_of;
CREATE INDEX tasks_org_id_state_idx ON cmis.tasks (org_id, state);
CREATE INDEX tasks_final ON cmis.tasks (finished_at) WHERE finished_at IS NOT NULL;
"""


def _audited_now() -> list[str]:
    before: list[str] = constant_of("0024", "_audited_now")()
    place = before.index("task_failed") + 1
    return [*before[:place], "task_retried", "task_discarded", *before[place:]]


def _replace(function: str) -> str:
    return function.replace("CREATE FUNCTION", "CREATE OR REPLACE FUNCTION")


def _purge_before() -> str:
    maintenance: str = constant_of("0008", "_MAINTENANCE")
    return maintenance[maintenance.index("CREATE FUNCTION cmis.purge_tasks") :]


# A week for what has ended well, or was dealt with; thirty days for what nobody has looked after yet.
_PURGE = """
CREATE OR REPLACE FUNCTION cmis.purge_tasks(p_limit integer) RETURNS integer LANGUAGE plpgsql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE v_now timestamptz := cmis.clock(); v_purged integer; v_forgotten integer;
BEGIN
  WITH old AS MATERIALIZED (
    SELECT t.org_id, t.task_id FROM cmis.tasks t
     WHERE t.finished_at < v_now - interval '7 days' AND t.finished_at IS NOT NULL
       AND (t.state NOT IN ('failed', 'dead') OR t.handled_at IS NOT NULL)
     ORDER BY t.finished_at LIMIT p_limit FOR UPDATE SKIP LOCKED)
  DELETE FROM cmis.tasks t USING old WHERE t.org_id = old.org_id AND t.task_id = old.task_id;
  GET DIAGNOSTICS v_purged = ROW_COUNT;
  WITH old AS MATERIALIZED (
    SELECT t.org_id, t.task_id FROM cmis.tasks t
     WHERE t.finished_at < v_now - interval '30 days' AND t.state IN ('failed', 'dead') AND t.handled_at IS NULL
     ORDER BY t.finished_at LIMIT p_limit - v_purged FOR UPDATE SKIP LOCKED)
  DELETE FROM cmis.tasks t USING old WHERE t.org_id = old.org_id AND t.task_id = old.task_id;
  GET DIAGNOSTICS v_forgotten = ROW_COUNT;
  RETURN v_purged + v_forgotten;
END $$;
"""
