"""Whose turn it is among kinds of faults: chance orders them, and leaves none out."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from chaos.arena import Arena

T = TypeVar("T")


def in_turn(arena: Arena, kinds: Sequence[T], *, needs: float = 0.0) -> Iterator[T]:
    """Yield each kind once, whatever the time; then all again, in other orders, while more than `needs` s are left."""
    yield from arena.chance.sample(kinds, len(kinds))
    while True:
        for kind in arena.chance.sample(kinds, len(kinds)):
            if arena.left <= needs:
                return
            yield kind
