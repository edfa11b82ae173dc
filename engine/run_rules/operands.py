"""What a rule reads of a campaign, put in order by where it comes from once, for all campaigns that it looks at."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, NamedTuple

from engine.rules.fields import RATIOS
from engine.rules.tree import Operand

if TYPE_CHECKING:
    from collections.abc import Sequence

    from engine.rules.fields import Ratio


class Metric(NamedTuple):
    """A metric among the facts: the key it is known by, its field, and how it is computed if it is no sum."""

    key: str
    field: str
    ratio: Ratio | None


class Span(NamedTuple):
    """The metrics that are read of one span of days."""

    name: str
    metrics: tuple[Metric, ...]
    keys: tuple[str, ...]


class Operands(tuple[Operand, ...]):  # noqa: SLOT001 - what is put in order is kept in its dictionary
    """The operands of a rule; rules that read the same may share them."""

    @cached_property
    def spans(self) -> Sequence[Span]:
        """The metrics, by the span of days that they are summed over."""
        found: dict[str, list[Metric]] = {}
        for one in self:
            if one.span is not None:
                found.setdefault(one.span, []).append(Metric(one.key, one.field, RATIOS.get(one.field)))
        return [Span(name, tuple(read), tuple(one.key for one in read)) for name, read in found.items()]

    @cached_property
    def others(self) -> Sequence[Operand]:
        """What is no metric."""
        return [operand for operand in self if operand.span is None]
