"""A text that does not show itself: in a log, a message or a traceback it is `***`."""

from __future__ import annotations

from typing import Final, Self

HIDDEN: Final = "***"


class Secret(str):
    """A secret's value, or a text that has one in it.

    It is a text, so that whoever calls a receiver can use it as one. What Python does to show a text (`repr`, `str`,
    `print`, `%s`, an f-string, a container's `repr`) shows `***`. What makes another text of it (`+`, `join`, `encode`,
    a slice) has the value, and is to be written only where the value is meant.
    """

    __slots__ = ()

    def __new__(cls, value: str) -> Self:
        """Take the value of a text, or of another Secret, which by itself would give its stars."""
        return super().__new__(cls, str.__str__(value))

    def reveal(self) -> str:
        """Return the value as an ordinary text."""
        return str.__str__(self)

    def __repr__(self) -> str:
        return HIDDEN

    def __str__(self) -> str:
        return HIDDEN

    def __format__(self, format_spec: str, /) -> str:
        return HIDDEN
