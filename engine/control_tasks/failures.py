"""What is wrong with one task alone, told from what is wrong for all of them: an outage, a role, a schema."""

from __future__ import annotations

from typing import Final

from sqlalchemy.exc import DBAPIError, StatementError

from core.db import first_line, is_outage, sqlstate
from core.errors import CmisError, PermanentError, SetupError

UNREADABLE: Final = (PermanentError, ArithmeticError, AttributeError, LookupError, TypeError, ValueError)
"""What reading a payload raises that nobody of ours wrote."""
MAY_BE_OWN: Final = (*UNREADABLE, CmisError, StatementError)
"""What may be wrong with one task alone; `own` says whether it is."""
_EVERYBODYS: Final = ("42", "3F")
"""Classes of errors that no payload makes: a role that may not, a table or function that is not there."""
_SHOWN: Final = 500


def own(error: Exception) -> str | None:
    """Return what is wrong with a task alone; None if the next one would meet it, too."""
    match error:
        case DBAPIError():
            refused = not is_outage(error) and not (sqlstate(error) or "").startswith(_EVERYBODYS)
            return f"the database refused: {first_line(error)}"[:_SHOWN] if refused else None
        case SetupError() | UnicodeError():  # what a person typed is no text, or the environment is wrong
            return None
        case StatementError():  # a value that no parameter takes
            return unreadable(error.orig or error)
        case _ if isinstance(error, UNREADABLE):
            return unreadable(error)
        case _:
            return str(error)[:_SHOWN]


def unreadable(error: BaseException) -> str:
    """Return what is said of a task whose payload could not be read."""
    said = str(error) if isinstance(error, PermanentError) else f"{type(error).__name__}: {error}"
    return f"what it carries cannot be read: {said}"[:_SHOWN]
