"""Read the value that a leaf compares with, as its operator and its field's type ask for it."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING, Final

from engine.rules.fields import FieldSpec, ValueType
from engine.rules.operands import FIELD_SPELLINGS, TypedOperand, read_operand
from engine.rules.reading import Problems, exact_number, listed, shown
from engine.rules.tree import Change, Multiple, Operator, Range, Value
from engine.rules.windows import WINDOWS_WITH_PRECEDING, Window

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

MAX_LIST_VALUES: Final = 1_000

_OPERAND_KEYS: Final = (*FIELD_SPELLINGS, "window", "times")

NULL_TESTS: Final = (Operator.IS_NULL, Operator.IS_NOT_NULL)
_EQUALITY: Final = (Operator.EQUAL, Operator.NOT_EQUAL)
_ORDERING: Final = (Operator.GREATER, Operator.AT_LEAST, Operator.LESS, Operator.AT_MOST)
_MEMBERSHIP: Final = (Operator.IN, Operator.NOT_IN)
_CONTAINMENT: Final = (Operator.CONTAINS, Operator.NOT_CONTAINS)
_AFFIXES: Final = (Operator.STARTS_WITH, Operator.ENDS_WITH)

OPERATORS_OF: Final[Mapping[ValueType, tuple[Operator, ...]]] = {
    ValueType.NUMBER: (
        *_ORDERING,
        *_EQUALITY,
        Operator.BETWEEN,
        *_MEMBERSHIP,
        *NULL_TESTS,
        Operator.CHANGED_PCT,
    ),
    ValueType.STRING: (*_EQUALITY, *_MEMBERSHIP, *_CONTAINMENT, *_AFFIXES, *NULL_TESTS),
    ValueType.LIST: (*_MEMBERSHIP, *_CONTAINMENT, *NULL_TESTS),
    ValueType.ANY: tuple(Operator),
}


@dataclass(frozen=True, slots=True)
class ValueReader:
    """Reads one leaf's value. What it returns beside a noted problem means nothing."""

    subject: TypedOperand
    operator: Operator
    known_fields: Mapping[str, FieldSpec] | None
    problems: Problems

    def read(self, value: object, path: str) -> Value:
        """Read the value for the leaf's operator."""
        return _READERS[self.operator](self, value, path)

    def ordered(self, value: object, path: str) -> Value:
        """Read a number or another operand."""
        return self._operand(value, path) if isinstance(value, dict) else self._number(value, path)

    def equal(self, value: object, path: str) -> Value:
        """Read one value of the field's type, or another operand."""
        if isinstance(value, dict):
            return self._operand(value, path)
        if isinstance(value, bool) and self.subject.spec.type is ValueType.ANY:
            return value
        return self._scalar(value, path)

    def between(self, value: object, path: str) -> Value:
        """Read `[low, high]` or `{min, max}`."""
        match value:
            case [low, high]:
                bounds = self._number(low, f"{path}[0]"), self._number(high, f"{path}[1]")
            case {"min": low, "max": high, **rest} if not rest:
                bounds = self._number(low, f"{path}.min"), self._number(high, f"{path}.max")
            case _:
                self.problems.add(path, f"must be two numbers, not {shown(value)}", "write [low, high] or {min, max}")
                return None
        low, high = bounds
        if low is None or high is None:
            return None
        if low > high:
            self.problems.add(path, f"the low end {low} is above the high end {high}", "put the lower number first")
        return Range(low, high)

    def membership(self, value: object, path: str) -> Value:
        """Read a list of values of the field's type, all numbers or all strings."""
        if not isinstance(value, list | tuple) or not value:
            self.problems.add(path, f"must be a list of at least one value, not {_found(value)}", "write [a, b, …]")
            return None
        if len(value) > MAX_LIST_VALUES:
            self.problems.add(path, f"has {len(value)} values", f"give at most {MAX_LIST_VALUES}")
            return None
        items = [self._scalar(item, f"{path}[{index}]") for index, item in enumerate(value)]
        read = tuple(item for item in items if item is not None)
        if len(read) == len(items) and len({isinstance(item, str) for item in read}) > 1:
            self.problems.add(path, "mixes numbers and strings", "give values of one type")
        return read

    def containment(self, value: object, path: str) -> Value:
        """Read what a string or a list should contain."""
        return self._scalar(value, path)

    def affix(self, value: object, path: str) -> Value:
        """Read how a string should start or end."""
        return self._string(value, path)

    def null_test(self, value: object, path: str) -> Value:
        """Refuse a value: the operator says all."""
        if value is not None:
            self.problems.add(path, f"{self.operator.value} takes no value", "leave it out")
        return None

    def changed(self, value: object, path: str) -> Value:
        """Read a change in percent and point to the window before the field's own."""
        if isinstance(value, dict):
            self.problems.add(path, "changed_pct compares with a number only", "give a percentage")
            return None
        percent = self._number(value, path)
        if percent is None:
            return None
        if percent == 0:
            self.problems.add(path, "0 is neither a rise nor a fall", "give a positive or a negative percentage")
        return Change(percent, dataclasses.replace(self.subject.operand, previous=True))

    def _operand(self, value: dict[object, object], path: str) -> Value:
        self.problems.refuse_unknown_keys(value, _OPERAND_KEYS, path)
        other = read_operand(value, self.known_fields, path, self.problems)
        times = self._number(value["times"], f"{path}.times") if "times" in value else None
        if other is None:
            return None
        mine, theirs = self.subject.spec.type, other.spec.type
        if not _comparable(mine, theirs):
            name = self.subject.operand.field
            message = f"{other.operand.field} is a {theirs} and cannot be compared with {name}, a {mine}"
            self.problems.add(path, message, f"compare with a {mine}")
        elif times is not None and theirs is ValueType.STRING:
            self.problems.add(f"{path}.times", f"{other.operand.field} is a string", "leave times out")
        elif self.operator in _ORDERING and theirs is ValueType.STRING:
            message = f"{other.operand.field} is a string and {self.operator} compares numbers"
            self.problems.add(path, message, "use = or !=, or compare with a number")
        return Multiple(other.operand, times)

    def _scalar(self, value: object, path: str) -> Decimal | str | None:
        match self.subject.spec.type:
            case ValueType.NUMBER:
                return self._number(value, path)
            case ValueType.STRING | ValueType.LIST:
                return self._string(value, path)
            case ValueType.ANY:
                return value if isinstance(value, str) else self._number(value, path, "a number or a string")

    def _string(self, value: object, path: str) -> str | None:
        if isinstance(value, str):
            return value
        self.problems.add(path, f"must be a string, not {shown(value)}", _string_remedy(value))
        return None

    def _number(self, value: object, path: str, wanted: str = "a number") -> Decimal | None:
        exact = exact_number(value)
        if exact is None:
            self.problems.add(path, f"must be {wanted}, not {shown(value)}", _number_remedy(value))
        return exact


