"""Execute one step: what each type of step does when its turn has come. Nothing here decides what follows."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final
from uuid import UUID

from core.errors import NotFoundError, PermanentError
from engine import published
from engine.actions.start_workflow import MAX_CHAIN
from engine.callables.base import Call
from engine.callables.outcome import run_here
from engine.callables.registry import CALLABLES
from engine.find import find_template
from engine.run_workflow import effects
from engine.run_workflow.acting import Acting
from engine.run_workflow.came import Apart, Broke, Done, Waits, called
from engine.schedule.business import BusinessHours
from engine.schedule.zones import zone
from engine.start_workflow import Start, start
from engine.store import events, notifications, orgs, startable
from engine.workflows import correlation, deciding, timing, weights
from engine.workflows.definition import ALL_BRANCHES
from engine.workflows.resolving import resolved
from models.workflow_enums import InstanceTrigger, StepType

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from engine.run_workflow.came import Result
    from engine.run_workflow.run import Run
    from engine.run_workflow.turn import Turn
    from engine.workflows.definition import Step

CALL_SECONDS: Final = 60.0
"""How long an attempt of a callable may take whose step says nothing."""


@dataclass(frozen=True, slots=True)
class Executing:
    """A step that is executed: the attempt that this is, and what it sees."""

    turn: Turn
    run: Run
    step: Step
    values: Mapping[str, Any]
    attempt: int

    def resolved(self, node: Any) -> Any:
        """Return a part of the config with values in the place of its references."""
        return resolved(node, self.values)


def execute(executing: Executing) -> tuple[Result, Mapping[str, Any] | None]:
    """Execute a step as far as it can be within the transaction; returns what it came to, and its input."""
    return _BY_TYPE[executing.step.type](executing)


def _action(executing: Executing) -> tuple[Result, Mapping[str, Any]]:
    config, run, turn = executing.step.config, executing.run, executing.turn
    if "callable" in config:
        return _callable(executing)
    params = executing.resolved(config["params"])
    campaign = executing.resolved(config["campaign"])
    acting = Acting(
        org_id=run.org_id,
        instance_id=run.instance_id,
        step_id=executing.step.id,
        template_id=run.row.template_id,
        task_id=turn.task_id,
        attempt=executing.attempt,
        kind=config["action"],
        params=params,
        campaign=campaign,
        values=executing.values,
        retry=executing.step.retry,
        written=config["params"],
        requested_by=run.row.triggered_by,
    )
    given = {"action": config["action"], "params": params} | ({} if campaign is None else {"campaign": campaign})
    return _came(effects.act(turn.connection, acting, now=turn.now)), given


def _came(acted: effects.Did | effects.Waits) -> Result:
    match acted:
        case effects.Did(output=output):
            return Done(output)
        case effects.Waits(action_id=action_id):
            return Waits("effect", columns={"action_id": action_id})


def _callable(executing: Executing) -> tuple[Result, Mapping[str, Any]]:
    config, run, step = executing.step.config, executing.run, executing.step
    params = executing.resolved(config["params"])
    given = {"callable": config["callable"], "params": params}
    registered = CALLABLES.get(config["callable"])
    if registered is None:
        message = f"the callable {config['callable']} is not known here: install the package that brings it"
        return Broke("UNKNOWN_CALLABLE", message, "permanent"), given
    timeout = step.timeout_seconds or CALL_SECONDS
    call = Call(
        org_id=str(run.org_id),
        instance_id=str(run.about["id"]),
        step_id=step.id,
        attempt=executing.attempt,
        params=params,
        context=executing.turn.context(run),
        deadline=timeout,
    )
    if not registered.internal or step.timeout_seconds is not None:
        return Apart(registered, call, timeout), given
    returned = run_here(registered, call)
    return called(returned), given


def _condition(executing: Executing) -> tuple[Result, None]:
    has_unknown = "unknown" in executing.step.edges
    branch, trace = deciding.branch(executing.step.config, executing.values, has_unknown=has_unknown)
    return Done({"branch": branch, **trace}, branch), None


def _delay(executing: Executing) -> tuple[Result, Mapping[str, Any]]:
    turn, config = executing.turn, executing.step.config
    tz, hours = zone("UTC"), BusinessHours.DEFAULT
    if config["business_hours"]:
        org = orgs.moment(turn.connection, turn.org_id)
        tz, hours = zone(org.timezone), BusinessHours.stored(org.business_hours)
    until = timing.wakes_at(config, executing.values, now=turn.now, tz=tz, hours=hours)
    given = {"until": until.isoformat()}
    return (Done(given) if until <= turn.now else Waits("delay", until)), given


def _split(executing: Executing) -> tuple[Result, None]:
    config = executing.step.config
    if config["mode"] == "parallel":
        return Done(None, ALL_BRANCHES), None
    branch = weights.chosen(config["weights"], executing.run.instance_id, executing.step.id)
    return Done({"branch": branch, "step": executing.step.edges[branch]}, branch), None


def _merge(executing: Executing) -> tuple[Result, None]:
    state = executing.run.state
    steps = executing.run.definition.steps
    taken = [
        source
        for source in executing.run.definition.sources[executing.step.id]
        if executing.step.id in steps[source].taken(state.of(source).branch)
    ]
    return Done({"taken": taken}), None


def _wait_for_event(executing: Executing) -> tuple[Result, Mapping[str, Any]]:
    turn, run, config = executing.turn, executing.run, executing.step.config
    event_type, key = config["event_type"], None
    given: dict[str, Any] = {"event_type": event_type}
    if config["field"] is not None:
        value = executing.resolved(config["value"])
        key = correlation.key(config["field"], value)
        given |= {"field": config["field"], "value": value}
    # No event can slip through between the look for those that came already and the commit that says who waits.
    events.lock_type(turn.connection, turn.org_id, event_type, exclusive=True)
    since = run.row.created_at
    found = events.awaited(turn.connection, turn.org_id, run.instance_id, event_type, key, since, taken=_taken(run))
    if found is not None:
        return Done(told(found)), given
    columns = {"event_type": event_type, "correlation": key}
    return Waits("event", _until(turn, config), columns), given


def _taken(run: Run) -> list[UUID]:
    """Return the events that steps of an instance took, as far as that may not be written yet."""
    steps = run.definition.steps
    outputs = [out for step_id, out in run.outputs.items() if steps[step_id].type is StepType.WAIT_FOR_EVENT]
    return [UUID(output["event"]["id"]) for output in outputs if output and "event" in output]


def told(event: Any) -> dict[str, Any]:
    """Return the output of a step that waited for an event."""
    return {"event": {"id": str(event.event_id), "type": event.type, "payload": event.payload}}


def _approval(executing: Executing) -> tuple[Result, Mapping[str, Any]]:
    turn, run, config = executing.turn, executing.run, executing.step.config
    title, message = executing.resolved(config["title"]), executing.resolved(config["message"])
    body = f"{message or title}\n\nAnswer with: cmis workflows approve {run.instance_id} {executing.step.id}"
    notifications.tell(
        turn.connection, turn.org_id, [{"title": f"To approve: {title}"[:200], "body": body}], now=turn.now
    )
    given = {"title": title, "message": message, "role": config["role"]}
    return Waits("approval", _until(turn, config)), given


def _subworkflow(executing: Executing) -> tuple[Result, Mapping[str, Any]]:
    turn, run, config = executing.turn, executing.run, executing.step.config
    context = executing.resolved(config["context"])
    given = {"template": config["template"], "context": context}
    if startable.depth(turn.connection, turn.org_id, run.instance_id, most=MAX_CHAIN) >= MAX_CHAIN:
        raise PermanentError(f"workflows have started one another {MAX_CHAIN} times: that goes no further")
    try:
        template = find_template(turn.connection, turn.org_id, config["template"], "template")
    except NotFoundError as error:
        raise PermanentError(str(error)) from error
    child = Start(
        template.template_id,
        context,
        InstanceTrigger.API,
        version=config["version"],
        triggered_by=run.row.triggered_by,
        # also of one that is not waited for: a chain of starts has an end
        parent_instance_id=run.instance_id,
        parent_step_id=executing.step.id,
        timeout_seconds=_child_seconds(executing, template) if config["wait"] else None,
        idempotency_key=f"step:{run.instance_id}:{executing.step.id}:{executing.attempt}",
    )
    [started] = start(turn.connection, turn.org_id, [child], now=turn.now, sent=True, counted=False)
    if started.task_id is not None:
        turn.made[template.template_id] += 1
        if started.sent:
            turn.send(started.task_id)
    if not config["wait"]:
        return Done({"instance_id": str(started.instance_id)}), given
    return Waits("instance", columns={"child_instance_id": started.instance_id}), given


def _child_seconds(executing: Executing, template: Any) -> float | None:
    """Return how long an attempt's child may take: as the step says, but not longer than its own definition does.

    None = what that says alone holds.
    """
    version, seconds = executing.step.config["version"] or template.version, executing.step.timeout_seconds
    if seconds is None or version is None:
        return None
    turn = executing.turn
    own = published.definition(turn.connection, turn.org_id, template.template_id, version).timeout_seconds
    return seconds if own is None else min(seconds, own)


def _until(turn: Turn, config: Mapping[str, Any]) -> Any:
    seconds = config["timeout_seconds"]
    return None if seconds is None else turn.now + timedelta(seconds=seconds)


_BY_TYPE: Final[Mapping[StepType, Callable[[Executing], tuple[Result, Mapping[str, Any] | None]]]] = {
    StepType.ACTION: _action,
    StepType.CONDITION: _condition,
    StepType.DELAY: _delay,
    StepType.SPLIT: _split,
    StepType.MERGE: _merge,
    StepType.WAIT_FOR_EVENT: _wait_for_event,
    StepType.APPROVAL: _approval,
    StepType.SUBWORKFLOW: _subworkflow,
}
