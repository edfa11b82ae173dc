"""The order within each layer, so that few lines cross: barycentres, swept down and up, the best of all orders kept."""

from __future__ import annotations

from bisect import bisect_right, insort
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from engine.workflows.drawing.layers import Layers

_SWEEPS: Final = 16
_PATIENCE: Final = 4
"""Sweeps without a better order after which none is looked for any more."""


def untangle(layers: Layers) -> None:
    """Put the nodes of each layer into the order found; the same for the same layers, always."""
    best, fewest, idle = [list(rank) for rank in layers.ranks], crossings(layers), 0
    for sweep in range(_SWEEPS):
        if not fewest or idle == _PATIENCE:
            break
        _sweep(layers, down=sweep % 2 == 0)
        found = crossings(layers)
        idle += 1
        if found < fewest:
            best, fewest, idle = [list(rank) for rank in layers.ranks], found, 0
    for rank, kept in zip(layers.ranks, best, strict=True):
        rank[:] = kept


def crossings(layers: Layers) -> int:
    """Return how many pairs of lines cross."""
    places = _places(layers)
    total = 0
    for rank in layers.ranks:
        seen: list[int] = []
        for node in rank:
            lower = sorted(places[below] for below in layers.below[node])
            total += sum(len(seen) - bisect_right(seen, place) for place in lower)
            for place in lower:
                insort(seen, place)
    return total


def _sweep(layers: Layers, *, down: bool) -> None:
    places = _places(layers)
    beside = layers.above if down else layers.below
    for rank in layers.ranks if down else reversed(layers.ranks):
        wanted = {}
        for node in rank:
            others = beside[node]
            wanted[node] = sum(places[other] for other in others) / len(others) if others else places[node]
        rank.sort(key=lambda node: (wanted[node], places[node]))
        for place, node in enumerate(rank):
            places[node] = place


def _places(layers: Layers) -> list[int]:
    places = [0] * len(layers.steps)
    for rank in layers.ranks:
        for place, node in enumerate(rank):
            places[node] = place
    return places
