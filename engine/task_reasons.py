"""Why a task is not done yet, or how it ended, in plain sentences: decided from what is known of it. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from models.enums import TaskKind, TaskState

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from datetime import datetime

AHEAD_COUNTED: Final = 1_000
"""Up to how many tasks that stand before another one are counted."""
_STEPS_SHOWN: Final = 5


@dataclass(frozen=True, slots=True)
class Fleet:
    """Which processes were alive a moment ago, as their heartbeats say."""

    schedulers: int
    workers: int
    """Those that serve the task's queue."""


@dataclass(frozen=True, slots=True)
class Facts:
    """What is known of a task. What could not be found out is None."""

    task: Any
    """Its row, with what `task_lists.facts` adds."""
    queue_cap: int
    """Messages that wait in a queue of the broker at which no further ones are sent."""
    in_flight: int = 0
    """Tasks of its org in its queue that are published or running, counted up to the cap."""
    org_cap: int | None = None
    """How many of these there may be; None = nothing binds who it is of."""
    messages: int | None = None
    """Messages that wait in its queue."""
    fleet: Fleet | None = None
    shared: bool = False
    """Whether it carries evaluations of other orgs, too."""
    ahead: int = 0
    """Its org's tasks that schedulers send before it, counted up to `AHEAD_COUNTED`."""


@dataclass(frozen=True, slots=True)
class Reason:
    """One thing that a task waits for, or that ended it; `until`: when that is over, if anybody knows."""

    code: str
    message: str
    until: datetime | None = None


def reasons(facts: Facts) -> list[Reason]:
    """Return why a task is not done, what holds it back most first; at least one."""
    match TaskState(facts.task.state):
        case TaskState.HELD:
            return [_held(facts)]
        case TaskState.READY:
            return [*_ready(facts), *_besides(facts)]
        case TaskState.RUNNING:
            return list(_running(facts))
        case _:
            return list(_ended(facts))


def _held(facts: Facts) -> Reason:
    task = facts.task
    if task.before is not None:
        before = f"{task.before['task_id']}, which is {task.before['state']}"
        return Reason("held_before", f"It waits for the task before it in its rule's list of actions: {before}.")
    paused = [one for one in task.instances or () if one["status"] == "paused"]
    if paused:
        [one, *_] = paused
        note = f" ({one['note']})" if one["note"] else ""
        return Reason(
            "instance_paused",
            f"Its run {one['instance_id']} of a workflow is paused{note}: `cmis workflows resume` lets it go on.",
        )
    return Reason("held", "It waits for another task, which is about to release it.")


def _ready(facts: Facts) -> Iterator[Reason]:
    task = facts.task
    if task.cancel_requested:
        yield Reason("cancel_requested", "Somebody wants it to stop: no worker begins it any more.")
    if task.attempt >= task.max_attempts:
        yield Reason("used_up", f"All of its {task.max_attempts} attempts are used up: no worker begins it any more.")
    elif task.run_at > facts.task.now:
        yield _not_due(facts)
    else:
        yield from _due(facts)


def _not_due(facts: Facts) -> Reason:
    task = facts.task
    waits = _waiting_steps(task.steps or ())
    if task.effect is not None and task.effect["waits_for"] is not None:
        return Reason("waits_for", f"{_sentence(task.effect['waits_for'])} It asks again then.", task.run_at)
    if task.kind == TaskKind.RUN_WORKFLOW and waits:
        return Reason("step_waits", f"{waits} This task looks after it then.", task.run_at)
    if task.attempt > 0 and task.error is not None:
        tried = f"Attempt {task.attempt} of {task.max_attempts} failed ({_told(facts)})"
        return Reason("retry", f"{tried}; the next one is made after a pause.", task.run_at)
    if task.kind == TaskKind.APPLY_ACTIONS:
        return Reason("delay", "The delay between its rule's actions is not over.", task.run_at)
    return Reason("not_due", "It is planned for later.", task.run_at)


def _waiting_steps(steps: Sequence[Mapping[str, Any]]) -> str:
    """Say what the steps that were given to the task wait for."""
    said = [
        f"step {step['step_id']} of run {step['instance_id']} waits for {_awaited(step)}"
        for step in steps
        if step["status"] in {"waiting", "retrying"}
    ]
    more = f", and {len(said) - _STEPS_SHOWN} more" if len(said) > _STEPS_SHOWN else ""
    return _sentence("; ".join(said[:_STEPS_SHOWN]) + more) if said else ""


def _awaited(step: Mapping[str, Any]) -> str:
    if step["status"] == "retrying":
        return "its next attempt"
    named = {
        "approval": "a person's answer (`cmis workflows approve`)",
        "event": f"the event {step['event_type']}",
        "effect": "a delivery, or what a guardrail holds (`cmis actions list`)",
        "instance": "another run of a workflow",
        "delay": "its delay to be over",
    }
    return named.get(step["waits_for"], str(step["waits_for"]))


def _due(facts: Facts) -> Iterator[Reason]:
    sent, full = _sent(facts), _full(facts)
    if sent is not None:
        yield sent
        return
    if full is not None:
        yield full
    if facts.ahead:
        yield _turn(facts)
    elif full is None:
        yield Reason("unpublished", "It is ready: a scheduler's next pass sends its message.")


