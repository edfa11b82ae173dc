"""References to secrets in documents: `secret://name`, as a whole text or inside one. Pure.

A document with references may be stored, shown and sent about; one that is filled may not.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

NAME: Final = re.compile(r"[a-z][a-z0-9_-]{0,62}")
_REFERENCE: Final = re.compile(rf"secret://({NAME.pattern})(?![a-z0-9_-])")
HIDDEN: Final = "***"
_SHORTEST: Final = 4
"""What is shorter than this is hidden nowhere: it would be found in everything."""


def names(document: object) -> set[str]:
    """Return the names of all secrets that a JSON document refers to."""
    return set(_names(document))


def _names(document: object) -> Iterator[str]:
    if isinstance(document, str):
        yield from _REFERENCE.findall(document)
    elif isinstance(document, dict):
        for value in document.values():
            yield from _names(value)
    elif isinstance(document, list | tuple):
        for value in document:
            yield from _names(value)


def fill(document: Any, values: Mapping[str, str]) -> Any:
    """Return the document with each reference replaced by the value of its name; raises KeyError for an unknown one."""
    if isinstance(document, str):
        return _REFERENCE.sub(lambda found: values[found[1]], document)
    if isinstance(document, dict):
        return {key: fill(value, values) for key, value in document.items()}
    if isinstance(document, list | tuple):
        return [fill(value, values) for value in document]
    return document


def redact(text: str, values: Iterable[str]) -> str:
    """Return the text without the values: a receiver may repeat what it was sent."""
    for value in sorted(values, key=len, reverse=True):
        if len(value) >= _SHORTEST:
            text = text.replace(value, HIDDEN)
    return text
