"""A rule as a person writes it: the JSON document of `cmis rules create`, with the column names of SPEC §2."""

from __future__ import annotations

from dataclasses import dataclass, fields
from enum import StrEnum
from typing import TYPE_CHECKING, Final, Generic, TypeVar

from core.errors import InputError
from engine.rules import event_terms, guardrails, trust
from engine.rules.conditions import LOGICS, parse
from engine.rules.fields import fields_for
from engine.rules.objects import ObjectReader
from engine.rules.reading import Problems, listed, refuse_unstorable, shown
from engine.rules.tree import Condition, Leaf, Logic, Operand, Operator

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from datetime import timedelta
    from decimal import Decimal
    from uuid import UUID

    from engine.rules.guardrails import Guardrails

A = TypeVar("A")

MAX_JSON_DEPTH: Final = 16  # RELIABILITY §7
MAX_ACTIONS: Final = 20
MAX_NAME: Final = 200
MAX_DESCRIPTION: Final = 2_000
MAX_RULE_TYPE: Final = 50
MAX_COOLDOWN_MINUTES: Final = 525_600  # a year
MAX_DAILY_LIMIT: Final = 1_000_000
MAX_DELAY_SECONDS: Final = 86_400  # a day


class EntityType(StrEnum):
    """What a rule reads and changes."""

    CAMPAIGN = "campaign"
    EVENT = "event"


class TriggerType(StrEnum):
    """What starts an evaluation."""

    SCHEDULE = "schedule"
    EVENT = "event"
    MANUAL = "manual"


class ConditionLogic(StrEnum):
    """How a list of conditions is joined."""

    AND = "and"
    OR = "or"


class Priority(StrEnum):
    """Within a run rules apply by priority, then by id."""

    LOW = "low"
    MEDIUM = "medium"
    HIGH = "high"
    CRITICAL = "critical"


class InitialStatus(StrEnum):
    """The statuses that a rule may be created with; `archived` is reached later."""

    DRAFT = "draft"
    ACTIVE = "active"
    PAUSED = "paused"


@dataclass(frozen=True, slots=True)
class RuleDefinition(Generic[A]):
    """A valid rule, its actions of the type that the injected action parser returns."""

    name: str
    description: str | None
    rule_type: str
    entity_type: EntityType
    entity_id: UUID | None
    trigger_type: TriggerType
    event_type: str | None
    """The type of the events that trigger it; of rules with that trigger only."""
    conditions: Condition
    condition_logic: ConditionLogic
    actions: tuple[A, ...]
    stop_on_error: bool
    priority: Priority
    status: InitialStatus
    max_executions_per_day: int | None
    cooldown_minutes: int
    guardrails: Guardrails
    min_sample: Mapping[str, Decimal] | None
    max_data_age: timedelta | None
    delay_between_actions_seconds: int


_KEYS: Final = tuple(column.name for column in fields(RuleDefinition))
_PLACEHOLDER: Final = Leaf(Operand(""), Operator.IS_NULL)  # for conditions that are wrong: the rule is thrown away


def parse_rule(document: object, *, parse_actions: Callable[[object, str], Sequence[A]]) -> RuleDefinition[A]:
    """Return the rule, or raise InputError with every problem and its path.

    `parse_actions` gets the list of 1 to 20 actions and its path, and raises InputError with all that is wrong;
    it is injected so that the rule language stays below the actions.
    """
    if not isinstance(document, dict):
        raise InputError.of("", f"a rule must be an object, not {shown(document)}", f"allowed keys: {listed(_KEYS)}")
    refuse_unstorable(document, "", MAX_JSON_DEPTH)
    problems = Problems()
    problems.refuse_unknown_keys(document, _KEYS, "")
    definition = _read(document, problems, parse_actions)
    event_terms.check(definition, problems)
    problems.raise_if_any()
    return definition


def _read(
    document: Mapping[object, object],
    problems: Problems,
    parse_actions: Callable[[object, str], Sequence[A]],
) -> RuleDefinition[A]:
    reader = ObjectReader(document, problems)
    logic = _logic(document.get("condition_logic", "and"), problems)
    trigger = reader.choice("trigger_type", TriggerType.SCHEDULE)
    return RuleDefinition(
        name=reader.required_text("name", MAX_NAME),
        description=reader.optional_text("description", MAX_DESCRIPTION),
        rule_type=reader.text("rule_type", "performance", MAX_RULE_TYPE),
        entity_type=reader.choice("entity_type", EntityType.CAMPAIGN),
        entity_id=reader.optional_uuid("entity_id"),
        trigger_type=trigger,
        event_type=event_terms.read_type(document.get("event_type"), trigger, problems),
        conditions=_conditions(reader, logic, trigger, problems),
        condition_logic=logic,
        actions=_actions(reader, problems, parse_actions),
        stop_on_error=reader.boolean("stop_on_error", default=False),
        priority=reader.choice("priority", Priority.MEDIUM),
        status=reader.choice("status", InitialStatus.DRAFT),
        max_executions_per_day=reader.optional_integer("max_executions_per_day", 1, MAX_DAILY_LIMIT),
        cooldown_minutes=reader.integer("cooldown_minutes", 60, 0, MAX_COOLDOWN_MINUTES),
        guardrails=guardrails.read(document.get("guardrails"), problems),
        min_sample=trust.read_min_sample(document.get("min_sample"), problems),
        max_data_age=trust.read_max_data_age(document.get("max_data_age"), problems),
        delay_between_actions_seconds=reader.integer("delay_between_actions_seconds", 0, 0, MAX_DELAY_SECONDS),
    )


def _logic(value: object, problems: Problems) -> ConditionLogic:
    logic = LOGICS.get(value) if isinstance(value, str) else None
    if logic is None:
        problems.add("condition_logic", f"cannot be {shown(value)}", f"allowed: {listed(LOGICS)}")
    return ConditionLogic.OR if logic is Logic.ANY else ConditionLogic.AND


def _conditions(reader: ObjectReader, logic: ConditionLogic, trigger: TriggerType, problems: Problems) -> Condition:
    document = reader.required("conditions")
    if document is not None:
        try:
            return parse(document, logic, known_fields=fields_for(trigger))
        except InputError as error:
            problems.extend(error)
    return _PLACEHOLDER


def _actions(
    reader: ObjectReader, problems: Problems, parse_actions: Callable[[object, str], Sequence[A]]
) -> tuple[A, ...]:
    document = reader.required("actions")
    if document is None:
        return ()
    if not isinstance(document, list) or not 1 <= len(document) <= MAX_ACTIONS:
        found = f"{len(document)} of them" if isinstance(document, list) else shown(document)
        problems.add("actions", f"must be a list of 1 to {MAX_ACTIONS} actions, not {found}", "write [{type, params}]")
        return ()
    try:
        return tuple(parse_actions(document, "actions"))
    except InputError as error:
        problems.extend(error)
        return ()
