"""Go on with an instance: execute what is on its agenda, decide what follows, until nothing is left to do now."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any, Final

from sqlalchemy.exc import DBAPIError

from core import faults
from core.db import must_restart
from engine.retry import out_of_time
from engine.run_workflow.came import Apart, Broke, Done, Waits
from engine.run_workflow.execute import Executing, execute
from engine.start_workflow import TOGETHER
from engine.store import instances
from engine.workflows.advance import Completed, Failed, Switched
from engine.workflows.retrying import Again, plan
from models.workflow_enums import InstanceStatus, StepStatus, StepType

if TYPE_CHECKING:
    from collections.abc import Mapping

    from engine.run_workflow.came import Result
    from engine.run_workflow.desk import Desk
    from engine.run_workflow.run import Run
    from engine.run_workflow.turn import Turn
    from engine.workflows.advance import Decided
    from engine.workflows.definition import Step

logger = logging.getLogger(__name__)

_WRITES: Final = frozenset({StepType.WAIT_FOR_EVENT, StepType.APPROVAL, StepType.SUBWORKFLOW})
"""Types that write as they are executed, in a savepoint: one that fails leaves nothing. So do actions."""
_STOPPED: Final = frozenset({InstanceStatus.FAILED, InstanceStatus.PAUSED})
"""What a failure makes of an instance that does not go on from it."""
_BEGINNING: Final = frozenset({StepStatus.QUEUED, StepStatus.RETRYING})


def proceed(turn: Turn, run: Run) -> Apart | None:
    """Execute what is on the agenda; returns what has to be called apart, once the transaction is committed."""
    if run.state.status is InstanceStatus.PENDING and run.agenda:
        run.decide(Switched(InstanceStatus.RUNNING), turn.now)
    while run.agenda and not turn.is_full(run):
        if run.is_paused:
            hold(turn, run, list(run.agenda))
            run.agenda.clear()
            break
        step_id = run.agenda.popleft()
        if run.state.of(step_id).status not in _BEGINNING:  # cancelled by what was executed before it
            continue
        apart = _begin(turn, run, run.definition.steps[step_id])
        if apart is not None:
            return apart
    return None


def settle(turn: Turn, run: Run, step_id: str, result: Result, given: Mapping[str, Any] | None = None) -> None:
    """Note what a step that is under way came to, and what follows from it."""
    match result:
        case Done(output=output, branch=branch):
            run.outputs[step_id] = output
            decided = run.decide(Completed(step_id, branch), turn.moment)
            run.put(step_id, output_data=output, **_began(turn, run, step_id, given))
            follow(turn, run, decided)
        case Waits(waits_for=waits_for, until=until, columns=columns):
            run.move(step_id, StepStatus.WAITING, turn.moment)
            timer = None if until is None else turn.task(run.instance_id, run_at=until)
            began = _began(turn, run, step_id, given) | ({} if timer is None else {"task_id": timer})
            run.put(step_id, waits_for=waits_for, wake_at=until, **columns, **began)
        case Broke():
            _break(turn, run, step_id, result, given)
        case Apart():
            run.move(step_id, StepStatus.RUNNING, turn.moment)
            run.put(step_id, **_began(turn, run, step_id, given) | {"task_id": turn.task_id})


def follow(turn: Desk, run: Run, decided: Decided) -> None:
    """Give the steps that are ready to tasks: the first to this one, if there is one, each other one to its own.

    Of many, several share a task, and its commits; what must be called apart leaves it again.
    """
    if run.is_over or not decided.ready:
        return
    state: dict[str, Any] = {"state": "held"} if run.is_paused else {}
    others = decided.ready
    if not run.is_paused and turn.task_id is not None:
        first, *others = decided.ready
        run.agenda.append(first)
        run.put(first, task_id=turn.task_id)
    size = TOGETHER if len(others) > TOGETHER else 1
    for start in range(0, len(others), size):
        task_id = turn.task(run.instance_id, **state)
        for step_id in others[start : start + size]:
            run.put(step_id, task_id=task_id)


def hold(turn: Turn, run: Run, step_ids: list[str]) -> None:
    """Keep steps of a paused instance until it goes on: they stay as they are, and their task is held."""
    for step_id in step_ids:
        reassign(turn, run, step_id, state="held")


def reassign(turn: Desk, run: Run, step_id: str, **others: Any) -> None:
    """Give a step that is not begun to a task of its own."""
    task_id = turn.task(run.instance_id, **others)
    run.known(step_id).task_id = task_id
    if step_id in run.written:
        run.put(step_id, task_id=task_id)
    else:
        turn.assigned.append({"instance_id": run.instance_id, "step_id": step_id, "task_id": task_id})


def _begin(turn: Turn, run: Run, step: Step) -> Apart | None:
    """Execute a step, or have it called apart: by whom it is returned to, or by a task of its own."""
    turn.executed += 1
    run.executed += 1
    run.current = step.id
    run.known(step.id).attempt += 1
    began = turn.moment
    result, given = _executed(turn, run, step)
    turn.weigh(given, result.output if isinstance(result, Done) else None)
    if isinstance(result, Apart) and (run.agenda or not turn.can_call(result)):
        run.known(step.id).attempt -= 1
        reassign(turn, run, step.id, timeout_seconds=turn.seconds_for(result))
        return None
    if not run.known(step.id).started_at:
        run.known(step.id).started_at = began
    settle(turn, run, step.id, result, given)
    return result if isinstance(result, Apart) else None


def _executed(turn: Turn, run: Run, step: Step) -> tuple[Result, Mapping[str, Any] | None]:
    try:
        executing = Executing(turn, run, step, values(turn, run, step), run.known(step.id).attempt)
        faults.fail("workflow.step")
        if step.type in _WRITES or "action" in step.config:
            with turn.connection.begin_nested():
                return execute(executing)
        return execute(executing)
    except Exception as error:
        if out_of_time(error) or (isinstance(error, DBAPIError) and must_restart(error)):
            raise
        broke = Broke.of(error)
        if broke.kind == "bug":
            logger.exception("step %s of instance %s failed", step.id, run.instance_id)
        return broke, None


def values(turn: Turn, run: Run, step: Step) -> dict[str, Any]:
    """Return what a step sees: of the context and of other steps' outputs only what it refers to is read."""
    seen: dict[str, Any] = {"instance": run.about}
    roots = {path[0] for path in step.references}
    if "context" in roots:
        seen["context"] = turn.context(run)
    if "steps" in roots:
        named = {path[1] for path in step.references if path[0] == "steps" and len(path) > 1}
        if missing := named - run.outputs.keys():
            found = instances.outputs(turn.connection, turn.org_id, run.instance_id, missing)
            run.outputs |= dict.fromkeys(missing) | found
        seen["steps"] = {step_id: {"output": run.outputs[step_id]} for step_id in named}
    return seen


