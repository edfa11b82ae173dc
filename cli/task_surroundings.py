"""What Postgres does not know of a task's surroundings: how many messages wait in its queue."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from engine.control_tasks.look import Surroundings
from tasks import depth
from tasks.broker import app, broker_errors, settings_for

if TYPE_CHECKING:
    from core.config import Settings

_SECONDS: Final = 2
"""How long a broker that does not answer is waited for: what it would say is a help, not the answer."""


def around(settings: Settings, queue: str) -> Surroundings:
    """Ask the broker, if there is one that answers."""
    return Surroundings(messages=_messages(settings, queue))


def _messages(settings: Settings, queue: str) -> int | None:
    if not settings.broker_url:
        return None
    options = settings_for(settings)["broker_transport_options"]
    connection = app.connection_for_read(settings.broker_url, transport_options=options)
    try:
        connection.ensure_connection(max_retries=1, interval_start=0, timeout=_SECONDS)
        return depth.waiting(connection, [queue])[queue]
    except broker_errors(connection):
        return None
    finally:
        connection.release()
