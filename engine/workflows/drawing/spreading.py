"""How far to the right each node stands: near what it is joined with, without touching its neighbours.

Layer after layer, down and up by turns, each node wants to stand at the mean of those it is joined with. Of all places
that keep the order and the distances, those with the least squares of ways from what is wanted are taken: isotonic
regression, by pooling neighbours that would come too close.
"""

from __future__ import annotations

from itertools import accumulate, pairwise
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Sequence

    from engine.workflows.drawing.layers import Layers

STEP_WIDTH: Final = 190.0
BEND_WIDTH: Final = 16.0
GAP: Final = 28.0
_ROUNDS: Final = 8
_STRAIGHT: Final = 8.0
"""How much more a bend insists on its place than a step, so that long lines are straight."""
_ALIKE: Final = 8.0
"""How much more what is alike pulls."""


def spread(layers: Layers) -> list[float]:
    """Return the middle of each node, by number; the leftmost node's edge is at 0."""
    middles = [0.0] * len(layers.steps)
    offsets = [_offsets(layers, rank) for rank in layers.ranks]
    for rank, placed in zip(layers.ranks, offsets, strict=True):
        for node, offset in zip(rank, placed, strict=True):
            middles[node] = offset - placed[-1] / 2
    both = [[*above, *below] for above, below in zip(layers.above, layers.below, strict=True)]
    sweeps = [(layers.above, 1), (layers.below, -1)] * _ROUNDS + [(both, 1), (both, -1)]
    for beside, step in sweeps:
        for rank, placed in list(zip(layers.ranks, offsets, strict=True))[::step]:
            _settle(layers, rank, placed, beside, middles)
    left = min(middle - _width(layers, node) / 2 for node, middle in enumerate(middles))
    return [middle - left for middle in middles]


def _settle(
    layers: Layers, rank: list[int], offsets: list[float], beside: list[list[int]], middles: list[float]
) -> None:
    wanted = [_wanted(layers, node, beside[node], middles) for node in rank]
    weights = [1.0 if layers.steps[node] else _STRAIGHT for node in rank]
    for node, middle in zip(rank, nearest(wanted, weights, offsets), strict=True):
        middles[node] = middle


def _wanted(layers: Layers, node: int, others: list[int], middles: list[float]) -> float:
    if not others:
        return middles[node]
    # steps pull on steps, and bends on bends, so that a chain is straight beside the line that its failures share
    alike = layers.steps[node] is None
    pulls = [_ALIKE if (layers.steps[other] is None) is alike else 1.0 for other in others]
    return sum(pull * middles[other] for pull, other in zip(pulls, others, strict=True)) / sum(pulls)


def nearest(wanted: Sequence[float], weights: Sequence[float], offsets: Sequence[float]) -> list[float]:
    """Return the places nearest to those wanted, by weighted least squares, at the distances of `offsets` or more."""
    pools: list[tuple[float, float, int]] = []  # weighted sum, weight, how many
    for place, weight, offset in zip(wanted, weights, offsets, strict=True):
        pool = (weight * (place - offset), weight, 1)
        while pools and pools[-1][0] / pools[-1][1] > pool[0] / pool[1]:
            before = pools.pop()
            pool = (before[0] + pool[0], before[1] + pool[1], before[2] + pool[2])
        pools.append(pool)
    bases = [total / weight for total, weight, count in pools for _ in range(count)]
    return [base + offset for base, offset in zip(bases, offsets, strict=True)]


def _offsets(layers: Layers, rank: list[int]) -> list[float]:
    """Return how far each node of a layer is from the first at the least."""
    widths = [_width(layers, node) for node in rank]
    return list(accumulate(((a + b) / 2 + GAP for a, b in pairwise(widths)), initial=0.0))


def _width(layers: Layers, node: int) -> float:
    return STEP_WIDTH if layers.steps[node] else BEND_WIDTH
