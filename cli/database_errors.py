"""What is said of an error of the database that is nobody's input: of its server, its schema, or a limit of time."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from core.db import explain, first_line, sqlstate
from core.errors import SetupError

if TYPE_CHECKING:
    from sqlalchemy.exc import DBAPIError

_CANCELLED: Final = "57014"
_NARROW: Final = "a shorter time, a lower limit, one org"


def explained(error: DBAPIError, variable: str) -> SetupError:
    """Return the error with its remedy; where a statement was ended for its length, `variable` is right."""
    if sqlstate(error) != _CANCELLED:
        return explain(error, variable)
    said = f"the database ({variable}) took longer for a statement than its limit, and ended it: {first_line(error)}"
    return SetupError(said, f"narrow the question ({_NARROW}), or ask again when the database has less to do")
