"""Try a rule without effect: the worker's own evaluation, in a transaction that is rolled back at its end.

What the evaluation would have recorded is read before the rollback. Nothing of it is ever visible to anyone else.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from core import clock
from core.db import ENGINE_ACTOR, Context, repeat_on_conflict, switch
from core.errors import TransientError
from core.ids import uuid7
from engine import chunk
from engine.define import insert_rule
from engine.find import find_campaign, find_rule
from engine.rule_document import refuse_event_rule
from engine.run_rules.ended import Carrier, error_document
from engine.run_rules.group import Wave, run_wave
from engine.store import executions
from models.enums import RuleStatus, TriggerType

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from uuid import UUID

    from sqlalchemy import Connection, Row

    from core.db import Database


@dataclass(frozen=True, slots=True)
class DryRun:
    """What an evaluation would record if it ran now: the rule, its execution, and each effect in its order."""

    rule: Row[Any]
    execution: Row[Any]
    actions: Sequence[Row[Any]]
    as_if_active: bool
    """Whether the rule is not active, and was tried as if it were."""


def try_rule(database: Database, context: Context, reference: UUID | str, *, entity: str | None = None) -> DryRun:
    """Evaluate a stored rule as a worker would now, and keep nothing of it.

    A rule that is not active is tried as if it were. With `entity`, a campaign's id or exact name, it looks at that
    one alone. Raises NotFoundError, and TransientError where a worker would try again later.
    """

    def body(connection: Connection) -> DryRun:
        rule = find_rule(connection, context.org_id, reference)
        return _try(connection, context, rule, entity)

    return _rehearse(database, context, body)


def try_document(database: Database, context: Context, document: object, *, entity: str | None = None) -> DryRun:
    """Evaluate a rule that is not stored, as `try_rule` does; raises InputError with every problem of the document."""

    def body(connection: Connection) -> DryRun:
        return _try(connection, context, insert_rule(connection, context, document), entity)

    return _rehearse(database, context, body)


def evaluate_in(
    connection: Connection, context: Context, rule: Row[Any], *, only: UUID | None, as_if_active: bool
) -> DryRun:
    """Evaluate a rule in the caller's rehearsal, which now acts as the engine; the caller rolls it back."""
    org_id = context.org_id
    switch(connection, Context(org_id, ENGINE_ACTOR))
    now = clock.now(connection)
    by_hand = TriggerType.MANUAL.value
    item = chunk.Item(rule.rule_id, uuid7(now), by_hand, requested_by=context.user_id, campaign_id=only)
    carrier = Carrier(org_id, uuid7(now), 1)
    unfinished = run_wave(connection, Wave(carrier, [item], now, _always_ours, as_if_active))
    for passing in unfinished:
        said = error_document(passing.error)["message"]
        raise TransientError(f"the rule cannot be tried at the moment: {said}") from passing.error
    execution = executions.get(connection, org_id, item.execution_id)
    if execution is None:
        raise LookupError("an evaluation that finished left no execution")
    actions = executions.actions_of(connection, org_id, item.execution_id)
    return DryRun(rule, execution, actions, as_if_active)


def _try(connection: Connection, context: Context, rule: Row[Any], entity: str | None) -> DryRun:
    refuse_event_rule(rule.trigger_type, "rule", "tried without one")
    only = None if entity is None else find_campaign(connection, context.org_id, entity, "entity").campaign_id
    return evaluate_in(connection, context, rule, only=only, as_if_active=rule.status != RuleStatus.ACTIVE)


def _rehearse(database: Database, context: Context, body: Callable[[Connection], DryRun]) -> DryRun:
    def once() -> DryRun:
        with database.rehearsal(context) as connection:
            return body(connection)

    return repeat_on_conflict(once)


def _always_ours() -> None:
    """Nobody can take over what no task carries."""
