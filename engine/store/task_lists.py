"""Tasks as people look at them: pages of a list, the attempts of one, and all that says why one is not done yet.

Pages go backwards through the ids of tasks, whose order is that of time. Each state is read by its own index.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Final

from sqlalchemy import bindparam, text
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.types import Text

from core.ids import uuid7_floor, uuid7_time
from models.enums import TaskState

if TYPE_CHECKING:
    from collections.abc import Sequence
    from uuid import UUID

    from sqlalchemy import Connection, Row, TextClause

DEAD_LETTERS: Final = (TaskState.FAILED, TaskState.DEAD)
_FIRST: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND: Final = timedelta(milliseconds=1)
_COLUMNS: Final = """t.task_id, t.kind, t.queue, t.state, t.run_at, t.publish_at, t.published_at, t.delivery, t.priority, t.attempt,
       t.max_attempts, t.fence, t.lease_owner, t.lease_expires_at, t.cancel_requested, t.created_at, t.finished_at, t.error,
       t.handled_at, t.handled_by, t.handled_as, t.handled_note, t.retry_of"""

# A text of a payload is read as an id only where it is one: a forged row must not end a statement about others.
_IS_ID: Final = "~* '^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$'"
_FIRST_EFFECT: Final = f"""CASE WHEN t.payload #>> '{{action_ids,0}}' {_IS_ID}
                          THEN (t.payload #>> '{{action_ids,0}}')::uuid END"""
_INSTANCE: Final = f"CASE WHEN i ->> 'instance_id' {_IS_ID} THEN (i ->> 'instance_id')::uuid END"
_EXECUTION: Final = f"""CASE WHEN t.payload #>> '{{groups,0,items,0,execution_id}}' {_IS_ID}
                       THEN (t.payload #>> '{{groups,0,items,0,execution_id}}')::uuid END"""
_POSITION: Final = (
    "CASE jsonb_typeof(t.payload -> 'position') WHEN 'number' THEN (t.payload ->> 'position')::numeric END"
)
_ITEMS: Final = (
    "jsonb_array_elements(CASE jsonb_typeof(t.payload -> 'items') WHEN 'array' THEN t.payload -> 'items' END)"
)
# A delivery names its effects, and these say whose they are; all that goes out as one message is of one rule, or one run. A
# filter that is not given is NULL, and no part of the plan, which is made for each page anew.
_FILTERS: Final = f"""(CAST(:kinds AS text[]) IS NULL OR t.kind = ANY (CAST(:kinds AS text[])))
   AND (CAST(:queue AS text) IS NULL OR t.queue = :queue)
   AND (CAST(:code AS text) IS NULL OR t.error ->> 'code' = :code)
   AND (CAST(:rule_id AS uuid) IS NULL OR t.payload @> CAST(:of_rule AS jsonb) OR EXISTS (
     SELECT FROM cmis.automation_actions a WHERE a.org_id = t.org_id
        AND a.action_id = {_FIRST_EFFECT} AND a.rule_id = :rule_id))
   AND (CAST(:instance_id AS uuid) IS NULL OR t.payload @> CAST(:of_instance AS jsonb) OR EXISTS (
     SELECT FROM cmis.automation_actions a WHERE a.org_id = t.org_id
        AND a.action_id = {_FIRST_EFFECT} AND a.instance_id = :instance_id))
   AND (CAST(:job_id AS uuid) IS NULL OR t.payload @> CAST(:of_job AS jsonb) OR t.payload @> CAST(:of_start AS jsonb))"""
_KINDS: Final = bindparam("kinds", type_=ARRAY(Text()))
_STATES: Final = bindparam("states", type_=ARRAY(Text()))
_DEAD_PAGE: Final = f"""
SELECT {_COLUMNS} FROM cmis.tasks t
 WHERE t.org_id = :org_id AND t.state IN ('failed', 'dead') AND t.handled_at IS NULL AND t.task_id >= :low AND t.task_id < :high
   AND (CAST(:states AS text[]) IS NULL OR t.state = ANY (CAST(:states AS text[])))
   AND {_FILTERS}
 ORDER BY t.task_id DESC LIMIT :limit
"""
_STATES_PAGE: Final = f"""
SELECT {_COLUMNS} FROM unnest(:states) AS wanted(state) CROSS JOIN LATERAL (
  SELECT * FROM cmis.tasks t
   WHERE t.org_id = :org_id AND t.state = wanted.state AND t.task_id >= :low AND t.task_id < :high
   AND (t.handled_at IS NULL OR NOT :unhandled)
   AND {_FILTERS}
   ORDER BY t.task_id DESC LIMIT :limit) t
 ORDER BY t.task_id DESC LIMIT :limit
"""
_DEAD: Final = text(_DEAD_PAGE).bindparams(_KINDS, _STATES)
_IN_STATES: Final = text(_STATES_PAGE).bindparams(_KINDS, _STATES)
_COUNT_DEAD: Final = text(f"SELECT count(*) FROM ({_DEAD_PAGE}) counted").bindparams(_KINDS, _STATES)
_COUNT_IN_STATES: Final = text(f"SELECT count(*) FROM ({_STATES_PAGE}) counted").bindparams(_KINDS, _STATES)
_GET: Final = text("SELECT * FROM cmis.tasks WHERE org_id = :org_id AND task_id = :task_id")
# An attempt's id is made when it begins, which is after its task was made.
_ATTEMPTS: Final = text("""
SELECT fence, attempt, worker, started_at, finished_at, outcome,
       CASE WHEN :shared AND error IS NOT NULL THEN jsonb_build_object('code', error -> 'code') ELSE error END AS error
  FROM cmis.task_attempts
 WHERE org_id = :org_id AND task_id = :task_id AND attempt_id >= :low ORDER BY fence
""")
_RETRIED_AS: Final = text("""
SELECT task_id FROM cmis.tasks WHERE org_id = :org_id AND retry_of = :task_id ORDER BY task_id DESC LIMIT 1
""")
# What a rule's actions wait for are those before them in its list, made in the same millisecond; a task of workflows, the
# instances that it is about and the steps that are given to it, or that it has something to tell; a delivery, what its first
# effect says. The lease is on the true clock.
_FACTS: Final = text(f"""
SELECT t.*, cmis.clock() AS now, extract(epoch FROM t.lease_expires_at - clock_timestamp())::float8 AS lease_left,
  (SELECT jsonb_build_object('task_id', p.task_id, 'state', p.state) FROM cmis.automation_actions a
     JOIN cmis.tasks p ON p.org_id = a.org_id AND p.task_id = a.task_id
    WHERE t.kind = 'apply_actions' AND t.state = 'held' AND a.org_id = t.org_id AND a.status = 'queued' AND a.channel IS NULL
      AND a.execution_id = {_EXECUTION}
      AND a.position < {_POSITION}
      AND a.action_id >= :low AND a.action_id < :high
    ORDER BY a.position LIMIT 1) AS before,
  (SELECT jsonb_agg(DISTINCT jsonb_build_object('instance_id', w.instance_id, 'status', w.status, 'note', w.pause_note))
     FROM {_ITEMS} i
     JOIN cmis.workflow_instances w ON w.org_id = t.org_id AND w.instance_id = {_INSTANCE}
    WHERE t.kind = 'run_workflow') AS instances,
  (SELECT jsonb_agg(jsonb_build_object('instance_id', s.instance_id, 'step_id', s.step_id, 'status', s.status,
                                       'waits_for', s.waits_for, 'event_type', s.event_type) ORDER BY s.position)
     FROM (SELECT DISTINCT {_INSTANCE} AS instance_id FROM {_ITEMS} i) i
     JOIN cmis.workflow_steps s ON s.org_id = t.org_id AND s.instance_id = i.instance_id AND s.task_id = t.task_id
    WHERE t.kind = 'run_workflow' AND s.status IN ('queued', 'running', 'waiting', 'retrying')) AS steps,
  (SELECT jsonb_build_object('status', a.status, 'waits_for', a.waits_for) FROM cmis.automation_actions a
    WHERE t.kind = 'deliver' AND a.org_id = t.org_id AND a.action_id = {_FIRST_EFFECT}) AS effect,
  (SELECT n.task_id FROM cmis.tasks n WHERE n.org_id = t.org_id AND n.retry_of = t.task_id
    ORDER BY n.task_id DESC LIMIT 1) AS retried_as
  FROM cmis.tasks t WHERE t.org_id = :org_id AND t.task_id = :task_id
""")


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which tasks are meant: all that is given must hold. No state = the dead letters that nobody has dealt with."""

    states: Sequence[TaskState] = ()
    kinds: Sequence[str] = ()
    queue: str | None = None
    code: str | None = None
    rule_id: UUID | None = None
    instance_id: UUID | None = None
    job_id: UUID | None = None
    since: datetime | None = None
    """Made at this time or later."""
    until: datetime | None = None
    """Made before this time."""
    unhandled: bool = False
    """Without those that somebody has dealt with, whatever states are asked for."""

    @property
    def are_dead_letters(self) -> bool:
        """Whether no others are meant than dead letters that nobody has dealt with."""
        return not self.states or (self.unhandled and set(self.states) <= set(DEAD_LETTERS))


def page(
    connection: Connection, org_id: UUID, wanted: Wanted, *, limit: int, after: UUID | None = None
) -> Sequence[Row[Any]]:
    """Return up to `limit` tasks, newest first; with `after`, the last one of the page before, those that follow it."""
    query, values = statement(org_id, wanted, limit=limit, after=after)
    return connection.execute(query, values).all()


def count(connection: Connection, org_id: UUID, wanted: Wanted, *, most: int) -> int:
    """Return how many tasks are meant, counted up to `most`."""
    _, values = statement(org_id, wanted, limit=most)
    query = _COUNT_DEAD if wanted.are_dead_letters else _COUNT_IN_STATES
    found: int = connection.execute(query, values).scalar_one()
    return found


def statement(
    org_id: UUID, wanted: Wanted, *, limit: int, after: UUID | None = None
) -> tuple[TextClause, dict[str, Any]]:
    """Return the statement of a page and its values: how it is planned is tested."""
    values: dict[str, Any] = {
        "org_id": org_id,
        "kinds": [str(kind) for kind in wanted.kinds] or None,
        "queue": wanted.queue,
        "code": wanted.code,
        "rule_id": wanted.rule_id,
        "instance_id": wanted.instance_id,
        "job_id": wanted.job_id,
        "states": [state.value for state in wanted.states] or None,
        "limit": limit,
        **_documents(wanted),
        **_bounds(wanted, after),
    }
    return (_DEAD, values) if wanted.are_dead_letters else (_IN_STATES, values | {"unhandled": wanted.unhandled})


def get(connection: Connection, org_id: UUID, task_id: UUID) -> Row[Any] | None:
    """Return one task."""
    return connection.execute(_GET, {"org_id": org_id, "task_id": task_id}).one_or_none()


def attempts(connection: Connection, org_id: UUID, task_id: UUID, *, shared: bool = False) -> Sequence[Row[Any]]:
    """Return the attempts of a task in order; of a `shared` one only the codes of errors, which may tell of any org."""
    key = {"org_id": org_id, "task_id": task_id, "low": uuid7_floor(_made(task_id)), "shared": shared}
    return connection.execute(_ATTEMPTS, key).all()


def retried_as(connection: Connection, org_id: UUID, task_id: UUID) -> UUID | None:
    """Return the task that does the work of this one again."""
    found: UUID | None = connection.execute(_RETRIED_AS, {"org_id": org_id, "task_id": task_id}).scalar_one_or_none()
    return found


def facts(connection: Connection, org_id: UUID, task_id: UUID) -> Row[Any] | None:
    """Return a task with all that says why it is not done yet."""
    made = _made(task_id)
    bounds = {"low": uuid7_floor(made), "high": uuid7_floor(made + _MILLISECOND)}
    return connection.execute(_FACTS, {"org_id": org_id, "task_id": task_id} | bounds).one_or_none()


def _made(task_id: UUID) -> datetime:
    """Return when a task was made; an id that nobody of ours gave may be of no time, and is taken for the first."""
    try:
        return uuid7_time(task_id)
    except OverflowError:
        return _FIRST


def _bounds(wanted: Wanted, after: UUID | None) -> dict[str, Any]:
    """Return the ids between which the page lies."""
    low = _floor(wanted.since, "00000000-0000-0000-0000-000000000000")
    high = _floor(wanted.until, "ffffffff-ffff-ffff-ffff-ffffffffffff")
    return {"low": low, "high": high if after is None else min(high, str(after))}


def _floor(moment: datetime | None, otherwise: str) -> str:
    return otherwise if moment is None else str(uuid7_floor(moment))


def _documents(wanted: Wanted) -> dict[str, str]:
    """Return what the payload of a task contains that is about a rule, an instance or a job."""
    rule, job = {"rule_id": str(wanted.rule_id)}, {"job_id": str(wanted.job_id)}
    return {
        "of_rule": json.dumps({"groups": [{"items": [rule]}]}),
        "of_instance": json.dumps({"items": [{"instance_id": str(wanted.instance_id)}]}),
        "of_job": json.dumps({"groups": [{"items": [job]}]}),
        "of_start": json.dumps({"items": [{"start": job}]}),
    }
