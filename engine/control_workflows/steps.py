"""Retry a step that failed, or skip one that would still have to end."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from core.errors import InputError
from engine.control_workflows.fork import fork_once
from engine.control_workflows.steering import Steered, checked_note, entry, refuse, steer, step_of
from engine.control_workflows.switch import go_on, refuse_ended, waiting_failures
from engine.rules.reading import shown
from engine.run_workflow.proceed import follow
from engine.store import instances
from engine.workflows.advance import Moved, Skipped, Switched
from engine.workflows.definition import ALL_BRANCHES, FAILURE, NEXT
from models.audit_actions import AuditAction
from models.workflow_enums import InstanceStatus, StepStatus, StepType

if TYPE_CHECKING:
    from uuid import UUID

    from engine.control_workflows.steering import Hand
    from engine.run_workflow.desk import Desk
    from engine.run_workflow.run import Run
    from engine.workflows.definition import Step

_SKIPPABLE: Final = frozenset({StepStatus.QUEUED, StepStatus.WAITING, StepStatus.RETRYING, StepStatus.FAILED})
_REMEDIES: Final = {
    StepStatus.PENDING: "skip the steps that it waits for, or wait until its turn has come",
    StepStatus.RUNNING: "wait until it has ended, or cancel the run",
}


def retry(hand: Hand, instance_id: UUID, step_id: str, *, note: str | None = None) -> Steered:
    """Try a step once more: one that failed and keeps its instance paused, or one that waits for its next attempt.

    An instance that was paused by failures goes on once none of its steps waits for a person any more; one that a
    person paused stays so. What has ended as `failed` is immutable: a fork from the step is made, once, and returned.
    Raises NotFoundError, InputError, ConflictError for a step in any other state.
    """
    note = checked_note(note)

    def decide(desk: Desk, run: Run) -> Steered | None:
        step_of(run, step_id)
        status, failed = run.state.of(step_id).status, waiting_failures(run)
        if run.state.status is InstanceStatus.FAILED and step_id in failed:
            return None
        refuse_ended(run, "continued by a retry")
        if step_id not in failed and status is not StepStatus.RETRYING:
            return _not_retried(run, step_id, status)
        goes_on = _goes_on(desk, run, [one for one in failed if one != step_id])
        if status is StepStatus.RETRYING:
            run.stop(step_id)
        run.decide(Moved(step_id, StepStatus.QUEUED), desk.moment)
        columns = {"note": note, "decided_by": hand.context.user_id}
        run.put(step_id, task_id=desk.task(instance_id, **_held(run, goes_on=goes_on)), **columns)
        desk.entries.append(entry(desk, run, AuditAction.STEP_RETRIED, step=step_id, note=note))
        if goes_on:
            go_on(desk, run)
        return Steered(instance_id, run.state.status, said=_stays(run))

    done = steer(hand, instance_id, decide)
    if done is not None:
        return done
    made = fork_once(hand, instance_id, step_id, note=note)
    said = f"a run that failed stays as it is: {made.instance_id} goes on from {step_id} in its place"
    return Steered(made.instance_id, made.status, already=made.already, said=said)


def skip(
    hand: Hand,
    instance_id: UUID,
    step_id: str,
    *,
    reason: str,
    branch: str | None = None,
) -> Steered:
    """Let a run go on as if a step had completed and been left by `branch`; the step is `skipped`, with the reason.

    `branch` is required where the step has no `next`, or several answers. Raises NotFoundError, InputError for the
    reason or the branch, ConflictError for a step that is not queued, waiting, retrying, or failed and waited for.
    """
    checked = checked_note(reason, "--reason")

    def decide(desk: Desk, run: Run) -> Steered:
        step = run.definition.steps[step_of(run, step_id)]
        status = run.state.of(step_id).status
        if status is StepStatus.SKIPPED:
            return Steered(instance_id, run.state.status, already=True)
        refuse_ended(run, "continued by a skip")
        failed = waiting_failures(run)
        if status not in _SKIPPABLE or (status is StepStatus.FAILED and step_id not in failed):
            remedy = _REMEDIES.get(status, "there is nothing left to skip")
            raise refuse("STEP", f"the step {step_id} is {status} and cannot be skipped", remedy)
        label = _label(step, branch)
        if run.state.status is InstanceStatus.PENDING:
            run.decide(Switched(InstanceStatus.RUNNING), desk.moment)
        elif step_id in failed and _goes_on(desk, run, [one for one in failed if one != step_id]):
            go_on(desk, run)
        if status is not StepStatus.FAILED:
            run.stop(step_id)
        decided = run.decide(Skipped(step_id, label), desk.moment)
        run.put(step_id, note=checked, decided_by=hand.context.user_id)
        run.written[step_id]["details"] |= {"note": checked}
        follow(desk, run, decided)
        return Steered(instance_id, run.state.status, said=_stays(run))

    return steer(hand, instance_id, decide)


def _goes_on(desk: Desk, run: Run, failed: list[str]) -> bool:
    """Whether an instance goes on once a step is taken care of: failures have paused it, and no other is left."""
    if not run.is_paused or failed:
        return False
    row = instances.ended(desk.connection, desk.org_id, run.instance_id)
    return row is not None and row.error is not None


def _held(run: Run, *, goes_on: bool) -> dict[str, Any]:
    return {"state": "held"} if run.is_paused and not goes_on else {}


def _stays(run: Run) -> str | None:
    if not run.is_paused:
        return None
    if others := waiting_failures(run):
        return f"it stays paused: these steps failed, too: {', '.join(others)}"
    return "it stays paused: a person paused it (`cmis workflows resume`)"


def _not_retried(run: Run, step_id: str, status: StepStatus) -> Steered:
    if status is StepStatus.QUEUED:
        return Steered(run.instance_id, run.state.status, already=True)
    remedy = "only a step that has failed is tried again"
    if status is StepStatus.FAILED:
        remedy = f"the run went on from it; do it anew: `cmis workflows fork {run.instance_id} --from {step_id}`"
    raise refuse("STEP", f"the step {step_id} is {status}", remedy)


def _label(step: Step, branch: str | None) -> str:
    """Return the label by which a step that is skipped is left."""
    labels = [label for label in step.edges if label != FAILURE]
    if step.type is StepType.SPLIT and step.config["mode"] == "parallel":
        labels.append(ALL_BRANCHES)
    if branch is None and NEXT in labels and step.type is not StepType.APPROVAL:
        return NEXT
    if branch in labels:
        return branch
    message = "is required: where does the run go on?" if branch is None else f"{shown(branch)} is none of {step.id}"
    raise InputError.of("--branch", message, f"give one of {', '.join(labels)}")
