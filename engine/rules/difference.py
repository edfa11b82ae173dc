"""How two JSON documents differ, value by value: each difference at its path."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

_ABSENT: Final = object()


@dataclass(frozen=True, slots=True)
class Difference:
    """One value that is not the same, at a path such as `conditions[0].value`; absent on one side = None there."""

    path: str
    before: Any
    after: Any


def differences(before: Mapping[str, Any], after: Mapping[str, Any]) -> list[Difference]:
    """Return what differs, in the order of the first document's keys, then of those that only the second has.

    Lists of different lengths differ as wholes: which element went away nobody can tell.
    """
    return list(_of_objects(before, after, ""))


def _of_objects(before: Mapping[str, Any], after: Mapping[str, Any], path: str) -> Iterator[Difference]:
    for key in [*before, *(key for key in after if key not in before)]:
        yield from _between(before.get(key, _ABSENT), after.get(key, _ABSENT), f"{path}.{key}" if path else key)


def _between(before: Any, after: Any, path: str) -> Iterator[Difference]:
    if isinstance(before, dict) and isinstance(after, dict):
        yield from _of_objects(before, after, path)
    elif isinstance(before, list) and isinstance(after, list) and len(before) == len(after):
        for index, (old, new) in enumerate(zip(before, after, strict=True)):
            yield from _between(old, new, f"{path}[{index}]")
    elif not _same(before, after):
        yield Difference(path, *(None if side is _ABSENT else side for side in (before, after)))


def _same(before: Any, after: Any) -> bool:
    """Compare as JSON does: true is not 1; 1 and 1.0 are one number; what is absent is not null."""
    return bool(before == after) and isinstance(before, bool) == isinstance(after, bool)
