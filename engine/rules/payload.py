"""Values in an event's payload, by dotted path: `lead.country`, `items.0.price`.

Each part is a key of an object or, in a list, an index from 0. A key that holds a dot, or anything but letters, digits,
`_` and `-`, cannot be named.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Mapping

_LONGEST_INDEX: Final = 9  # digits; no list of 64 KiB is longer
_NAME: Final = re.compile(r"[\w-]+")


def value_at(payload: Mapping[str, object], path: str) -> object:
    """Return the value at a path; None, unknown, where there is none, as where there is a null."""
    value: object = payload
    for part in path.split("."):
        if isinstance(value, dict):
            value = value.get(part)
        elif isinstance(value, list) and _is_index(part) and int(part) < len(value):
            value = value[int(part)]
        else:
            return None
    return value


def is_name(key: str) -> bool:
    """Say whether a part of a path can name this key."""
    return _NAME.fullmatch(key) is not None


def _is_index(part: str) -> bool:
    return part.isascii() and part.isdecimal() and len(part) <= _LONGEST_INDEX