def check_operator(subject: TypedOperand, operator: Operator, path: str, problems: Problems) -> bool:
    """Return whether the operator applies to the field; note the problem if not. `path` is the leaf's."""
    operand, spec = subject
    if operator not in OPERATORS_OF[spec.type]:
        message = f"{operator} does not apply to {operand.field}, a {spec.type}"
        problems.add(f"{path}.operator", message, f"allowed: {listed(OPERATORS_OF[spec.type])}")
        return False
    if operator is not Operator.CHANGED_PCT:
        return True
    if not spec.windowed:
        problems.add(f"{path}.operator", f"changed_pct compares windows and {operand.field} has none", "use a metric")
        return False
    if operand.window is Window.LIFETIME:
        allowed = f"allowed: {listed(WINDOWS_WITH_PRECEDING)}"
        problems.add(f"{path}.window", "changed_pct needs a window that another one precedes", allowed)
        return False
    return True


def _comparable(mine: ValueType, theirs: ValueType) -> bool:
    return theirs is not ValueType.LIST and (ValueType.ANY in {mine, theirs} or mine is theirs)


def _found(value: object) -> str:
    return "an empty one" if value in ([], ()) else shown(value)


def _number_remedy(value: object) -> str:
    match value:
        case str():
            return "write the number without quotes"
        case float() | int() | Decimal() if not isinstance(value, bool):
            return "give a finite number below 10^30"
        case dict():
            return "another field's value works with > >= < <= = != only"
        case list():
            return "use in for any of several values, between for a range"
        case _:
            return "write a number, such as 50"


def _string_remedy(value: object) -> str:
    return "use in for any of several values" if isinstance(value, list) else 'write a text, such as "active"'


_READERS: Final[Mapping[Operator, Callable[[ValueReader, object, str], Value]]] = {
    **dict.fromkeys(_ORDERING, ValueReader.ordered),
    **dict.fromkeys(_EQUALITY, ValueReader.equal),
    Operator.BETWEEN: ValueReader.between,
    **dict.fromkeys(_MEMBERSHIP, ValueReader.membership),
    **dict.fromkeys(_CONTAINMENT, ValueReader.containment),
    **dict.fromkeys(_AFFIXES, ValueReader.affix),
    **dict.fromkeys(NULL_TESTS, ValueReader.null_test),
    Operator.CHANGED_PCT: ValueReader.changed,
}
