"""JSON for bound values; also such as is written out already, and goes into a document as it stands."""

from __future__ import annotations

import json
from typing import Any

import orjson


class Written:
    """The text of a JSON value; `to_json` puts it into bound JSON as it is."""

    __slots__ = ("text",)

    def __init__(self, text: str) -> None:
        self.text = text

    def document(self) -> Any:
        """Return the value."""
        return json.loads(self.text)


def to_json(value: object) -> str | bytes:
    """Serialise bound JSON; ids, times and exact decimals travel as text, which the statement's column types read."""
    try:
        return orjson.dumps(value, default=_as_it_stands)
    except TypeError:  # numbers beyond 64 bits and keys that are no text: the standard library knows more, slowly
        return json.dumps(value, default=_read_back, separators=(",", ":"))


def _as_it_stands(value: object) -> object:
    return orjson.Fragment(value.text) if isinstance(value, Written) else str(value)


def _read_back(value: object) -> object:
    return value.document() if isinstance(value, Written) else str(value)