def _sent(facts: Facts) -> Reason | None:
    task, messages = facts.task, facts.messages
    if task.publish_at > task.now and task.delivery > 0:
        queue = "" if messages is None else f"; {messages} messages wait there now"
        said = f"It is ready, and its message was sent {_times(task.delivery)}, last to the queue {task.queue}{queue}."
        return Reason("published", f"{said} If nobody takes it, it is sent again.", task.publish_at)
    if task.publish_at > task.now:
        said = "It is ready; who made it has sent its first message, or does the work itself."
        return Reason("first_message", f"{said} Otherwise a scheduler sends one.", task.publish_at)
    return None


def _full(facts: Facts) -> Reason | None:
    task, messages = facts.task, facts.messages
    if messages is not None and messages >= facts.queue_cap:
        said = f"It is ready, but the queue {task.queue} of the broker is full: {messages} messages wait there"
        return Reason(
            "queue_full", f"{said}, and {facts.queue_cap} are the most. Its message is sent when there is room."
        )
    if facts.org_cap is not None and facts.in_flight >= facts.org_cap:
        said = f"It is ready, but its org has {facts.org_cap} tasks of the queue {task.queue} sent or running already"
        return Reason("org_capped", f"{said}, which is its cap there. Its message is sent when one of these ends.")
    return None


def _turn(facts: Facts) -> Reason:
    """Say how many tasks of its org go first: what is more urgent, or has waited for longer."""
    stand = "stands" if facts.ahead == 1 else "stand"
    many = f"at least {AHEAD_COUNTED:,}" if facts.ahead >= AHEAD_COUNTED else f"about {facts.ahead}"
    said = f"It is ready, and {many} of its org's tasks {stand} before it in the queue {facts.task.queue}"
    return Reason("turn", f"{said}; orgs take turns there, and it is sent when these have been.")


def _besides(facts: Facts) -> Iterator[Reason]:
    """Yield what holds back anything that is due."""
    task = facts.task
    if task.run_at > task.now:
        return
    if facts.fleet is not None and facts.fleet.schedulers == 0:
        yield Reason("no_scheduler", "No scheduler is alive that could send its message: start one.")
    if facts.fleet is not None and facts.fleet.workers == 0:
        yield Reason("no_worker", f"No worker serves the queue {task.queue}: start one with `-Q {task.queue}`.")
    if facts.shared:
        yield Reason("shared", "It carries evaluations of other orgs, too: small remainders share a task.")


def _running(facts: Facts) -> Iterator[Reason]:
    task = facts.task
    attempt = f"attempt {task.attempt} of {task.max_attempts}"
    if task.lease_left > 0:
        yield Reason("running", f"The worker {task.lease_owner} is at it: {attempt}.", task.lease_expires_at)
    else:
        said = f"The worker {task.lease_owner} has not been heard of for {-task.lease_left:.0f} s after its lease ended"
        yield Reason("lease_expired", f"{said} ({attempt}): a scheduler takes the task from it with its next pass.")
        if facts.fleet is not None and facts.fleet.schedulers == 0:
            yield Reason("no_scheduler", "No scheduler is alive that could do so: start one.")
    if task.cancel_requested:
        yield Reason(
            "cancel_requested", "Somebody wants it to stop: it is cancelled when its worker stops, or its lease ends."
        )


def _ended(facts: Facts) -> Iterator[Reason]:
    task = facts.task
    told = "" if task.error is None else f": {_told(facts)}"
    match TaskState(task.state):
        case TaskState.SUCCEEDED:
            yield Reason("succeeded", "It is done.")
        case TaskState.CANCELLED if task.result is not None and "split" in task.result:
            yield Reason("split", "It was taken apart: each part of its work became a task of its own.")
        case TaskState.CANCELLED:
            yield Reason("cancelled", f"It was cancelled{told}.")
        case TaskState.DEAD:
            yield Reason("dead", f"It used up its {task.attempt} attempts, since its workers died{told}.")
        case _:
            yield Reason("failed", f"It failed for good at attempt {task.attempt}{told}.")
    if task.state not in {TaskState.FAILED, TaskState.DEAD}:
        return
    if task.handled_at is None:
        yield Reason("dead_letter", "Nobody has dealt with it: `cmis tasks retry` or `cmis tasks discard` does.")
    else:
        again = "" if task.retried_as is None else f", as the task {task.retried_as}"
        note = f": {task.handled_note}" if task.handled_note else ""
        yield Reason("handled", f"It was {task.handled_as} at {task.handled_at:%Y-%m-%d %H:%M:%S} UTC{again}{note}.")


def _told(facts: Facts) -> str:
    """Return what a task's error says; of one that orgs share its message may tell of any of them."""
    told = ("code",) if facts.shared else ("code", "message")
    return ": ".join(str(facts.task.error[key]) for key in told if facts.task.error.get(key))


def _sentence(text: str) -> str:
    return f"{text[:1].upper()}{text[1:]}" + ("" if text.endswith(".") else ".")


def _times(count: int) -> str:
    return "once" if count == 1 else f"{count} times"
