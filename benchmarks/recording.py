"""Records the statements that a block sends, as they leave for the driver, so that another way can send the same."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import psycopg

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


@contextmanager
def recorded(note: Callable[[Any, str, Any], None]) -> Iterator[None]:
    """Call `note` with the cursor, the text and the values of each statement, whoever sends it."""
    execute = psycopg.Cursor.execute

    def noting(cursor: Any, statement: Any, values: Any = None, **options: Any) -> Any:
        if isinstance(statement, str):  # the driver's own are composed, and come when it connects
            note(cursor, statement, values)
        return execute(cursor, statement, values, **options)

    setattr(psycopg.Cursor, "execute", noting)  # noqa: B010 - whoever executes is recorded
    try:
        yield
    finally:
        setattr(psycopg.Cursor, "execute", execute)  # noqa: B010
