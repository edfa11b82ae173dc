"""Start instances of workflows, in the transaction of whatever starts them: with it they are there, or not at all."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final
from uuid import UUID

from core import driver
from core.errors import ConflictError, InputError
from core.ids import uuid7
from engine import published
from engine.store import instances, tasks, versions
from models.workflow_enums import TemplateStatus

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from datetime import datetime

    from sqlalchemy import Connection

    from engine.workflows.definition import Definition
    from models.workflow_enums import InstanceTrigger

TOGETHER: Final = 25
"""Instances that one task carries, at most: they share its commits."""
MAX_CONTEXT: Final = 256 * 1024
"""Bytes of a context, as JSON."""
_SOON: Final = timedelta(seconds=15)
"""When the first message of a task is taken for lost that the process itself sends after its commit."""


@dataclass(frozen=True, slots=True)
class Start:
    """An instance that is to be started."""

    template_id: UUID
    context: Mapping[str, Any]
    trigger: InstanceTrigger
    version: int | None = None
    """None = the one that was published last."""
    instance_id: UUID | None = None
    """Made beforehand; None = it gets one now."""
    triggered_by: UUID | None = None
    event_id: UUID | None = None
    job_id: UUID | None = None
    origin: str | None = None
    scheduled_for: datetime | None = None
    action_id: UUID | None = None
    parent_instance_id: UUID | None = None
    parent_step_id: str | None = None
    forked_from: UUID | None = None
    idempotency_key: str | None = None
    timeout_seconds: float | None = None
    """How long it may take; None = what its definition says."""


@dataclass(frozen=True, slots=True)
class Started:
    """What became of it: `already` = its key, or its id, was used before, and that instance is the one."""

    instance_id: UUID
    already: bool
    same: bool = True
    """Whether that instance has the same context."""
    task_id: UUID | None = None
    """The task that begins it; None if it was there already."""
    sent: bool = False
    """Whether the caller has to send that task's first message; else a scheduler does."""


@dataclass(frozen=True, slots=True)
class _Planned:
    start: Start
    version: int
    definition: Definition
    instance_id: UUID
    task_id: UUID


def start(
    connection: Connection,
    org_id: UUID,
    starts: Sequence[Start],
    *,
    now: datetime,
    task_id: UUID | None = None,
    sent: bool = False,
    counted: bool = True,
) -> list[Started]:
    """Make instances and the tasks that begin them. Raises ConflictError for a template that is not active.

    `task_id`: the caller's own task begins them. `sent`: the caller sends the tasks' first messages after its commit,
    of those that say so.
    `counted`: False where the caller locks more before its commit, and counts them then: templates come last.
    """
    planned = _plan(connection, org_id, starts, task_id, now)
    new = instances.create(connection, org_id, [_row(one, now) for one in planned], now=now)
    mine = [one for one in planned if one.instance_id in new]
    counts = Counter(one.start.template_id for one in mine if counted)
    with driver.together(connection):
        left_out = _enqueue(connection, org_id, mine, sent=sent, own=task_id is None, now=now)
        versions.count(connection, org_id, {key: (n, 0) for key, n in sorted(counts.items())}, now=now)
    left = left_out()
    there = _there(connection, org_id, [one for one in planned if one.instance_id not in new])
    return [
        Started(one.instance_id, already=False, task_id=one.task_id, sent=sent and one.task_id not in left)
        if one.instance_id in new
        else Started(there[one.instance_id].instance_id, already=True, same=there[one.instance_id].same)
        for one in planned
    ]


def check_context(context: object, path: str = "context") -> None:
    """Raise InputError unless it is an object of at most 256 KiB."""
    if not isinstance(context, dict):
        raise InputError.of(path, "must be an object", "write {name: value}")
    size = len(json.dumps(context, separators=(",", ":"), ensure_ascii=False, default=str).encode())
    if size > MAX_CONTEXT:
        raise InputError.of(path, f"has {size:,} bytes as JSON", f"give at most {MAX_CONTEXT:,}")


