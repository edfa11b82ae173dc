"""C11: the clocks of a worker, a deliverer and a scheduler are an hour off; only the database's counts."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Final

from chaos.scenario import Scenario
from chaos.turns import in_turn

if TYPE_CHECKING:
    from collections.abc import Iterator

    from chaos.arena import Arena
    from chaos.crew import Place

SHIFTS: Final = {"worker1": 3600, "deliveries1": 3600, "scheduler1": -3600}
"""Seconds."""
NEAR: Final = timedelta(minutes=10)
"""What a run takes at most, and a good deal less than the shift."""
_KINDS: Final = ("worker", "scheduler")
_LATEST: Final = timedelta(minutes=2)
"""How late a planned time may begin on a machine that is busy."""
_PAUSE: Final = 5.0
_BACK_SECONDS: Final = 30.0
"""Within which a process that was killed is ready again, also on a machine that is busy."""
_TIMES: Final = """
SELECT what, min(at) AS least, max(at) AS most FROM (
  SELECT 'task.created_at' AS what, created_at AS at FROM cmis.tasks
  UNION ALL SELECT 'task.run_at', run_at FROM cmis.tasks WHERE kind <> 'maintain'
  UNION ALL SELECT 'task.finished_at', finished_at FROM cmis.tasks
  UNION ALL SELECT 'attempt.started_at', started_at FROM cmis.task_attempts
  UNION ALL SELECT 'attempt.finished_at', finished_at FROM cmis.task_attempts
  UNION ALL SELECT 'attempt_id', uuid_extract_timestamp(attempt_id) FROM cmis.task_attempts
  UNION ALL SELECT 'occurrence.decided_at', decided_at FROM cmis.occurrences
  UNION ALL SELECT 'occurrence.finished_at', finished_at FROM cmis.occurrences
  UNION ALL SELECT 'execution.started_at', started_at FROM cmis.automation_executions
  UNION ALL SELECT 'execution.finished_at', finished_at FROM cmis.automation_executions
  UNION ALL SELECT 'execution_id', uuid_extract_timestamp(execution_id) FROM cmis.automation_executions
  UNION ALL SELECT 'action.created_at', created_at FROM cmis.automation_actions
  UNION ALL SELECT 'action.finished_at', finished_at FROM cmis.automation_actions
  UNION ALL SELECT 'audit.created_at', created_at FROM cmis.automation_audit_log
  UNION ALL SELECT 'audit_id', uuid_extract_timestamp(audit_id) FROM cmis.automation_audit_log
  UNION ALL SELECT 'instance.finished_at', finished_at FROM cmis.workflow_instances
  UNION ALL SELECT 'step.started_at', started_at FROM cmis.workflow_steps
  UNION ALL SELECT 'step.finished_at', finished_at FROM cmis.workflow_steps
  UNION ALL SELECT 'step.wake_at', wake_at FROM cmis.workflow_steps) every_time GROUP BY what"""
_OFF_PLAN: Final = """
SELECT o.job_id, o.scheduled_for, o.decided_at FROM cmis.occurrences o
 WHERE o.origin = 'schedule' AND (o.decided_at < o.scheduled_for OR o.decided_at > o.scheduled_for + :latest)"""


def go_wrong(arena: Arena) -> None:
    """Let the clocks be wrong; kill a process that is right now and then, so that the wrong ones must do its work."""
    for name, shift in SHIFTS.items():
        arena.faults.note(f"clock of {name} off by {shift:+} s")
    for kind in in_turn(arena, _KINDS):
        arena.wait(_PAUSE)
        arena.wait_until(lambda kind=kind: bool(_right(arena, kind)), _BACK_SECONDS)
        for place in _right(arena, kind)[:1]:
            arena.faults.note(f"{kind} with the right clock killed", place.kill())


def _right(arena: Arena, kind: str) -> list[Place]:
    return [one for one in arena.crew.at_work(kind) if one.name not in SHIFTS]


def same_ledger(arena: Arena) -> Iterator[str]:
    """No time in any row is another clock's, nothing was decided early or late, and the clocks were wrong indeed."""
    now = datetime.now(UTC)
    for row in arena.rows(_TIMES):
        if row.least is not None and (row.least < now - NEAR or row.most > now + NEAR):
            yield f"{row.what} is off: from {row.least} to {row.most}, and it is {now}"
    for row in arena.rows(_OFF_PLAN, latest=_LATEST):
        yield f"job {row.job_id}: {row.scheduled_for} was decided at {row.decided_at}"
    for request in arena.receiver.log:
        said = request.headers.get("webhook-timestamp")
        if said is not None and abs(int(said) - now.timestamp()) > NEAR.total_seconds():
            yield f"a webhook says that it was sent at {datetime.fromtimestamp(int(said), UTC)}"
    for name, shift in SHIFTS.items():
        if not arena.crew.said(f"clock shifted by {shift} s", f"{name}."):
            yield f"the clock of {name} was not moved"


SCENARIO: Final = Scenario(
    "C11",
    "clocks of processes an hour off",
    25,
    go_wrong,
    own_env={name: {"CHAOS_CLOCK_SHIFT": str(shift)} for name, shift in SHIFTS.items()},
    check=same_ledger,
    survives=True,
)
