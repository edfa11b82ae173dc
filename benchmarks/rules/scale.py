"""How many rules there are, of how many orgs, and how often each thing is measured."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class Shape:
    """Orgs with rules; each rule is about a campaign of its own."""

    orgs: int
    rules: int
    """Rules, and campaigns, of an org."""

    @property
    def total(self) -> int:
        """Rules of all orgs."""
        return self.orgs * self.rules

    @property
    def acting(self) -> int:
        """Rules whose conditions hold: a tenth."""
        return self.total // 10


@dataclass(frozen=True, slots=True)
class Scale:
    """The sizes of a run of this part."""

    large_orgs: Shape
    many_orgs: Shape
    wide: Shape
    """One org, some of whose rules are about all of its campaigns."""
    wide_rules: int
    """How many of its rules: with all campaigns as many pairs as a chunk holds."""
    noops: int
    """Messages that a worker of bare Celery drains."""
    single: int
    """Rules that are evaluated one a task."""
    rounds: int
    """How often everything is measured in turn."""
    repeats: int
    """How often a round evaluates all rules: as published, as due, and by the bare SQL."""


FULL: Final = Scale(
    large_orgs=Shape(100, 100),
    many_orgs=Shape(1_000, 10),
    wide=Shape(1, 1_000),
    wide_rules=20,
    noops=6_000,
    single=500,
    rounds=3,
    repeats=2,
)
QUICK: Final = Scale(
    large_orgs=Shape(10, 50),
    many_orgs=Shape(50, 10),
    wide=Shape(1, 200),
    wide_rules=10,
    noops=500,
    single=100,
    rounds=1,
    repeats=1,
)
DAYS: Final = 16
"""Days of metrics that each campaign has, today's included: any zone's seven days, and as many before them."""
