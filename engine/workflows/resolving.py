"""Values in the place of references: what a step's config says once its turn has come.

`{{ context.lead.id }}` and `{{ steps.draft.output.url }}` stand in strings, wherever in a config. A string that is
exactly one reference becomes the value itself, of whatever type; in any other the value is written as text. Values are
not read again, and names of members are never references.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, TypeAlias

from core.errors import PermanentError
from engine.references import Reference, read

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    Path: TypeAlias = tuple[str, ...]

LONGEST_VALUE: Final = 16_384
"""Characters that one value may add to a text; the rest of it is cut off."""
MOST: Final = 262_144
"""Characters that all references of one node may bring in."""
_OPENING: Final = "{{"


def resolved(node: Any, values: Mapping[str, Any]) -> Any:
    """Return a JSON node with values in the place of its references; None where there is no value.

    `values` is plain JSON: `{"context": {…}, "steps": {"<id>": {"output": …}}, "instance": {…}}`. Raises PermanentError
    where the values come to more than MOST characters.
    """
    return _Resolving(values).of(node)


def references_in(node: Any) -> tuple[Path, ...]:
    """Return the paths that a JSON node refers to, each once, in the order of the document."""
    return tuple(dict.fromkeys(reference.path for text in _strings(node) for reference in read(text).references))


class _Resolving:
    """One node being resolved; counts what its references bring in."""

    def __init__(self, values: Mapping[str, Any]) -> None:
        self._values = values
        self._left = MOST

    def of(self, node: Any) -> Any:
        match node:
            case str() if _OPENING in node:
                return self._text(node)
            case dict():
                return {name: self.of(member) for name, member in node.items()}
            case list() | tuple():
                return [self.of(item) for item in node]
            case _:
                return node

    def _text(self, text: str) -> Any:
        parts = [part for part in read(text).parts if part]
        if len(parts) == 1 and isinstance(parts[0], Reference):
            self._spend(parts[0].text(self._values, self._left + 1))
            return parts[0].value(self._values)
        return "".join([part if isinstance(part, str) else self._written(part) for part in parts])

    def _written(self, reference: Reference) -> str:
        return self._spend(reference.text(self._values, LONGEST_VALUE))

    def _spend(self, text: str) -> str:
        self._left -= len(text)
        if self._left < 0:
            raise PermanentError(f"the values that it refers to come to more than {MOST} characters: refer to less")
        return text


def _strings(node: Any) -> Iterator[str]:
    """Yield the strings that may hold references."""
    match node:
        case str() if _OPENING in node:
            yield node
        case dict():
            for member in node.values():
                yield from _strings(member)
        case list() | tuple():
            for item in node:
                yield from _strings(item)
        case _:
            return
