"""JSON for bound values; also such as is written out already, and goes into a document as it stands."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import orjson

if TYPE_CHECKING:
    from collections.abc import Iterable


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


def lines(documents: Iterable[object]) -> str:
    """Serialise documents, one a line: a line break within JSON is written as an escape, wherever it stands."""
    written = [to_json(document) for document in documents]
    return "\n".join([one if isinstance(one, str) else one.decode() for one in written])


def _as_it_stands(value: object) -> object:
    return orjson.Fragment(value.text) if isinstance(value, Written) else str(value)


def _read_back(value: object) -> object:
    return value.document() if isinstance(value, Written) else str(value)
