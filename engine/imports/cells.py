"""What the readers of single cells share: the blank cell, the error of a bad one, and how a value is quoted."""

from __future__ import annotations

from typing import Final

_BLANKS: Final = frozenset({"", "-", "--", "–", "—", "n/a", "null", "none"})  # noqa: RUF001 - dashes as exports write them
_QUOTED_LENGTH: Final = 40


class CellError(ValueError):
    """One row cannot be taken; the text says why. The row is rejected, the file goes on."""


def is_blank(text: str) -> bool:
    """Say whether a stripped cell reports nothing. Nothing is unknown, never 0."""
    return text.casefold() in _BLANKS


def quoted(text: str) -> str:
    """Return a cell's text for a message: quoted, control characters escaped, shortened."""
    shown = text if len(text) <= _QUOTED_LENGTH else text[: _QUOTED_LENGTH - 1] + "…"
    return repr(shown)
