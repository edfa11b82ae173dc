"""A rule's row as the planner uses it: its conditions and actions parsed once per version."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import timedelta
from decimal import Decimal
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final

from engine.actions.registry import ActionSpec, parse_actions
from engine.rules.conditions import parse
from engine.rules.guardrails import stored, strictest
from engine.rules.tree import Group, Logic, operands
from engine.rules.trust import Trust

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import date
    from uuid import UUID

    from sqlalchemy import Row

    from engine.rules.guardrails import Guardrails
    from engine.rules.tree import Condition, Operand

RANKS: Final = {"critical": 0, "high": 1, "medium": 2, "low": 3}
_CACHED: Final = 4096


@dataclass(frozen=True, slots=True)
class Program:
    """What a rule does: its tree, what the tree reads, and its actions."""

    condition: Condition
    operands: tuple[Operand, ...]
    actions: tuple[ActionSpec, ...]


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


@dataclass(frozen=True, slots=True)
class _Source:
    """Identity of a program (a version never changes) and, beside it, the text to parse.

    The org is part of it: nothing of one tenant may ever be found by another, whatever ids the rows carry.
    """

    org_id: UUID
    rule_id: UUID
    version: int
    conditions: Any = field(compare=False)
    logic: str = field(compare=False)
    actions: Any = field(compare=False)


IDLE: Final = Program(Group(Logic.ANY, ()), (), ())
"""Stands for the program of a rule that does not run and cannot be read either."""


def compile_rule(row: Row[Any], org_guardrails: Mapping[str, Any], program: Program | None = None) -> Rule:
    """Return the rule of a locked row; raises InputError if what is stored cannot be parsed.

    With `program` that one is taken, and nothing is parsed.
    """
    return Rule(
        rule_id=row.rule_id,
        name=row.name,
        version=row.version,
        entity_id=row.entity_id,
        program=program
        or _program(_Source(row.org_id, row.rule_id, row.version, row.conditions, row.condition_logic, row.actions)),
        stop_on_error=row.stop_on_error,
        rank=RANKS[row.priority],
        status=row.status,
        daily_limit=row.max_executions_per_day,
        cooldown_minutes=row.cooldown_minutes,
        guardrails=strictest(stored(org_guardrails), stored(row.guardrails)),
        trust=_trust(row.min_sample, row.max_data_age),
        delay=timedelta(seconds=row.delay_between_actions_seconds),
        failures=row.failures_in_a_row,
        acted_on=row.acted_on,
        acted_today=row.acted_today,
    )


@lru_cache(maxsize=_CACHED)
def _program(source: _Source) -> Program:
    condition = parse(source.conditions, source.logic)
    read = sorted(operands(condition), key=lambda operand: operand.key)
    return Program(condition, tuple(read), tuple(parse_actions(source.actions, "actions")))


def _trust(min_sample: Mapping[str, Any] | None, max_data_age: int | None) -> Trust:
    samples = {metric: Decimal(str(least)) for metric, least in (min_sample or {}).items()}
    return Trust(samples, None if max_data_age is None else timedelta(seconds=max_data_age))
