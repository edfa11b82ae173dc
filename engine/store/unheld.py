"""A task that is there to be taken, but locked: by a scheduler for an instant, or by the worker that does it already."""

from __future__ import annotations

from time import sleep
from typing import TYPE_CHECKING, Any, Final, TypeVar

from sqlalchemy import text

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from sqlalchemy import Connection

T = TypeVar("T")

CLAIMABLE: Final = """
   WHERE org_id = :org_id AND task_id = :task_id AND state = 'ready' AND run_at <= :now AND NOT cancel_requested
     AND attempt < max_attempts"""
"""Of which task a claim is possible."""
_LOOK: Final = text(f"SELECT FROM cmis.tasks {CLAIMABLE}")
_PAUSES: Final = (0.01, 0.02, 0.04, 0.08, 0.16)
"""Seconds between the tries, 0.3 in all."""


def patiently(connection: Connection, key: Mapping[str, Any], take: Callable[[], T]) -> T:
    """Return what `take` finds, which skips locked rows; nothing, or what is false, if there is nothing to be had.

    A message that meets its row locked by a scheduler must not be dropped: that one has picked the task together with
    another scheduler, or has just put the next message off by minutes. Whoever holds it longer than a few tenths of a
    second is the worker that does it, and this the duplicate, which never waits for the end of that.
    """
    found = take()
    for pause in _PAUSES:
        if found or not connection.execute(_LOOK, key).rowcount:
            break
        sleep(pause)
        found = take()
    return found
