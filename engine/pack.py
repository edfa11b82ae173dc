"""Runs of jobs → the rows of their tasks: evaluations packed into chunks of one time limit and one start each."""

from __future__ import annotations

from itertools import groupby
from typing import TYPE_CHECKING, Any

from core.db import RESERVED_ORG
from core.ids import uuid7
from engine import chunk, urgency
from engine.workflows import job_start
from models.enums import Queue, TaskKind

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime
    from uuid import UUID

    from engine.workflows.job_start import DueStart


def pack(due: Sequence[chunk.Due], now: datetime, size: int) -> tuple[list[dict[str, Any]], dict[UUID, UUID]]:
    """Pack evaluations into tasks of at most `size`; returns their rows, and for each execution its task.

    Evaluations of different time limits or starts share none: both belong to the task. A task is as urgent as its most
    urgent evaluation.
    """
    tasks: list[dict[str, Any]] = []
    carriers: dict[UUID, UUID] = {}
    alike = {(one.timeout_seconds, one.run_at) for one in due}
    urgencies = {one.item.rule_id: one.urgency for one in due}
    batches = [due] if len(alike) == 1 else [list(group) for _, group in groupby(sorted(due, key=_kind), key=_kind)]
    for batch in batches:
        for groups in chunk.pack(batch, size):
            task_id = uuid7(now)
            carriers |= {item.execution_id: task_id for group in groups for item in group.items}
            most = urgency.of_several(urgencies[item.rule_id] for group in groups for item in group.items)
            tasks.append(_task(task_id, groups, batch[0]) | {"priority": most})
    return tasks, carriers


def pack_alone(optimizations: Sequence[chunk.Alone], now: datetime) -> tuple[list[dict[str, Any]], dict[UUID, UUID]]:
    """Give each optimisation a task of its own; returns as `pack` does."""
    tasks: list[dict[str, Any]] = []
    carriers: dict[UUID, UUID] = {}
    for one in optimizations:
        task_id = uuid7(now)
        carriers[one.optimization.execution_id] = task_id
        tasks.append(_task(task_id, (chunk.Group(one.org_id, (), one.optimization),), one))
    return tasks, carriers


def pack_starts(starts: Sequence[DueStart], now: datetime) -> tuple[list[dict[str, Any]], dict[UUID, UUID]]:
    """Pack starts of instances into tasks of at most 25, each of one org and one time; returns as `pack` does."""
    tasks: list[dict[str, Any]] = []
    carriers: dict[UUID, UUID] = {}
    for (_, run_at), group in groupby(sorted(starts, key=_together), key=_together):
        alike = list(group)
        for first in range(0, len(alike), job_start.TOGETHER):
            carried = alike[first : first + job_start.TOGETHER]
            task_id = uuid7(now)
            carriers |= {one.start.instance_id: task_id for one in carried}
            tasks.append(
                {
                    "org_id": carried[0].org_id,
                    "task_id": task_id,
                    "kind": TaskKind.RUN_WORKFLOW.value,
                    "queue": Queue.WORKFLOWS.value,
                    "payload": {"items": [one.start.document() for one in carried]},
                    "run_at": run_at,
                    "timeout_seconds": job_start.TASK_SECONDS,
                }
            )
    return tasks, carriers


def _together(due: DueStart) -> tuple[int, datetime]:
    return due.org_id.int, due.run_at


def _kind(due: chunk.Due) -> tuple[int, datetime]:
    return due.timeout_seconds, due.run_at


def _task(task_id: UUID, groups: tuple[chunk.Group, ...], like: chunk.Due | chunk.Alone) -> dict[str, Any]:
    return {
        "org_id": groups[0].org_id if len(groups) == 1 else RESERVED_ORG,
        "task_id": task_id,
        "kind": TaskKind.EVALUATE_RULES.value,
        "queue": Queue.RULES.value,
        "payload": chunk.payload(groups),
        "run_at": like.run_at,
        "timeout_seconds": like.timeout_seconds,
    }