def _began(turn: Turn, run: Run, step_id: str, given: Mapping[str, Any] | None) -> dict[str, Any]:
    known = run.known(step_id)
    began: dict[str, Any] = {"attempt": known.attempt, "started_at": known.started_at or turn.now}
    return began if given is None else began | {"input_data": given}


def _break(turn: Turn, run: Run, step_id: str, broke: Broke, given: Mapping[str, Any] | None) -> None:
    step, known = run.definition.steps[step_id], run.known(step_id)
    error = broke.document(known.attempt)
    decision = plan(step.retry, known.attempt, code=broke.code, kind=broke.kind, names=broke.names)
    began = _began(turn, run, step_id, given) | {"error": error}
    if isinstance(decision, Again):
        wake_at = turn.now + decision.after
        if run.state.of(step_id).status is StepStatus.RETRYING:  # it was executed once more, within this transaction
            run.move(step_id, StepStatus.RUNNING, turn.moment)
        run.move(step_id, StepStatus.RETRYING, turn.moment)
        if turn.single and turn.retry is None and not run.agenda:
            turn.retry = (decision.after, error)
            began["task_id"] = turn.task_id
        else:
            began["task_id"] = turn.task(run.instance_id, run_at=wake_at)
        run.put(step_id, wake_at=wake_at, **began)
        return
    decided = run.decide(Failed(step_id), turn.moment)
    run.put(step_id, **began)
    run.written[step_id]["details"] |= {"error": {"code": broke.code, "message": broke.message}}
    if decided.status in _STOPPED:
        run.error = {
            "code": broke.code,
            "message": f"step {step_id}: {broke.message}",
            "step": step_id,
            "kind": broke.kind,
        }
    follow(turn, run, decided)
