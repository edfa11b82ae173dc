"""The one place that sends messages: for committed tasks only, two ids each, and no promise that they arrive."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Final

from tasks.broker import app, broker_errors

if TYPE_CHECKING:
    from collections.abc import Sequence

    from celery import Task
    from kombu.connection import Connection

    from engine.store.dispatch import Message

logger = logging.getLogger(__name__)

GRACE_SECONDS: Final = 10
"""How much longer than its own timeout a task may run before its process is killed."""


def publish(connection: Connection, messages: Sequence[Message]) -> list[Message]:
    """Send the messages; returns those that the broker did not take, which the caller makes due again."""
    errors = broker_errors(connection)
    # looked up first: kombu counts KeyError among its errors, and an unknown kind is none of the broker's
    kinds = {message.kind: app.tasks[f"automation.{message.kind}"] for message in messages}
    for index, message in enumerate(messages):
        try:
            _send(connection, kinds[message.kind], message)
        except errors as error:
            logger.warning("the broker took %d of %d messages: %s", index, len(messages), error)
            return list(messages[index:])
    return []


def _send(connection: Connection, task: Task, message: Message) -> None:
    task.apply_async(
        args=(str(message.org_id), str(message.task_id)),
        task_id=str(message.task_id),
        connection=connection,
        queue=message.queue,
        priority=message.priority,
        soft_time_limit=message.timeout_seconds,
        time_limit=message.timeout_seconds + GRACE_SECONDS,
    )
