"""How an event finds the steps that wait for just it: one text on both sides, `lead.id=42`.

A step that waits names a field of the payload and the value that it must have; `key` makes the text of both. `keys`
makes all the texts that an event's payload has, so that the steps are found by equality. Types count: `id=42` is a
number's, `id="42"` a string's. Numbers are compared by value: 42 and 42.0 are one.
"""

from __future__ import annotations

import hashlib
import json
from collections import deque
from typing import TYPE_CHECKING, Final

from core.errors import PermanentError
from engine.rules.compare import number
from engine.rules.payload import is_name
from engine.rules.reading import kind_of

if TYPE_CHECKING:
    from collections.abc import Mapping
    from decimal import Decimal

MOST_KEYS: Final = 1_000
"""Scalars of a payload that steps can wait for."""
HASHED: Final = "sha256:"
"""What the value of a key begins with that is told by its hash; no JSON does."""
LONGEST_FIELD: Final = 200
LONGEST_VALUE: Final = 200
"""Characters of a value as JSON; a longer one is told by its hash, since an index holds no long texts."""


def key(field: str, value: object) -> str:
    """Return the text by which a step is found that waits for `value` in a field of the payload.

    Raises PermanentError for a value that no scalar of a payload equals: null, an object, a list.
    """
    written = _written(value)
    if written is None:
        raise PermanentError(
            f"the value to wait for in {field} is {kind_of(value)}: it must be a string, number or boolean"
        )
    return f"{field}={written}"


def keys(payload: Mapping[str, object]) -> list[str]:
    """Return the texts of a payload's scalars, at most MOST_KEYS: those of its outer levels first.

    Fields are dotted paths as conditions read them (`items.0.sku`); what no such path names is left out.
    """
    found: list[str] = []
    waiting: deque[tuple[str, object]] = deque(_members("", payload))
    while waiting and len(found) < MOST_KEYS:
        field, value = waiting.popleft()
        if len(field) > LONGEST_FIELD:
            continue
        if isinstance(value, dict | list):
            waiting += _members(f"{field}.", value)
        elif (written := _written(value)) is not None:
            found.append(f"{field}={written}")
    return found


def _members(before: str, value: Mapping[str, object] | list[object]) -> list[tuple[str, object]]:
    if isinstance(value, list):
        return [(f"{before}{index}", item) for index, item in enumerate(value)]
    return [(f"{before}{name}", item) for name, item in value.items() if is_name(name)]


def _written(value: object) -> str | None:
    """Return a scalar as JSON in its one spelling; None for what is none."""
    exact = number(value)
    if exact is not None:
        return _short(_plain(exact))
    if isinstance(value, str | bool):
        return _short(json.dumps(value, ensure_ascii=False))
    return None


def _plain(exact: Decimal) -> str:
    text = format(exact, "f")
    if "." in text:
        text = text.rstrip("0").rstrip(".")
    return "0" if text == "-0" else text


def _short(text: str) -> str:
    return text if len(text) <= LONGEST_VALUE else HASHED + hashlib.sha256(text.encode()).hexdigest()
