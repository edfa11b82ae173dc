"""A workflow in layers: each step below all that lead to it, and long ways bent in every layer that they pass.

Ways to one step share their bends, so that many failures that lead to one handler are one line. Beyond MOST_BENDS the
longest ways are broken off: they are told in words where they begin.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Iterable

    from engine.workflows.definition import Definition

MOST_BENDS: Final = 4_000
Way: TypeAlias = tuple[str, str]


@dataclass(frozen=True, slots=True)
class Layers:
    """Nodes by number, each a step or a bend, and between which neighbouring layers lines run."""

    ranks: list[list[int]] = field(default_factory=list)
    """The nodes of each layer, from the left to the right."""
    steps: list[str | None] = field(default_factory=list)
    """By node, the id of its step; None = a bend."""
    rank: list[int] = field(default_factory=list)
    above: list[list[int]] = field(default_factory=list)
    below: list[list[int]] = field(default_factory=list)
    begins: dict[Way, tuple[int, int]] = field(default_factory=dict)
    """By source and target, the line by which a way leaves; it is missing where the way is broken off."""

    def add(self, step: str | None, rank: int) -> int:
        """Add a node to a layer; its number."""
        node = len(self.steps)
        self.steps.append(step)
        self.rank.append(rank)
        self.above.append([])
        self.below.append([])
        self.ranks[rank].append(node)
        return node

    def join(self, upper: int, lower: int) -> None:
        """Draw a line between nodes of neighbouring layers, if there is none yet."""
        if upper not in self.above[lower]:
            self.below[upper].append(lower)
            self.above[lower].append(upper)


def layered(definition: Definition) -> Layers:
    """Return the layers of a workflow, its steps in the order in which a reader comes to them."""
    ranks = _ranks(definition)
    layers = Layers([[] for _ in range(max(ranks.values()) + 1)])
    nodes = {step_id: layers.add(step_id, ranks[step_id]) for step_id in _visited(definition)}
    bends: dict[int, list[int]] = {node: [] for node in nodes.values()}
    for source, target in _drawable(definition, ranks):
        line = nodes[source], _entry(layers, nodes[target], bends[nodes[target]], ranks[source] + 1)
        layers.join(*line)
        layers.begins[source, target] = line
    return layers


def _entry(layers: Layers, target: int, bends: list[int], rank: int) -> int:
    """Return the node of a layer that leads to a step: itself or a bend. `bends` are those there are, from it up."""
    above = layers.rank[target] - rank
    while len(bends) < above:
        lower = bends[-1] if bends else target
        bends.append(layers.add(None, layers.rank[lower] - 1))
        layers.join(bends[-1], lower)
    return bends[above - 1] if above else target


def _ranks(definition: Definition) -> dict[str, int]:
    ranks: dict[str, int] = {}
    for step_id in definition.order:
        ranks[step_id] = max((ranks[source] + 1 for source in definition.sources[step_id]), default=0)
    return ranks


def _visited(definition: Definition) -> Iterable[str]:
    """Return the steps, what a step leads to right behind it, its first way first."""
    found: dict[str, None] = {}
    waiting = [definition.start]
    while waiting:
        step_id = waiting.pop()
        if step_id not in found:
            found[step_id] = None
            waiting += reversed(definition.steps[step_id].targets)
    return found


def _ways(definition: Definition) -> list[Way]:
    return [(step.id, target) for step in definition.steps.values() for target in step.targets]


def _drawable(definition: Definition, ranks: dict[str, int]) -> list[Way]:
    """Return the ways for which there are bends enough, the shortest first."""
    left, lowest, drawable = MOST_BENDS, dict(ranks), []
    for way in sorted(_ways(definition), key=lambda one: ranks[one[1]] - ranks[one[0]]):
        source, target = way
        # of bends that a shorter way to the same step has, none is made anew
        needed = max(0, lowest[target] - ranks[source] - 1)
        if needed <= left:
            left -= needed
            lowest[target] = min(lowest[target], ranks[source] + 1)
            drawable.append(way)
    return drawable
