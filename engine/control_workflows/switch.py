"""Pause, resume and cancel a run. Each is idempotent: what is so already stays so, and that is said."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from engine.control_workflows.steering import Steered, checked_note, refuse, steer
from engine.run_workflow import answers
from engine.store import instances, maintenance
from engine.workflows.advance import Switched
from models.workflow_enums import InstanceStatus, StepStatus

if TYPE_CHECKING:
    from uuid import UUID

    from engine.control_workflows.steering import Hand
    from engine.run_workflow.desk import Desk
    from engine.run_workflow.run import Run

_ANEW: Final = "start a new run, or fork this one: `cmis workflows fork`"


def pause(hand: Hand, instance_id: UUID, *, note: str | None = None) -> Steered:
    """Let no further step of an instance begin. What is at work ends, and delays keep their clock; children go on.

    Raises NotFoundError, InputError for the note, ConflictError for an instance that has ended.
    """
    note = checked_note(note)

    def decide(desk: Desk, run: Run) -> Steered:
        if run.is_paused:
            return Steered(instance_id, run.state.status, already=True)
        refuse_ended(run, "paused")
        run.note = note
        run.decide(Switched(InstanceStatus.PAUSED), desk.moment)
        return Steered(instance_id, run.state.status)

    return steer(hand, instance_id, decide)


def resume(hand: Hand, instance_id: UUID) -> Steered:
    """Let a paused instance go on where it was.

    Raises NotFoundError; ConflictError for one that has ended, or whose failed step waits for a person.
    """

    def decide(desk: Desk, run: Run) -> Steered:
        refuse_ended(run, "resumed")
        if not run.is_paused:
            return Steered(instance_id, run.state.status, already=True)
        if failed := waiting_failures(run):
            message = f"it waits for a person, because these steps failed: {', '.join(failed)}"
            raise refuse("INSTANCE", message, "`cmis workflows retry` or `cmis workflows skip` each of them")
        go_on(desk, run)
        # an instance whose last step ended meanwhile completes by this
        desk.task(run.instance_id)
        return Steered(instance_id, run.state.status)

    return steer(hand, instance_id, decide)


def cancel(hand: Hand, instance_id: UUID, *, reason: str | None) -> Steered:
    """End an instance: no further step begins, what waits is cancelled, what is at work is asked to stop.

    The workflows that it waits for are cancelled with it; whoever waits for it is told. Raises NotFoundError,
    InputError for the reason, ConflictError for an instance that has ended otherwise.
    """
    reason = checked_note(reason, "--reason")

    def decide(desk: Desk, run: Run) -> Steered:
        if run.state.status is InstanceStatus.CANCELLED:
            return Steered(instance_id, run.state.status, already=True)
        refuse_ended(run, "cancelled")
        signal: dict[str, Any] = {"kind": "cancel"} | ({} if reason is None else {"reason": reason})
        answers.end(desk, run, signal)
        return Steered(instance_id, run.state.status)

    return steer(hand, instance_id, decide)


def refuse_ended(run: Run, verb: str) -> None:
    """Raise ConflictError for an instance that nothing changes any more."""
    if run.is_over:
        raise refuse("INSTANCE", f"the run {run.instance_id} is {run.state.status} and cannot be {verb}", _ANEW)


def waiting_failures(run: Run) -> list[str]:
    """Return the failed steps that keep an instance from going on, until a person retries or skips them."""
    return [
        step_id
        for step_id, step in run.state.steps.items()
        if step.status is StepStatus.FAILED and step.branch is None and step_id in run.definition.steps
    ]


def go_on(desk: Desk, run: Run) -> None:
    """Let a paused instance run, and with it the tasks that it had waiting; its row is written.

    What follows may end it: that is a second write, since nothing that is paused ends at once.
    """
    run.decide(Switched(InstanceStatus.RUNNING), desk.moment)
    desk.write()
    instances.release(desk.connection, desk.org_id, run.instance_id, now=desk.now)
    maintenance.wake_schedulers(desk.connection)
