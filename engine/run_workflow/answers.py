"""What a step that waits is told: its time has come, an event, an answer, the end of an effect or of another instance.

A signal that the step does not wait for is out of date, or came twice: nothing follows from it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final
from uuid import UUID

from engine.run_workflow import effects
from engine.run_workflow.came import Broke, Done
from engine.run_workflow.execute import told
from engine.run_workflow.proceed import settle
from engine.store import events, instances
from engine.workflows.advance import Ended
from engine.workflows.definition import NEXT, REJECTED, TIMEOUT
from models.workflow_enums import InstanceStatus, StepStatus, StepType

if TYPE_CHECKING:
    from collections.abc import Mapping

    from engine.retry import Kind
    from engine.run_workflow.came import Result
    from engine.run_workflow.desk import Desk
    from engine.run_workflow.run import Known, Run
    from engine.run_workflow.turn import Turn

WHOLE: Final = frozenset({"timeout", "cancel"})
"""Signals about an instance as a whole, also about one that is paused."""


def end(turn: Desk, run: Run, signal: Mapping[str, Any]) -> None:
    """End an instance: its time is up, or it is not wanted any more."""
    if run.is_over:
        return
    if signal["kind"] == "timeout":
        run.error = {"code": "TIMEOUT", "message": "the instance's time is up", "kind": "transient"}
        run.decide(Ended(InstanceStatus.FAILED), turn.moment)
        return
    run.error = {"code": "CANCELLED", "message": str(signal.get("reason", "cancelled"))}
    run.decide(Ended(InstanceStatus.CANCELLED), turn.moment)


def answer(turn: Turn, run: Run, step_id: str, signal: Mapping[str, Any]) -> None:
    """Let a step go on that has waited for just this."""
    result = _result(turn, run, step_id, signal)
    if result is not None:
        settle(turn, run, step_id, result)


def wake(turn: Turn, run: Run, step_id: str) -> None:
    """Let a step go on whose time has come: the end of a delay, or nobody has answered."""
    step = run.definition.steps[step_id]
    if step.type is StepType.DELAY:
        settle(turn, run, step_id, Done({"until": _time(run, step_id)}))
    elif TIMEOUT in step.edges:
        settle(turn, run, step_id, Done({"timed_out": True}, TIMEOUT))
    else:
        settle(turn, run, step_id, Broke("TIMEOUT", "nothing came in time", "permanent"))


def lost(turn: Turn, run: Run, step_id: str) -> None:
    """Take over a step that a worker had begun and died of, or was too slow for: the attempt is used up."""
    settle(turn, run, step_id, Broke("LOST", "the worker that executed it is gone", "transient"))


def _time(run: Run, step_id: str) -> str | None:
    wake_at = run.known(step_id).wake_at
    return None if wake_at is None else wake_at.isoformat()


def _result(turn: Turn, run: Run, step_id: str, signal: Mapping[str, Any]) -> Result | None:
    told_to = None if "of" in signal else _TOLD_TO_TASK.get(signal["kind"])
    if told_to is not None:
        return told_to(run, step_id, signal) if step_id in run.assigned(turn.task_id) else None
    waits = run.state.of(step_id).status is StepStatus.WAITING
    hears = _HEARD.get(signal["kind"])
    return hears(turn, run.known(step_id), signal) if waits and hears is not None else None


def _lost(run: Run, step_id: str, signal: Mapping[str, Any]) -> Result:
    """Give up a step whose task's workers died again and again."""
    del run, step_id
    return Broke("LOST", str(signal["error"].get("message", "its workers died")), "permanent")


def _lost_signal(turn: Turn, known: Known, signal: Mapping[str, Any]) -> Result | None:
    """Give up a step that waits for what was told, and the workers that were told of it died again and again."""
    del turn
    lost = signal["of"]
    meant = {"effect": known.action_id, "instance": known.child_instance_id}.get(lost["kind"])
    same = meant is None or str(meant) == lost[_NAMED[lost["kind"]]]
    if known.waits_for != lost["kind"] or not same:
        return None
    return Broke("LOST", str(signal["error"].get("message", "its workers died")), "permanent")


def _effect(turn: Turn, known: Known, signal: Mapping[str, Any]) -> Result | None:
    if str(known.action_id) != signal["action_id"]:
        return None
    match effects.outcome(turn.connection, turn.org_id, UUID(signal["action_id"])):
        case effects.Did(output=output):
            return Done(output)
        case effects.Failed(code=code, message=message):
            return Broke(code, message, "permanent")
        case effects.Waits():
            return None


def _event(turn: Turn, known: Known, signal: Mapping[str, Any]) -> Result | None:
    if known.waits_for != "event":
        return None
    found = events.get(turn.connection, turn.org_id, UUID(signal["event_id"]))
    return None if found is None else Done(told(found))


def _child(turn: Turn, known: Known, signal: Mapping[str, Any]) -> Result | None:
    if str(known.child_instance_id) != signal["instance_id"]:
        return None
    child = instances.ended(turn.connection, turn.org_id, UUID(signal["instance_id"]))
    if child is None:
        return None
    if child.status == InstanceStatus.COMPLETED:
        return Done({"instance_id": signal["instance_id"], "output": child.output_data or {}})
    message = f"the workflow that it started ({signal['instance_id']}) is {child.status}"
    error = child.error or {}
    passing = child.status == InstanceStatus.CANCELLED or error.get("kind") == "transient"
    kind: Kind = "transient" if passing else "permanent"
    return Broke("SUBWORKFLOW", message + (f": {error['message']}" if error else ""), kind)


def _approval(run: Run, step_id: str, signal: Mapping[str, Any]) -> Result:
    output: dict[str, Any] = {"approved": signal["approved"], "by": signal.get("by"), "note": signal.get("note")}
    if signal["approved"]:
        return Done(output, NEXT)
    if REJECTED in run.definition.steps[step_id].edges:
        return Done(output, REJECTED)
    return Broke("REJECTED", signal.get("note") or "it was not approved", "permanent")


_NAMED: Final = {"effect": "action_id", "instance": "instance_id"}
_TOLD_TO_TASK: Final = {"lost": _lost, "approval": _approval}
"""Signals of whoever has given the step to the task that carries them: a reaper, and a person's answer."""
_HEARD: Final = {"effect": _effect, "event": _event, "instance": _child, "lost": _lost_signal}
"""Signals of whoever has not looked at the step, and does not know whether it still waits."""
