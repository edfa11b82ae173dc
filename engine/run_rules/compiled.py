"""A rule's row as the planner uses it: its conditions and actions parsed once per version."""

from __future__ import annotations

from dataclasses import dataclass, field
from decimal import Decimal
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final

from engine.actions.registry import ActionSpec, parse_actions
from engine.rules.conditions import parse
from engine.rules.tree import operands

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import date
    from uuid import UUID

    from sqlalchemy import Row

    from engine.rules.tree import Condition, Operand

DEFAULT_FLOOR: Final = Decimal(10)  # SPEC §3, guardrails
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
    budget_floor: Decimal
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


def compile_rule(row: Row[Any], org_guardrails: Mapping[str, Any]) -> Rule:
    """Return the rule of a locked row; raises InputError if what is stored cannot be parsed."""
    return Rule(
        rule_id=row.rule_id,
        name=row.name,
        version=row.version,
        entity_id=row.entity_id,
        program=_program(
            _Source(row.org_id, row.rule_id, row.version, row.conditions, row.condition_logic, row.actions)
        ),
        stop_on_error=row.stop_on_error,
        rank=RANKS[row.priority],
        status=row.status,
        daily_limit=row.max_executions_per_day,
        cooldown_minutes=row.cooldown_minutes,
        budget_floor=_floor(row.guardrails, org_guardrails),
        acted_on=row.acted_on,
        acted_today=row.acted_today,
    )


@lru_cache(maxsize=_CACHED)
def _program(source: _Source) -> Program:
    condition = parse(source.conditions, source.logic)
    read = sorted(operands(condition), key=lambda operand: operand.key)
    return Program(condition, tuple(read), tuple(parse_actions(source.actions, "actions")))


def _floor(*guardrails: Mapping[str, Any]) -> Decimal:
    """Return the first floor that is set: the rule's, then the org's, then the product's."""
    for level in guardrails:
        if level.get("budget_floor") is not None:
            return Decimal(str(level["budget_floor"]))
    return DEFAULT_FLOOR
