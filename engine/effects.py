"""Effects as their rows tell them: read back, held against the campaign as it is, and the end of their execution."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from sqlalchemy.exc import DBAPIError

from core.db import first_line, must_restart
from core.errors import ConflictError, InputError, NotFoundError, Problem
from engine.actions.base import Effect
from engine.actions.registry import KINDS
from engine.store import actions, campaigns, delayed, instances, maintenance
from models.enums import ActionStatus, Channel, ExecutionStatus

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from datetime import datetime
    from uuid import UUID

    from sqlalchemy import Connection, Row

    from engine.actions.base import Action


MAX_NOTE: Final = 2_000
"""Characters of what a person says to a decision."""


def check_note(note: str | None) -> None:
    """Raise InputError for a note that is blank or too long."""
    if note is not None and not 0 < len(note.strip()) <= MAX_NOTE:
        raise InputError.of("--note", f"must be a text of 1 to {MAX_NOTE} characters", "shorten it, or leave it out")


def find(connection: Connection, org_id: UUID, action_id: UUID) -> Row[Any]:
    """Return the row of an effect; raises NotFoundError."""
    row = actions.get(connection, org_id, action_id)
    if row is None:
        raise NotFoundError.of("ACTION", f"there is no action {action_id} in this org", "see `cmis actions list`")
    return row


def read(row: Row[Any]) -> Effect:
    """Return the effect of a row."""
    return Effect(
        row.action_id,
        row.execution_id,
        row.rule_id,
        row.position,
        row.type,
        row.params,
        row.entity_id,
        row.before,
        row.after,
        "held" if row.status == ActionStatus.HELD else "succeeded",
        instance_id=row.instance_id,
        step_id=row.step_id,
    )


def handler(row: Row[Any]) -> Action:
    """Return the action kind of an effect; raises ConflictError where the package that brought it is gone."""
    if row.type not in KINDS:
        message = f"the action {row.type} of {row.action_id} is not known any more"
        raise ConflictError.of("ACTION", message, "install the package that brought it")
    return KINDS[row.type]


def lock_campaign(connection: Connection, org_id: UUID, row: Row[Any]) -> Row[Any]:
    """Lock the campaign of an effect and then the effect, until the transaction ends; returns the effect's row anew."""
    campaigns.lock(connection, org_id, [row.entity_id])
    return actions.lock(connection, org_id, row.action_id)


def moved_on(connection: Connection, org_id: UUID, row: Row[Any]) -> dict[str, Any]:
    """Return the columns that are not as the effect found them any more, with what is there."""
    columns = campaigns.changeable(connection, org_id, [row.entity_id])[row.entity_id]
    found = {key: columns[key] for key in row.before}
    return {key: value for key, value in found.items() if value != row.before[key]}


def conflict(action_id: UUID, expected: Mapping[str, Any], found: Mapping[str, Any]) -> ConflictError:
    """Return the error that shows how a campaign differs from what an effect's decision was about."""
    remedy = "look at the campaign, then decide anew"
    return ConflictError(
        [
            Problem(f"{action_id}.{key}", f"was {expected.get(key)!r}, is {is_now!r}", remedy)
            for key, is_now in found.items()
        ]
    )


def failure(error: Exception) -> str:
    """Say in a line how a kind failed at its effect; raises what ends the whole transaction anew."""
    if isinstance(error, DBAPIError):
        if must_restart(error):
            raise error
        return first_line(error)
    return f"{type(error).__name__}: {error}"


def of_step(row: Row[Any]) -> dict[str, Any]:
    """Return what the audit log tells of the step whose effect it is, if it is one's."""
    return {} if row.instance_id is None else {"instance_id": str(row.instance_id), "step_id": row.step_id}


def wake_steps(connection: Connection, org_id: UUID, rows: Iterable[Row[Any]], *, now: datetime) -> None:
    """Tell the steps that wait for these effects that they have ended; none waits for what a connector is told."""
    signals = [
        (row.instance_id, row.step_id, {"kind": "effect", "action_id": str(row.action_id)})
        for row in rows
        if row.instance_id is not None and row.channel != Channel.CONNECTOR
    ]
    instances.wake(connection, org_id, signals, now=now)


def settle(connection: Connection, org_id: UUID, row: Row[Any], *, now: datetime) -> ExecutionStatus | None:
    """Let go on what has waited for a decided effect: its step, or its execution; None = there is no execution.

    An execution ends, and is counted, once none of its effects is open; its rule is locked.
    """
    wake_steps(connection, org_id, [row], now=now)
    if row.instance_id is not None:
        maintenance.wake_schedulers(connection)  # who has decided waits for what follows
    if row.execution_id is None:
        return None
    ended = delayed.settle(connection, org_id, row.execution_id, now=now)
    return ExecutionStatus.RUNNING if ended is None else ExecutionStatus(ended)
