"""What readers of JSON documents share: the list of problems, and how an unexpected value is named in a message."""

from __future__ import annotations

import math
import re
from decimal import Decimal
from typing import TYPE_CHECKING, Final

from core.errors import InputError, Problem

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

_MAX_SHOWN: Final = 60
_MAX_NUMBER_EXPONENT: Final = 30  # far above any sum of money, far below where arithmetic gets slow
_MAX_NUMBER_BITS: Final = 100  # 10^30: an int this long is refused before it is converted

_INDEX: Final = re.compile(r"\[([0-9]{1,9})\]")
_UNSTORABLE: Final = re.compile("[\x00\ud800-\udfff]")
_KINDS: Final[tuple[tuple[type | tuple[type, ...], str], ...]] = (
    (type(None), "nothing"),
    (bool, "a boolean"),
    (str, "a string"),
    ((int, float, Decimal), "a number"),
    ((list, tuple), "a list"),
    (dict, "an object"),
)

_JSON_NAMES: Final = {None: "null", True: "true", False: "false"}


class Problems:
    """Collects what is wrong with an input, so that all of it is told at once."""

    def __init__(self) -> None:
        self._found: list[Problem] = []

    def add(self, field: str, message: str, remedy: str | None = None) -> None:
        """Note one problem at a path."""
        self._found.append(Problem(field, message, remedy))

    def extend(self, error: InputError) -> None:
        """Take over what another reader found."""
        self._found.extend(error.problems)

    def refuse_unknown_keys(self, document: Iterable[object], known: Collection[str], path: str) -> None:
        """Note each key that is not known, by name, with the ones that are."""
        for key in document:
            if key not in known:
                self.add(_joined(path, key), "unknown key", f"allowed: {listed(known)}")

    def arrange(self) -> None:
        """Bring together what was found at the items of a list, in the list's order, whoever found it."""
        lists: dict[str, int] = {}
        for problem in self._found:
            lists.setdefault(problem.field.partition("[")[0], len(lists))

        def place(problem: Problem) -> tuple[int, list[int]]:
            return lists[problem.field.partition("[")[0]], [int(index) for index in _INDEX.findall(problem.field)]

        self._found.sort(key=place)

    def __len__(self) -> int:
        return len(self._found)

    def raise_if_any(self) -> None:
        """Raise InputError with all that was found; return if nothing was."""
        if self._found:
            raise InputError(self._found)


def _joined(path: str, key: object) -> str:
    name = str(key)[:_MAX_SHOWN]
    if not name.isprintable():
        name = repr(name)
    return f"{path}.{name}" if path else name


def listed(names: Iterable[str]) -> str:
    """Join names for a remedy."""
    return ", ".join(names)


def refuse_unstorable(document: object, path: str, max_depth: int) -> None:
    """Raise InputError where no reader or jsonb column could take a JSON document.

    That is: nested deeper than `max_depth` levels, a NUL or half a surrogate pair in a string, NaN or Infinity.
    Walks without recursion, so that it can stand before whatever does recurse.
    """
    if _storable(document, max_depth):
        return
    problems = Problems()
    waiting: list[tuple[str, object, int]] = [(path, document, 0)]
    while waiting:
        at, value, depth = waiting.pop()
        if depth > max_depth:
            problems.add(at, "is nested too deep", f"nest at most {max_depth} levels")
        elif fault := _unstorable(value):
            problems.add(at, *fault)
        elif isinstance(value, dict):
            waiting += [(_joined(at, key), item, depth + 1) for key, item in reversed(value.items())]
            waiting += [(_joined(at, key), key, 0) for key in value]
        elif isinstance(value, list | tuple):
            waiting += [(f"{at}[{index}]", item, depth + 1) for index, item in reversed(list(enumerate(value)))]
    problems.raise_if_any()


def _storable(document: object, max_depth: int) -> bool:
    """Say whether nothing is wrong with a document, level by level: paths are made only where something is."""
    level = [document]
    for _ in range(max_depth + 1):
        if any(_unstorable(value) for value in level if isinstance(value, str | float)):
            return False
        below: list[object] = []
        for value in level:
            if isinstance(value, dict):
                if any(map(_unstorable, value)):
                    return False
                below += value.values()
            elif isinstance(value, list | tuple):
                below += value
        level = below
    return not level


def _unstorable(value: object) -> tuple[str, str] | None:
    """Return what is wrong with one value and the remedy."""
    if isinstance(value, float) and not math.isfinite(value):
        return "is not a finite number", "give a number below 10^30"
    if isinstance(value, str) and _UNSTORABLE.search(value):
        return "holds a character that no database text can hold (NUL or half a surrogate pair)", "leave it out"
    return None


def shown(value: object) -> str:
    """Name a value for a message: short ones as they are, containers by their kind only (they may be deep)."""
    match value:
        case None | bool():
            return _JSON_NAMES[value]
        case str() if len(value) > _MAX_SHOWN:
            return f"{value[:_MAX_SHOWN]!r}…"
        case str():
            return repr(value)
        case float() | Decimal():
            return str(value)[:_MAX_SHOWN]
        case int() if value.bit_length() <= _MAX_NUMBER_BITS:
            return str(value)
        case _:
            return kind_of(value)


def kind_of(value: object) -> str:
    """Name the kind of a value, as JSON calls it."""
    for types, name in _KINDS:
        if isinstance(value, types):
            return name
    return f"a value of type {type(value).__name__}"


def exact_number(value: object) -> Decimal | None:
    """Return a JSON number as an exact Decimal; None for anything else, a boolean, NaN, Infinity or one above 10^30."""
    if isinstance(value, bool) or not isinstance(value, int | float | Decimal):
        return None
    if isinstance(value, int) and value.bit_length() > _MAX_NUMBER_BITS:
        return None
    exact = value if isinstance(value, Decimal) else Decimal(str(value))
    return exact if exact.is_finite() and exact.adjusted() <= _MAX_NUMBER_EXPONENT else None
