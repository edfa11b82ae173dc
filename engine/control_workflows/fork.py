"""Do a run anew from one of its steps, as a new run: what was done before it is taken over, with what came of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from core.errors import InputError
from core.ids import uuid7
from engine.control_workflows.begin import check_key, started_by
from engine.control_workflows.steering import Steered, checked_note, entry, in_transaction, locked, refuse, step_of
from engine.rules.reading import refuse_unstorable, shown
from engine.run_workflow.proceed import reassign
from engine.start_workflow import Start, check_context, start
from engine.store import actions, instance_rows, instances
from engine.workflows.replay import replay
from models.audit_actions import AuditAction
from models.enums import Role
from models.workflow_enums import StepStatus

if TYPE_CHECKING:
    from collections.abc import Mapping
    from uuid import UUID

    from engine.control_workflows.steering import Hand
    from engine.run_workflow.desk import Desk
    from engine.run_workflow.run import Run
    from engine.workflows.state import StepState

_MAX_DEPTH: Final = 16


def fork(
    hand: Hand,
    instance_id: UUID,
    step_id: str,
    *,
    patch: Mapping[str, Any] | None = None,
    note: str | None = None,
    idempotency_key: str | None = None,
) -> Steered:
    """Start a new instance of the same version that begins at `step_id`; the source, in any state, stays as it is.

    Steps that had ended and neither are `step_id` nor come after it are copied: status, input, output, times, way out.
    What had not ended then is done in the fork, too. `patch` is a JSON merge patch of the context: null removes a key.
    Raises NotFoundError, InputError for the patch or the key, ConflictError where the source never came to the step, or
    its template is not active.
    """
    check_key(idempotency_key)
    return _fork(hand, instance_id, step_id, _checked(patch), checked_note(note), idempotency_key)


def fork_once(hand: Hand, instance_id: UUID, step_id: str, *, note: str | None = None) -> Steered:
    """Fork an instance from its failed step; asked for again, that fork is returned. Raises as `fork` does."""
    return _fork(hand, instance_id, step_id, {}, checked_note(note), f"retry:{instance_id}:{step_id}")


def _fork(
    hand: Hand, instance_id: UUID, step_id: str, patch: Mapping[str, Any], note: str | None, idempotency_key: str | None
) -> Steered:
    def decide(desk: Desk) -> Steered:
        actions.require_role(desk.connection, Role.OPERATOR)
        source = locked(desk, instance_id)
        del desk.runs[instance_id]
        step_of(source, step_id)
        made, already = _start(desk, hand, source, patch, idempotency_key)
        if already:
            return Steered(made, locked(desk, made).state.status, already=True)
        run = locked(desk, made)
        _begin(desk, run, source, step_id)
        told = {"source": str(instance_id), "step": step_id, "note": note}
        desk.entries.append(entry(desk, run, AuditAction.INSTANCE_FORKED, **told))
        return Steered(made, run.state.status)

    return in_transaction(hand, decide)


def merged(target: Any, patch: Any) -> Any:
    """Return a JSON value with a merge patch (RFC 7396) applied."""
    if not isinstance(patch, dict):
        return patch
    base = target if isinstance(target, dict) else {}
    kept = {key: value for key, value in base.items() if key not in patch}
    return kept | {key: merged(base.get(key), value) for key, value in patch.items() if value is not None}


def _checked(patch: Mapping[str, Any] | None) -> Mapping[str, Any]:
    if patch is None:
        return {}
    if not isinstance(patch, dict):
        raise InputError.of("--context", "must be an object", "write {name: value}; null removes a name")
    refuse_unstorable(patch, "--context", _MAX_DEPTH)
    return patch


def _start(desk: Desk, hand: Hand, source: Run, patch: Mapping[str, Any], key: str | None) -> tuple[UUID, bool]:
    """Make the new instance, all of it still to be done, for a task that is never made: its steps get their own."""
    known = instances.contexts(desk.connection, desk.org_id, [source.instance_id])[source.instance_id]
    made = merged(known, patch)
    check_context(made, "--context")
    trigger, by = started_by(hand.context)
    wanted = Start(
        source.row.template_id,
        made,
        trigger,
        version=source.row.version,
        triggered_by=by,
        forked_from=source.instance_id,
        idempotency_key=key,
    )
    [started] = start(desk.connection, desk.org_id, [wanted], now=desk.now, task_id=uuid7(desk.now), counted=False)
    if not started.same:
        message = f"{shown(str(key))} was used for the run {started.instance_id}, with another context"
        raise refuse("--idempotency-key", message, "give a new key, or the context of the first time")
    desk.made[source.row.template_id] += 0 if started.already else 1
    return started.instance_id, started.already


def _begin(desk: Desk, run: Run, source: Run, step_id: str) -> None:
    """Take over what the source had done, and give what is to be done now to tasks."""
    again = {step_id} | run.definition.after(step_id)
    order = instance_rows.ended_steps(desk.connection, desk.org_id, source.instance_id)
    ended = {one: source.state.of(one) for one in order if one not in again}
    for outcome in replay(run.definition, ended)[1]:
        run.decide(outcome, desk.moment)
    if run.state.of(step_id).status is not StepStatus.QUEUED:
        raise _not_reached(run, step_id)
    copied = _copied(run, source, ended)
    instance_rows.copy_steps(desk.connection, desk.org_id, source.instance_id, run.instance_id, copied, now=desk.now)
    for one in run.definition.steps:
        if run.state.of(one).status is StepStatus.QUEUED:
            reassign(desk, run, one)


def _copied(run: Run, source: Run, ended: Mapping[str, StepState]) -> list[dict[str, Any]]:
    """Take the steps that are copied out of what is written of the run: they bring their columns along."""
    copied = []
    for step_id in [one for one, row in run.written.items() if ended.get(one) == run.state.of(one) and row]:
        row = run.written.pop(step_id)
        details = row["details"] | {"copied_from": str(source.instance_id)}
        copied.append({key: row[key] for key in ("step_id", "audit_id", "told")} | {"details": details})
    return copied


def _not_reached(run: Run, step_id: str) -> Exception:
    status = run.state.of(step_id).status
    if status is StepStatus.SKIPPED:
        remedy = "fork from a step before it, with a changed context"
        return refuse("--from", f"no way that the run took leads to {step_id}", remedy)
    sources = [one for one in run.definition.sources[step_id] if not run.state.of(one).resolved]
    message = f"the run never came to {step_id}: {', '.join(sources)} had not ended"
    return refuse("--from", message, "fork from a step that had begun")
