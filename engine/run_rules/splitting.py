"""Tasks that take the place of a chunk, or of a part of it. Each execution keeps its id: none is made twice."""

from __future__ import annotations

import logging
from collections import defaultdict
from typing import TYPE_CHECKING, Any, Final

from core.db import RESERVED_ORG
from core.errors import OutOfTimeError
from core.ids import uuid7
from engine import chunk, retry
from engine.lease import owned
from engine.run_rules.ended import error_document
from engine.run_rules.work import TakenApart, occurrence_key
from engine.store import occurrences, tasks
from models.enums import Queue, TaskKind

if TYPE_CHECKING:
    from collections.abc import Sequence
    from uuid import UUID

    from sqlalchemy import Connection

    from engine.run_rules.group import Unfinished
    from engine.run_rules.work import Work

logger = logging.getLogger(__name__)

_LOST: Final = {"code": "SPLIT", "message": "split in two: a worker that had claimed it did not finish it"}
_ALONE: Final = {"attempt": 0, "delivery": 1}
"""Untried, but even their first messages' claims commit alone: a part that kills its worker is noticed, and split."""


def split_off(connection: Connection, work: Work, org_id: UUID, unfinished: Unfinished) -> None:
    """Give an item that must be retried a task of its own; its chunk has used up the first attempt, and succeeds."""
    item = unfinished.item
    logger.warning("rule %s is retried on its own: %s", item.rule_id, error_document(unfinished.error)["message"])
    used = {"run_at": work.now + retry.backoff(1), "attempt": 1, "started_at": work.claim.started_at}
    _carry(connection, work, [(chunk.Group(org_id, (item,)),)], used)


def split(connection: Connection, work: Work) -> TakenApart:
    """Replace a chunk whose claim was lost by its halves, until the one item that kills its workers is alone."""
    logger.warning("task %s was lost with %d evaluations and is split in two", work.claim.task_id, work.size)
    return _replace(connection, work, chunk.halves(work.groups), _ALONE, _LOST)


def take_apart(connection: Connection, work: Work) -> TakenApart:
    """Replace a chunk that cannot end as a whole by a task for each item: only one that fails alone shall fail."""
    logger.warning("task %s is taken apart", work.claim.task_id)
    error = {"code": OutOfTimeError.code, "message": "taken apart: it took too long as a whole"}
    return _replace(connection, work, chunk.singles(work.groups), {"attempt": 0}, error)


def _replace(
    connection: Connection,
    work: Work,
    parts: Sequence[tuple[chunk.Group, ...]],
    used: dict[str, Any],
    error: dict[str, Any],
) -> TakenApart:
    ids = _carry(connection, work, parts, {"run_at": work.now} | used)
    work.enter(connection, work.claim.org_id)
    result = {"split": [str(task_id) for task_id in ids]}
    owned(tasks.finish(connection, work.claim, "cancelled", now=work.now, result=result, error=error))
    return TakenApart(len(ids))


def _carry(
    connection: Connection, work: Work, parts: Sequence[tuple[chunk.Group, ...]], used: dict[str, Any]
) -> list[UUID]:
    """Insert a task for each part, and point its runs at it; `used`: the columns that say when, and what is used up."""
    made: dict[UUID, list[dict[str, Any]]] = defaultdict(list)
    moved: dict[UUID, list[dict[str, Any]]] = defaultdict(list)
    for part in parts:
        row = _task(work, part) | used
        made[row["org_id"]].append(row)
        for group in part:
            runs = (item for item in group.items if item.job_id is not None)
            moved[group.org_id] += [occurrence_key(item) | {"task_id": row["task_id"]} for item in runs]
    for org_id in sorted(made.keys() | moved.keys()):
        work.enter(connection, org_id)
        tasks.insert(connection, made[org_id], now=work.now)
        occurrences.move(connection, org_id, moved[org_id])
    return [row["task_id"] for rows in made.values() for row in rows]


def _task(work: Work, groups: tuple[chunk.Group, ...]) -> dict[str, Any]:
    return {
        "org_id": groups[0].org_id if len(groups) == 1 else RESERVED_ORG,
        "task_id": uuid7(work.now),
        "kind": TaskKind.EVALUATE_RULES.value,
        "queue": Queue.RULES.value,
        "payload": chunk.payload(groups),
        "timeout_seconds": work.claim.timeout_seconds,
        "priority": work.claim.priority,
    }
