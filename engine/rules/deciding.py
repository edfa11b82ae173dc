"""Which leaves of a trace decided its result. Pure: JSON documents in, parts of them out."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

_LOGICS: Final = ("all", "any", "none")


def deciding_leaves(trace: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    """Yield the leaves, from left to right, without which a trace's `result` would not follow.

    Where one node is enough (a true one for `any` and `none`, a false one for `all`), these are all such; where it
    takes all of them, all; of an unknown group those that are unknown.
    """
    logic = next((logic for logic in _LOGICS if logic in trace), None)
    if logic is None:
        yield trace
        return
    result = trace["result"]
    if result is None:
        decisive = None
    elif logic == "none":
        decisive = not result
    else:
        decisive = result
    for node in trace[logic]:
        if node["result"] is decisive:
            yield from deciding_leaves(node)
