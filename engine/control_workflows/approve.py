"""Answer an approval that a run waits for."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from engine.control_workflows.steering import Steered, checked_note, entry, refuse, steer, step_of
from engine.control_workflows.switch import refuse_ended
from engine.store import actions, instance_rows
from models.audit_actions import AuditAction
from models.enums import Role
from models.workflow_enums import StepStatus, StepType

if TYPE_CHECKING:
    from uuid import UUID

    from engine.control_workflows.steering import Hand
    from engine.run_workflow.desk import Desk
    from engine.run_workflow.run import Run


def approve(
    hand: Hand,
    instance_id: UUID,
    step_id: str,
    *,
    approved: bool = True,
    note: str | None = None,
) -> Steered:
    """Answer an approval, as the context's user, who must have the role that the step asks for (default: editor).

    The answer of a paused instance is kept until it goes on. A second, equal answer changes nothing and says who gave
    the first. Raises NotFoundError, InputError for the note, ConflictError where nothing is asked, or was answered
    otherwise; the database refuses (42501) who has a lesser role.
    """
    note = checked_note(note)

    def decide(desk: Desk, run: Run) -> Steered:
        step = run.definition.steps[step_of(run, step_id)]
        if step.type is not StepType.APPROVAL:
            raise refuse("STEP", f"the step {step_id} is of type {step.type}", "only an approval is answered")
        actions.require_role(desk.connection, Role(step.config["role"]))
        if run.state.of(step_id).status is not StepStatus.WAITING:
            return _not_asked(desk, run, step_id, approved=approved)
        answer = {"approved": approved, "by": str(hand.context.user_id), "note": note}
        run.stop(step_id)
        run.move(step_id, StepStatus.QUEUED, desk.moment)
        held: dict[str, Any] = {"state": "held"} if run.is_paused else {}
        task_id = desk.task(instance_id, step_id, {"kind": "approval"} | answer, **held)
        # what was answered can be read before a worker has gone on with it
        run.put(step_id, task_id=task_id, note=note, decided_by=hand.context.user_id, output_data=answer)
        action = AuditAction.STEP_APPROVED if approved else AuditAction.STEP_REJECTED
        desk.entries.append(entry(desk, run, action, step=step_id, note=note))
        said = "it is paused: the answer is kept until it goes on" if run.is_paused else None
        return Steered(instance_id, run.state.status, said=said)

    return steer(hand, instance_id, decide, least=Role.VIEWER)


def _not_asked(desk: Desk, run: Run, step_id: str, *, approved: bool) -> Steered:
    """Say that an approval was answered so before; raises ConflictError where it was not."""
    row = instance_rows.step(desk.connection, desk.org_id, run.instance_id, step_id)
    answered = _answer(row)
    if answered is not None:
        said = f"{'approved' if answered else 'rejected'} by {row.decided_by}"
        if answered is approved:
            return Steered(run.instance_id, run.state.status, already=True, said=said)
        raise refuse("STEP", f"the step {step_id} was {said}", "an answer is final: skip or retry what follows from it")
    refuse_ended(run, "answered")
    remedy = "nobody is asked yet" if row.status == StepStatus.PENDING else "nobody is asked any more"
    raise refuse("STEP", f"the step {step_id} is {row.status}", remedy)


def _answer(row: Any) -> bool | None:
    """Return what was answered; None = nobody has answered."""
    if row.decided_by is None or row.status in {StepStatus.PENDING, StepStatus.SKIPPED}:
        return None
    if row.output_data is not None and "approved" in row.output_data:
        return bool(row.output_data["approved"])
    return False if row.error is not None and row.error.get("code") == "REJECTED" else None
