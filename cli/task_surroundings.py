"""What a task's own org cannot read of its surroundings: how many messages wait in its queue, and who is alive."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from sqlalchemy.exc import DBAPIError

from core.db import Database
from engine.control_tasks.look import Surroundings
from engine.health import judged
from engine.store import processes
from engine.task_reasons import Fleet
from models.process_enums import ProcessKind
from tasks import depth
from tasks.broker import app, broker_errors, settings_for

if TYPE_CHECKING:
    from core.config import Settings

_SECONDS: Final = 2
"""How long a broker that does not answer is waited for: what it would say is a help, not the answer."""


def around(settings: Settings, queue: str) -> Surroundings:
    """Ask the broker, and with READONLY_DATABASE_URL the heartbeat rows; what does not answer is left out."""
    return Surroundings(messages=_messages(settings, queue), fleet=_fleet(settings, queue))


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


def _fleet(settings: Settings, queue: str) -> Fleet | None:
    """Count who is alive. Heartbeat rows belong to no org: only the readonly role sees them."""
    url = settings.readonly_database_url
    if not url:
        return None
    database = Database(url, variable="READONLY_DATABASE_URL", application="cmis-cli", pool_size=1)
    try:
        with database.snapshot() as connection:
            rows = [dict(row._mapping) for row in processes.listed(connection)]  # noqa: SLF001 - SQLAlchemy's accessor
    except DBAPIError:
        return None
    finally:
        database.close()
    alive = [row for row in rows if judged(row).serves]
    schedulers = sum(row["kind"] == ProcessKind.SCHEDULER for row in alive)
    return Fleet(schedulers, sum(queue in row["queues"] for row in alive))
