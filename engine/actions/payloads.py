"""Objects in parameters whose texts may hold references: read at the edge, composed in a plan. Pure."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final

from core.errors import Problem
from engine import references
from engine.actions import texts

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

MAX_BYTES: Final = 32 * 1024
"""Bytes of JSON, as it is written."""
MAX_REFERENCES: Final = 100
"""In the object as a whole."""


def problems(payload: object, path: str) -> list[Problem]:
    """Return what is wrong with an object whose texts may hold references."""
    if not isinstance(payload, dict):
        return [Problem(path, "must be an object", 'such as {"text": "{{ campaign.name }}"}')]
    size = _size(payload)
    if size is None:
        return [Problem(path, "is no JSON", "write texts, numbers, booleans, null, lists and objects")]
    if size > MAX_BYTES:
        return [Problem(path, f"has {size:,} bytes", f"give at most {MAX_BYTES:,}")]
    found_in = list(_texts(payload, path))
    found = [problem for where, text in found_in for problem in texts.problems(text, where, longest=MAX_BYTES)]
    count = sum(len(references.read(text).references) for _, text in found_in)
    if count > MAX_REFERENCES:
        found.append(Problem(path, f"has {count} references", f"use at most {MAX_REFERENCES}"))
    return found


def _size(payload: object) -> int | None:
    try:
        return len(json.dumps(payload, ensure_ascii=False, allow_nan=False).encode())
    except (TypeError, ValueError, RecursionError):
        return None


def _texts(node: object, path: str) -> Iterator[tuple[str, str]]:
    """Yield the texts that are not empty, each with its path."""
    if isinstance(node, str):
        yield from [(path, node)] if node else []
    elif isinstance(node, dict):
        for key, value in node.items():
            yield from _texts(value, f"{path}.{key}")
    elif isinstance(node, list):
        for index, value in enumerate(node):
            yield from _texts(value, f"{path}[{index}]")


def composed(node: Any, known: Mapping[str, Any]) -> Any:
    """Return a document with the references in its texts filled."""
    if isinstance(node, str):
        return texts.composed(node, known)
    if isinstance(node, dict):
        return {key: composed(value, known) for key, value in node.items()}
    return [composed(value, known) for value in node] if isinstance(node, list) else node
