"""The condition tree as types: what `conditions.parse` makes and `evaluate` reads.

A tree that exists is valid. Numbers are Decimal, so that a boundary in money is exact.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Iterator

    from engine.rules.windows import Window


class Operator(StrEnum):
    """How a leaf compares; `==` is read as `=`."""

    GREATER = ">"
    AT_LEAST = ">="
    LESS = "<"
    AT_MOST = "<="
    EQUAL = "="
    NOT_EQUAL = "!="
    BETWEEN = "between"
    IN = "in"
    NOT_IN = "not_in"
    CONTAINS = "contains"
    NOT_CONTAINS = "not_contains"
    STARTS_WITH = "starts_with"
    ENDS_WITH = "ends_with"
    IS_NULL = "is_null"
    IS_NOT_NULL = "is_not_null"
    CHANGED_PCT = "changed_pct"


class Logic(StrEnum):
    """How a group joins its nodes; `none` is not(any)."""

    ALL = "all"
    ANY = "any"
    NONE = "none"


Quantity: TypeAlias = "tuple[str, Window | None, bool]"


@dataclass(frozen=True, slots=True)
class Operand:
    """One value to look up: a field, with the window that it is summed over if it is a metric.

    `explicit` says that the window was written rather than taken as the default; `previous` means the window
    before this one, of equal length. `key` is where the facts hold the value: `field` where no window is
    written, `field@window` where one is, and either followed by `:previous` for the preceding window. `span` names
    the days that it is summed over: the window, or `window:previous`; None for what is no metric.
    """

    field: str
    window: Window | None = None
    explicit: bool = False
    previous: bool = False
    key: str = dataclasses.field(init=False, repr=False, compare=False)
    span: str | None = dataclasses.field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        base = f"{self.field}@{self.window}" if self.explicit else self.field
        suffix = ":previous" if self.previous else ""
        object.__setattr__(self, "key", base + suffix)
        object.__setattr__(self, "span", None if self.window is None else self.window + suffix)

    @property
    def quantity(self) -> Quantity:
        """What is looked up, however it was written: `cpa` and `cpa@last_7d` are two keys of one quantity."""
        return self.field, self.window, self.previous


@dataclass(frozen=True, slots=True)
class Range:
    """Two numbers, both included."""

    low: Decimal
    high: Decimal


@dataclass(frozen=True, slots=True)
class Multiple:
    """Another operand's value, times a factor if one is written (a string has none)."""

    operand: Operand
    times: Decimal | None = None


@dataclass(frozen=True, slots=True)
class Change:
    """A change of at least `percent` against `previous`: a rise where it is positive, a fall where it is negative."""

    percent: Decimal
    previous: Operand


Value: TypeAlias = Decimal | str | bool | tuple[Decimal | str, ...] | Range | Multiple | Change | None


@dataclass(frozen=True, slots=True)
class Leaf:
    """One comparison. The parser guarantees that `value` is of the type that the operator needs."""

    operand: Operand
    operator: Operator
    value: Value = None


@dataclass(frozen=True, slots=True)
class Group:
    """Nodes joined by a logic; never empty."""

    logic: Logic
    nodes: tuple[Condition, ...]


Condition: TypeAlias = Leaf | Group


def leaves(condition: Condition) -> Iterator[Leaf]:
    """Yield the leaves from left to right."""
    if isinstance(condition, Leaf):
        yield condition
        return
    for node in condition.nodes:
        yield from leaves(node)


def operands(condition: Condition) -> frozenset[Operand]:
    """Return everything that the tree reads: the fields, the operands compared with, the preceding windows."""
    return frozenset(operand for leaf in leaves(condition) for operand in operands_of(leaf))


def operands_of(leaf: Leaf) -> Iterator[Operand]:
    """Yield what one leaf reads, its subject first."""
    yield leaf.operand
    match leaf.value:
        case Multiple(operand=operand):
            yield operand
        case Change(previous=previous):
            yield previous
        case _:
            pass
