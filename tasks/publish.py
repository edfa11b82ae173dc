"""The one place that sends messages: for committed tasks only, two ids each, and no promise that they arrive.

Messages go out in batches, one round trip each where the transport can (ADR 0012). What arrives is what `apply_async`
sends: Celery builds it, kombu routes and encodes it.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any, Final

from celery.events import EventDispatcher
from kombu.exceptions import LimitExceeded, OperationalError

from tasks.broker import app, broker_errors

if TYPE_CHECKING:
    from collections.abc import Sequence

    from kombu.connection import Connection

    from engine.store.dispatch import Message

logger = logging.getLogger(__name__)

BATCH: Final = 500
"""Messages a round trip."""
GRACE_SECONDS: Final = 10
"""How much longer than its own timeout a task may run before its process is killed."""


def publish(connection: Connection, messages: Sequence[Message]) -> list[Message]:
    """Send the messages; returns those that the broker did not take, which the caller makes due again.

    The batch that failed is returned whole: some of it may have arrived, and a duplicate finds nothing to claim.
    Raises KeyError for a kind that is no task and QueueNotFound for a queue that is not declared; nothing is sent then.
    """
    errors = broker_errors(connection)
    sender = _Sender(connection, messages)
    for start in range(0, len(messages), BATCH):
        try:
            sender.send(messages[start : start + BATCH])
        except errors as error:
            reason = error.__cause__ or error  # kombu wraps what a batch died of
            logger.warning("the broker took %d of %d messages: %s", start, len(messages), reason)
            return list(messages[start:])
    return []


def send(messages: Sequence[Message]) -> None:
    """Send the first messages of tasks that this process has just committed, by a connection of its own.

    What cannot be sent is only logged: the tasks are due again in seconds, and a scheduler sends them then.
    """
    app.loader.import_default_modules()  # a process that only sends has not imported the tasks; done once
    try:
        with app.pool.acquire(block=True, timeout=1.0) as connection:
            publish(connection, messages)
    except (OperationalError, OSError, LimitExceeded) as error:
        logger.warning("%d messages are left to the schedulers: %s", len(messages), error)


class _Sender:
    """What all messages of one call share: the producer, the tasks and queues they name, what is said of them."""

    def __init__(self, connection: Connection, messages: Sequence[Message]) -> None:
        # looked up before anything is sent: kombu counts KeyError among its errors, and these are none of the broker's
        self._tasks = {kind: app.tasks[f"automation.{kind}"] for kind in {message.kind for message in messages}}
        names = {message.queue for message in messages}
        self._queues = {name: app.amqp.router.expand_destination(name)["queue"] for name in names}
        self._producer = app.amqp.Producer(connection, auto_declare=False)
        self._events = _SentEvents(connection, app=app)
        self._common = {
            "create_sent_event": app.conf.task_send_sent_event,
            "origin": self._events.hostname,
            "reply_to": app.thread_oid,
            **_lineage(),
        }

    def send(self, batch: Sequence[Message]) -> None:
        """Send one batch, then its events. Raises the transport's errors."""
        for queue in self._queues.values():
            self._producer.maybe_declare(queue)
        with self._producer.batch(BATCH):
            for message in batch:
                self._add(message)
        self._events.flush()

    def _add(self, message: Message) -> None:
        task = self._tasks[message.kind]
        args = (str(message.org_id), str(message.task_id))
        built = app.amqp.as_task_v2(
            args[1],
            task.name,
            args,
            argsrepr=repr(args),  # what Celery's saferepr makes of them, at a tenth of its cost
            kwargsrepr="{}",
            soft_time_limit=message.timeout_seconds,
            time_limit=message.timeout_seconds + GRACE_SECONDS,
            ignore_result=task.ignore_result,
            **self._common,
        )
        app.amqp.send_task_message(
            self._producer,
            task.name,
            built,
            queue=self._queues[message.queue],
            priority=message.priority,
            declare=[],  # done once, by send
            event_dispatcher=self._events,
        )


class _SentEvents(EventDispatcher):
    """Gathers the `task-sent` events of a batch and sends them as one message, as workers do with theirs."""

    def __init__(self, connection: Connection, **options: Any) -> None:
        gather = {"buffer_group": {"task"}, "buffer_limit": BATCH + 1}
        super().__init__(connection, buffer_while_offline=False, **gather, **options)

    def publish(self, type: str, fields: dict[str, Any], producer: Any, **_: Any) -> None:  # noqa: A002 - Celery's name
        """Keep an event for `flush`: what Celery calls once it has handed over a task's message."""
        del producer
        self.send(type, **fields)


def _lineage() -> dict[str, str]:
    """Return what Celery records in a message when a task sends it: the first task of all, and this one."""
    current = app.current_worker_task
    if current is None:
        return {}
    return {"root_id": current.request.root_id or current.request.id, "parent_id": current.request.id}