def _plan(
    connection: Connection, org_id: UUID, starts: Sequence[Start], task_id: UUID | None, now: datetime
) -> list[_Planned]:
    templates = versions.startable(connection, org_id, list({one.template_id for one in starts}))
    planned: list[_Planned] = []
    ids = _task_ids(len(starts), task_id, now)
    for one, begun_by in zip(starts, ids, strict=True):
        template = templates.get(one.template_id)
        if template is None or template.status != TemplateStatus.ACTIVE:
            state = "is none of this org" if template is None else f"{template.name!r} is {template.status}"
            raise ConflictError.of("template", f"the workflow {state}", "publish it, or clone a public one and do so")
        version = one.version or template.version
        check_context(one.context)
        found = published.definition(connection, org_id, one.template_id, version)
        planned.append(_Planned(one, version, found, one.instance_id or uuid7(now), begun_by))
    return planned


def _task_ids(count: int, task_id: UUID | None, now: datetime) -> list[UUID]:
    if task_id is not None:
        return [task_id] * count
    made = [uuid7(now) for _ in range(0, count, TOGETHER)]
    return [made[place // TOGETHER] for place in range(count)]


def _row(one: _Planned, now: datetime) -> dict[str, Any]:
    begun = one.start
    timeout = begun.timeout_seconds or one.definition.timeout_seconds
    row = {
        "instance_id": one.instance_id,
        "template_id": begun.template_id,
        "version": one.version,
        "trigger_type": begun.trigger.value,
        "triggered_by": begun.triggered_by,
        "event_id": begun.event_id,
        "job_id": begun.job_id,
        "origin": begun.origin,
        "scheduled_for": begun.scheduled_for,
        "action_id": begun.action_id,
        "parent_instance_id": begun.parent_instance_id,
        "parent_step_id": begun.parent_step_id,
        "forked_from": begun.forked_from,
        "idempotency_key": begun.idempotency_key,
        "context_data": begun.context,
        "steps_total": len(one.definition.steps),
        "start": one.definition.start,
        "task_id": one.task_id,
        "audit_id": uuid7(now),
    }
    if timeout is not None:
        row |= {"timeout_at": now + timedelta(seconds=timeout), "timeout_task_id": _timeout_task_id(one)}
    return row


def _timeout_task_id(one: _Planned) -> UUID:
    """Return the id of the task that looks at an instance when its time is up: made of the instance's own."""
    return UUID(int=one.instance_id.int ^ 1)


def _enqueue(
    connection: Connection, org_id: UUID, planned: Sequence[_Planned], *, sent: bool, own: bool, now: datetime
) -> Callable[[], set[UUID]]:
    """Insert the tasks; what is returned says whose first messages the caller is not to send."""
    rows: dict[UUID, dict[str, Any]] = {}
    for one in planned:
        if own:
            row = rows.setdefault(one.task_id, instances.task(org_id, [], now=now, task_id=one.task_id))
            row["payload"]["items"].append({"instance_id": str(one.instance_id)})
        timeout = one.start.timeout_seconds or one.definition.timeout_seconds
        if timeout is not None:
            item = instances.signalled(one.instance_id, None, {"kind": "timeout"})
            key = _timeout_task_id(one)
            rows[key] = instances.task(org_id, [item], now=now, task_id=key, run_at=now + timedelta(seconds=timeout))
    for row in rows.values():
        if sent and row["run_at"] <= now:
            row |= {"delivery": 1, "publish_at": now + _SOON}
    return tasks.insert(connection, list(rows.values()), now=now)


def _there(connection: Connection, org_id: UUID, planned: Sequence[_Planned]) -> dict[UUID, Any]:
    """Return what stands in the way of those that were not made, by the id that they would have had."""
    rows = [
        {
            "place": place,
            "instance_id": one.instance_id,
            "template_id": one.start.template_id,
            "idempotency_key": one.start.idempotency_key,
            "context_data": one.start.context,
        }
        for place, one in enumerate(planned)
    ]
    found = instances.known(connection, org_id, rows) if rows else {}
    return {planned[place].instance_id: row for place, row in found.items()}
