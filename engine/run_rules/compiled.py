"""A rule's row as the planner uses it: all that its version fixes is read and parsed once."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import timedelta
from decimal import Decimal
from functools import lru_cache, partial
from typing import TYPE_CHECKING, Any, Final

from core.errors import TransientError
from engine.actions.registry import ActionSpec, parse_actions
from engine.rules.closures import compile_tree, distance_of
from engine.rules.conditions import parse
from engine.rules.fields import fields_for
from engine.rules.guardrails import stored, strictest
from engine.rules.tree import Group, Logic, operands
from engine.rules.trust import Trust
from engine.run_rules.operands import Operands
from models.enums import EntityType, RuleStatus

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from datetime import date
    from uuid import UUID

    from sqlalchemy import Row

    from engine.rules.closures import Closures, Distance
    from engine.rules.guardrails import Guardrails
    from engine.rules.tree import Condition

RANKS: Final = {"critical": 0, "high": 1, "medium": 2, "low": 3}
_CACHED: Final = 10_240
"""Versions of rules that a process keeps, some 10 KB each: within what a worker's child may hold."""


@dataclass(frozen=True, slots=True)
class Program:
    """What a rule does: its tree, what the tree reads, and its actions."""

    condition: Condition
    operands: Operands
    actions: tuple[ActionSpec, ...]
    closures: Closures = field(init=False, repr=False, compare=False)
    """The condition's evaluation and trace."""
    _distance: list[Distance] = field(default_factory=list, init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "closures", compile_tree(self.condition))

    def distance(self, facts: Mapping[str, object], limit: float) -> float:
        """Return how far the condition is from holding; infinite for what is beyond the limit, or cannot be said.

        Few rules miss so many campaigns that it is asked for: made when it is, and kept.
        """
        if not self._distance:
            self._distance.append(distance_of(self.condition))
        return self._distance[0](facts, limit)


@dataclass(frozen=True, slots=True)
class Rule:
    """A locked rule: its program, its throttles and what they remember."""

    rule_id: UUID
    name: str
    version: int
    entity_id: UUID | None
    program: Program
    stop_on_error: bool
    rank: int
    status: str
    daily_limit: int | None
    cooldown_minutes: int
    guardrails: Guardrails
    trust: Trust
    delay: timedelta
    failures: int
    """Executions that failed since the last that did not."""
    acted_on: date | None
    acted_today: int
    event_type: str | None = None
    """The type of the events that trigger it; None = no event does."""
    about_event: bool = False
    """Whether it acts once on the event itself, and on no campaign."""


IDLE: Final = Program(Group(Logic.ANY, ()), Operands(), ())
"""Stands for the program of a rule that does not run and cannot be read either."""


@dataclass(slots=True)
class _Defined:
    """What a version fixes of a rule: its own guardrails, and how it is made of those that bind it and its memory."""

    guardrails: Guardrails
    make: Callable[..., Rule]
    made: tuple[Guardrails, Rule] | None = None
    """The rule as it was made last, and the org's guardrails then: few change between two evaluations."""


# By the numbers of org, rule and version, which never changes. The org is part of it: nothing of one tenant may ever be
# found by another, whatever ids the rows carry.
_DEFINED: Final[dict[tuple[int, int, int], _Defined]] = {}


def unread(org_id: UUID, rows: Iterable[Row[Any]]) -> list[UUID]:
    """Return those of the locked rules whose definitions this process has yet to read; the others will be there."""
    if len(_DEFINED) >= _CACHED:
        _DEFINED.clear()  # here and nowhere else: what was told to be there may not go before it is compiled
    return [row.rule_id for row in rows if _key(org_id, row) not in _DEFINED]


def compile_rule(org_id: UUID, row: Row[Any], definition: Row[Any] | None, org: Guardrails) -> Rule:
    """Return the rule of a locked row; raises InputError if what is stored cannot be parsed.

    `definition` is its row of `rules.definitions`, needed where it is `unread`; `org` are its org's guardrails.
    Raises TransientError where it was known and is not any more.
    """
    key = _key(org_id, row)
    defined = _DEFINED.get(key)
    if defined is None:
        if definition is None:  # another thread made room
            message = f"the definition of rule {row.rule_id} is gone"
            raise TransientError(message)
        defined = _define(definition, _program(definition))
        # The breaker's is the one version that is made while a task runs, and it may yet be rolled back: somebody else
        # then makes another of that number. It is none that is active.
        if row.status == RuleStatus.ACTIVE:
            _DEFINED[key] = defined
    return _made(defined, row, org)


def whole_rule(row: Row[Any], org: Guardrails) -> Rule:
    """Return the rule of a row with all columns, read anew: of one that need not be stored. Raises InputError."""
    return _made(_define(row, _program(row)), row, org)


def idle_rule(row: Row[Any], definition: Row[Any], org: Guardrails) -> Rule:
    """Return a rule that is not active with a program that does nothing; nothing is parsed."""
    return _made(_define(definition, IDLE), row, org)


def _key(org_id: UUID, row: Row[Any]) -> tuple[int, int, int]:
    return org_id.int, row.rule_id.int, row.version


def _made(defined: _Defined, row: Row[Any], org: Guardrails) -> Rule:
    memory = (row.failures_in_a_row, row.acted_on, row.acted_today)
    if defined.made is not None:
        under, rule = defined.made
        if under is org and (rule.failures, rule.acted_on, rule.acted_today) == memory:
            return rule
    failures, acted_on, acted_today = memory
    bounds = strictest(org, defined.guardrails)
    made = defined.make(guardrails=bounds, failures=failures, acted_on=acted_on, acted_today=acted_today)
    defined.made = (org, made)
    return made


def _define(row: Row[Any], program: Program) -> _Defined:
    make = partial(
        Rule,
        rule_id=row.rule_id,
        name=row.name,
        version=row.version,
        entity_id=row.entity_id,
        program=program,
        stop_on_error=row.stop_on_error,
        rank=RANKS[row.priority],
        status=row.status,
        daily_limit=row.max_executions_per_day,
        cooldown_minutes=row.cooldown_minutes,
        trust=_trust(row.min_sample, row.max_data_age),
        delay=timedelta(seconds=row.delay_between_actions_seconds),
        event_type=row.event_type,
        about_event=row.entity_type == EntityType.EVENT,
    )
    return _Defined(stored(row.guardrails), make)


def _program(row: Row[Any]) -> Program:
    condition = parse(row.conditions, row.condition_logic, known_fields=fields_for(row.trigger_type))
    read = sorted(operands(condition), key=lambda operand: operand.key)
    return Program(condition, _shared(Operands(read)), tuple(parse_actions(row.actions, "actions")))


@lru_cache(maxsize=1024)
def _shared(read: Operands) -> Operands:
    """Return the one that stands for all rules that read the same, by which their facts are known again."""
    return read


def _trust(min_sample: Mapping[str, Any] | None, max_data_age: int | None) -> Trust:
    samples = {metric: Decimal(str(least)) for metric, least in (min_sample or {}).items()}
    return Trust(samples, None if max_data_age is None else timedelta(seconds=max_data_age))
