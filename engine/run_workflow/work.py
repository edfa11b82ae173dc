"""What becomes of a task of workflows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

if TYPE_CHECKING:
    from datetime import timedelta


@dataclass(frozen=True, slots=True)
class NotClaimed:
    """There was nothing to claim: a duplicate, or somebody else was faster. A normal answer."""


@dataclass(frozen=True, slots=True)
class Finished:
    """The task is done: so many steps were executed, of so many instances."""

    steps: int
    instances: int


@dataclass(frozen=True, slots=True)
class Retrying:
    """The task is ready again, to be run after a delay, because of an error."""

    after: timedelta
    error: dict[str, Any]


@dataclass(frozen=True, slots=True)
class GaveUp:
    """The task failed for good; its steps failed with it."""

    error: dict[str, Any]


@dataclass(frozen=True, slots=True)
class TakenApart:
    """Each of the instances that it carried became a task of its own."""

    items: int


Result: TypeAlias = NotClaimed | Finished | Retrying | GaveUp | TakenApart
