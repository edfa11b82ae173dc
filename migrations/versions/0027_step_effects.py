"""Effects of workflows' steps: bounded as those of rules are, and a step is told when its delivery has ended."""

from migrations.ddl import constant_of, run_as_engine
from migrations.guard import guard_campaigns

revision = "0027"
down_revision = "0026"
branch_labels = None
depends_on = None


def upgrade() -> None:
    run_as_engine(_guard("execution_id", "instance_id"))
    run_as_engine(_doubt(_WAKE))


def downgrade() -> None:
    run_as_engine(_doubt(""))
    run_as_engine(_guard("execution_id"))


def _guard(*runs: str) -> str:
    """Return the function; the campaigns of an instance count together, as those of an execution do."""
    return _replaced(guard_campaigns(constant_of("0014", "_CONFIGURATION"), runs))


def _doubt(further: str) -> str:
    before: str = constant_of("0019", "_DOUBT")
    discarded = "    RETURNING a.execution_id)\n"
    all_of_it = "    RETURNING a.*)"
    if discarded not in before:
        message = "cmis.doubt_delivery is not what it was in revision 0019"
        raise RuntimeError(message)
    return _replaced(before.replace(discarded, f"{all_of_it}{further}\n") if further else before)


def _replaced(function: str) -> str:
    return function.replace("CREATE FUNCTION", "CREATE OR REPLACE FUNCTION")


# What is given up with its task is on record as any other end of a delivery is, and its step is told as
# engine.store.instances.wake does it: whoever works on that task looks whether the step still waits for it.
_WAKE = """,
  told AS (
    INSERT INTO cmis.automation_audit_log (org_id, created_at, audit_id, action, user_id, entity_type, entity_id, rule_id,
           execution_id, action_id, details)
    SELECT p_org_id, v_now, cmis.uuid_v7(v_now), 'action_discarded', '00000000-0000-0000-0000-000000000001', l.entity_type,
           l.entity_id, l.rule_id, l.execution_id, l.action_id,
           jsonb_strip_nulls(jsonb_build_object('type', l.type, 'channel', l.channel, 'attempts', l.attempts,
             'reason', v_task.error -> 'message', 'instance_id', l.instance_id, 'step_id', l.step_id))
      FROM left_over l),
  woken AS (
    INSERT INTO cmis.tasks (org_id, task_id, kind, queue, payload, run_at, publish_at, created_at)
    SELECT p_org_id, cmis.uuid_v7(v_now), 'run_workflow', 'workflows',
           jsonb_build_object('items', jsonb_build_array(jsonb_build_object('instance_id', l.instance_id, 'step_id', l.step_id,
             'signal', jsonb_build_object('kind', 'effect', 'action_id', l.action_id)))), v_now, v_now, v_now
      FROM left_over l WHERE l.instance_id IS NOT NULL AND l.channel <> 'connector')"""
