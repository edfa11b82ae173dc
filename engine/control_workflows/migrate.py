"""Move runs that are under way to another version of their workflow, each in a transaction of its own."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final

from core import clock
from core.errors import NotFoundError
from engine import published
from engine.control_workflows.steering import entry, in_transaction, locked
from engine.find import find_template
from engine.run_workflow.desk import Desk
from engine.run_workflow.proceed import follow
from engine.store import actions, instance_rows
from engine.workflows.advance import Decided
from engine.workflows.migrating import plan
from engine.workflows.state import StepState
from models.audit_actions import AuditAction
from models.enums import Role
from models.workflow_enums import InstanceStatus, StepStatus

if TYPE_CHECKING:
    from collections.abc import Sequence
    from uuid import UUID

    from engine.control_workflows.steering import Hand
    from engine.run_workflow.run import Run
    from engine.workflows.definition import Definition
    from engine.workflows.migrating import Plan

MOST: Final = 10_000
"""Runs that one call looks at."""


@dataclass(frozen=True, slots=True)
class Move:
    """What became of one run, or would."""

    instance_id: UUID
    status: InstanceStatus
    version: int
    """The version that it had."""
    can: bool
    moved: bool = False
    reasons: Sequence[str] = ()
    """Why it cannot be moved."""
    left_out: Sequence[str] = ()
    """Steps to come that are skipped, since the version does not have them."""
    begun: Sequence[str] = ()
    """Steps that are to be executed at once, since the version has them beside what is under way."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which runs are to be moved: of which version, or one alone."""

    template: UUID | str
    to: int
    version: int | None = None
    """Only those of this version."""
    instance_id: UUID | None = None
    """Only this one."""


def migrate(hand: Hand, wanted: Wanted, *, dry_run: bool = False) -> list[Move]:
    """Move what can be moved of the runs that are pending, running or paused, by an editor or more; in order of ids.

    What counts from their beginning stays: `timeout_seconds` of the other version is for new runs. A dry run changes
    nothing. Raises NotFoundError for the template, its version, or the run.
    """
    with hand.database.transaction(hand.context) as connection:
        actions.require_role(connection, Role.EDITOR)
        template = find_template(connection, hand.context.org_id, wanted.template, "TEMPLATE")
        published.definition(connection, hand.context.org_id, template.template_id, wanted.to)
        given = {"template_id": template.template_id, "version": wanted.version, "instance_id": wanted.instance_id}
        found = instance_rows.under_way(connection, hand.context.org_id, **given, limit=MOST)
    if wanted.instance_id is not None and not found:
        message = f"there is no run {wanted.instance_id} of this workflow that is under way"
        raise NotFoundError.of("--instance", message, "see `cmis workflows instances`")
    one = _rehearse if dry_run else _move
    return [one(hand, instance_id, wanted.to) for instance_id in found]


def _rehearse(hand: Hand, instance_id: UUID, version: int) -> Move:
    with hand.database.rehearsal(hand.context) as connection:
        desk = Desk(connection, hand.context.org_id, clock.now(connection))
        run = locked(desk, instance_id)
        return _judged(run, _plan(desk, run, version), version)


def _move(hand: Hand, instance_id: UUID, version: int) -> Move:
    def decide(desk: Desk) -> Move:
        run = locked(desk, instance_id)
        planned = _plan(desk, run, version)
        judged = _judged(run, planned, version)
        if planned is None or planned.reasons:
            return judged
        _apply(desk, run, planned, version)
        return replace(judged, moved=True)

    return in_transaction(hand, decide)


def _plan(desk: Desk, run: Run, version: int) -> Plan | None:
    """Plan the move of a locked run; None where there is nothing to move."""
    if run.is_over or run.row.version == version:
        return None
    new = _definition(desk, run, version)
    order = instance_rows.ended_steps(desk.connection, desk.org_id, run.instance_id)
    return plan(run.definition, new, run.state, order)


def _judged(run: Run, planned: Plan | None, version: int) -> Move:
    about: dict[str, Any] = {
        "instance_id": run.instance_id,
        "status": run.state.status,
        "version": run.row.version,
    }
    if planned is None:
        reason = f"it is {run.state.status}" if run.is_over else f"it has version {version} already"
        return Move(**about, can=False, reasons=[reason])
    can = not planned.reasons
    ready = planned.decided.ready if can else []
    return Move(**about, can=can, reasons=planned.reasons, left_out=planned.left_out, begun=ready)


def _apply(desk: Desk, run: Run, planned: Plan, version: int) -> None:
    before = run.row.version
    new = _definition(desk, run, version)
    skipped = Decided({step_id: StepState(StepStatus.SKIPPED) for step_id in planned.left_out})
    run.take(skipped, desk.moment)
    for step_id in planned.left_out:
        run.put(step_id, note=f"not in version {version}")
    instance_rows.move(desk.connection, desk.org_id, run.instance_id, version)
    run.definition = new
    run.take(planned.decided, desk.moment)
    follow(desk, run, planned.decided)
    told = {"from": before, "to": version, "left_out": planned.left_out or None}
    desk.entries.append(entry(desk, run, AuditAction.INSTANCE_MIGRATED, **told))


def _definition(desk: Desk, run: Run, version: int) -> Definition:
    return published.definition(desk.connection, desk.org_id, run.row.template_id, version)
