"""Start a run of a workflow because a person, or a program in their name, asked."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from core.db import CLI_ACTOR, ENGINE_ACTOR
from core.errors import ConflictError, InputError
from core.waiting import until_found
from engine.control_workflows.steering import Steered, in_transaction
from engine.find import find_template
from engine.rules.reading import Problems, refuse_unstorable, shown
from engine.start_workflow import Start, check_context, start
from engine.store import actions, instance_lists
from models.enums import Role
from models.transitions import INSTANCE_ENDS
from models.workflow_enums import InstanceStatus, InstanceTrigger

if TYPE_CHECKING:
    from collections.abc import Mapping
    from uuid import UUID

    from core.db import Context
    from engine.control_workflows.steering import Hand
    from engine.run_workflow.desk import Desk

MAX_KEY: Final = 200
MAX_DEPTH: Final = 16
_OURS: Final = ("action:", "event:", "job:", "retry:", "step:")
"""How the keys of instances begin that the engine starts: nobody may take one before it does."""


def begin(
    hand: Hand,
    template: UUID | str,
    context: Mapping[str, Any],
    *,
    version: int | None = None,
    idempotency_key: str | None = None,
) -> Steered:
    """Start a run of one of the org's own active templates, by an operator or more; of the latest version by default.

    A key that was used before with the same context returns that run. Raises NotFoundError for the template or the
    version, InputError for the context or the key, ConflictError for a template that is not active, or for a key that
    was used with another context.
    """
    _check(context, idempotency_key)

    def decide(desk: Desk) -> Steered:
        actions.require_role(desk.connection, Role.OPERATOR)
        row = find_template(desk.connection, desk.org_id, template, "TEMPLATE")
        trigger, by = started_by(hand.context)
        wanted = Start(
            row.template_id, context, trigger, version=version, triggered_by=by, idempotency_key=idempotency_key
        )
        [started] = start(desk.connection, desk.org_id, [wanted], now=desk.now, sent=desk.sends)
        if started.task_id is not None:
            if started.sent:
                desk.send(started.task_id)
            else:
                desk.leaves = True
            return Steered(started.instance_id, InstanceStatus.PENDING)
        if not started.same:
            message = f"{shown(str(idempotency_key))} was used for the run {started.instance_id}, with another context"
            raise ConflictError.of("--idempotency-key", message, "give a new key, or the context of the first time")
        status = instance_lists.status(desk.connection, desk.org_id, started.instance_id)
        return Steered(started.instance_id, InstanceStatus(str(status)), already=True)

    return in_transaction(hand, decide)


def started_by(context: Context) -> tuple[InstanceTrigger, UUID | None]:
    """Return what it counts as that somebody starts a run, and the person who does; None = a program."""
    if context.user_id in {CLI_ACTOR, ENGINE_ACTOR}:
        return InstanceTrigger.API, None
    return InstanceTrigger.MANUAL, context.user_id


def wait(hand: Hand, instance_id: UUID, *, seconds: float) -> InstanceStatus | None:
    """Return how a run has ended; None if it has not after `seconds`."""

    def look() -> InstanceStatus | None:
        with hand.database.transaction(hand.context) as connection:
            found = instance_lists.status(connection, hand.context.org_id, instance_id)
        return InstanceStatus(str(found)) if found in INSTANCE_ENDS else None

    return until_found(look, seconds=seconds)


def check_key(key: str | None) -> None:
    """Raise InputError for an idempotency key that no person may give."""
    if key is None:
        return
    problems = Problems()
    try:
        refuse_unstorable(key, "--idempotency-key", 0)
    except InputError as error:
        problems.extend(error)
    if not 1 <= len(key) <= MAX_KEY:
        problems.add("--idempotency-key", f"has {len(key)} characters", f"give 1 to {MAX_KEY}")
    if key.startswith(_OURS):
        taken = f"begins with {key.partition(':')[0]}:, as keys of the engine do"
        problems.add("--idempotency-key", taken, "let it begin otherwise")
    problems.raise_if_any()


def _check(context: object, key: str | None) -> None:
    problems = Problems()
    try:
        refuse_unstorable(context, "--context", MAX_DEPTH)
        check_context(context, "--context")
    except InputError as error:
        problems.extend(error)
    try:
        check_key(key)
    except InputError as error:
        problems.extend(error)
    problems.raise_if_any()
