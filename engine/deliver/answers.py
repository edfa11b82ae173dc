"""What became of one call outside, as its courier understood the answer. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    from datetime import timedelta


@dataclass(frozen=True, slots=True)
class Delivered:
    """The receiver took it. `said`: the beginning of its answer, without anything secret."""

    status: int | None = None
    said: str = ""


@dataclass(frozen=True, slots=True)
class Refused:
    """The receiver will not take it, however often it is sent: the tenant must mend something."""

    reason: str
    status: int | None = None
    said: str = ""


@dataclass(frozen=True, slots=True)
class Later:
    """It certainly was not taken, and another try may help."""

    reason: str
    status: int | None = None
    said: str = ""
    retry_after: timedelta | None = None
    """How long the receiver asked to be left alone."""
    blames: bool = True
    """Whether it counts as a failure of the destination; one that is only busy (429) has none."""


@dataclass(frozen=True, slots=True)
class Unclear:
    """It may have been taken: the call broke off after it was sent."""

    reason: str
    status: int | None = None
    said: str = ""


Answer: TypeAlias = Delivered | Refused | Later | Unclear
