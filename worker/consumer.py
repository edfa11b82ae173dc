"""The consumer, but for how it waits for a broker that is away (with jitter, 2 s at most), and what it counts."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any, Final

from celery.worker import state
from celery.worker.consumer import Consumer
from kombu.exceptions import OperationalError

from core.backoff import BROKER, Backoff, sleep
from core.clock import monotonic
from models.queue_enums import Dropped
from tasks import dropped
from worker.garbage import fault_of_limits

if TYPE_CHECKING:
    from collections.abc import Callable

    from kombu.message import Message

logger = logging.getLogger(__name__)

_LASTING: Final = 5.0
"""A connection that was lost sooner counts as one more failure: a broker that takes connections only is not back."""
EVENTS_EVERY: Final = 0.1
"""How often what happened to tasks is told, in seconds: to publish is what costs, and not how much is told at once."""


class PatientConsumer(Consumer):
    """Comes back by itself whenever the broker does, and ends at once when asked to meanwhile."""

    def __init__(self, *args: Any, **options: Any) -> None:
        self._backoff = Backoff(BROKER)
        self._connected_at = 0.0
        super().__init__(*args, **options)

    def ensure_connected(self, conn: Any) -> Any:
        """Return the connection once it is established. Raises WorkerShutdown if the worker is to end first."""
        while True:
            state.maybe_shutdown()
            try:
                connected = conn.ensure_connection(max_retries=max(1, len(conn.alt)), interval_start=0, interval_step=0)
            except (OperationalError, *conn.recoverable_connection_errors) as error:
                self._wait(f"cannot connect to {conn.as_uri()}: {error}")
            else:
                self.first_connection_attempt = False
                self._connected_at = monotonic()
                return connected

    def on_connection_error_after_connected(self, exc: Exception) -> None:
        """Close the connection; where it did not last, wait before the next one.

        A connection that held a message which it could not acknowledge is not closed without an error: kombu tries to
        put the message back over it. It is given up all the same, and Postgres knows the message's task.
        What is not told yet is tried once more, so that the next connection finds it with what could not be told.
        """
        if self.event_dispatcher:
            self.event_dispatcher.flush(errors=False)
        try:
            super().on_connection_error_after_connected(exc)
        except Exception:
            logger.warning("consumer: the lost connection is given up, it could not be closed", exc_info=True)
        if monotonic() - self._connected_at < _LASTING:
            self._wait("the connection did not last")
        else:
            self._backoff.reset()

    def register_with_event_loop(self, hub: Any) -> None:
        """Have the loop tell what happened to tasks as long as this connection lasts."""
        super().register_with_event_loop(hub)
        hub.call_repeatedly(EVENTS_EVERY, self._flush_events)

    def on_send_event_buffered(self) -> None:
        """Leave it to the loop to tell what happened, with what else happens meanwhile."""

    def shutdown(self) -> None:
        """Tell what is not told yet, and end; by now the children have finished what they had."""
        self._flush_events()
        super().shutdown()

    def create_task_handler(self, *args: Any, **others: Any) -> Callable[[Message], Any]:
        """Return what each message is handed to; one that it cannot even look at is dropped."""
        handle = super().create_task_handler(*args, **others)
        ours = (*self.connection_errors, *self.channel_errors)

        def guarded(message: Message) -> Any:
            fault = fault_of_limits((message.headers or {}).get("timelimit"))
            if fault is not None:
                dropped.drop(Dropped.UNREADABLE, fault)
                message.reject_log_error(logger, self.connection_errors)
                return None
            try:
                return handle(message)
            except ours:
                raise
            except Exception as error:  # noqa: BLE001 - whatever a message makes fail is the message's
                dropped.drop(Dropped.UNREADABLE, repr(error))
                _forget(message)
                if not message.acknowledged:
                    message.reject_log_error(logger, self.connection_errors)
                return None

        return guarded

    def on_decode_error(self, message: Any, exc: Exception) -> None:
        """Log and drop a message that cannot be read, as Celery does, and count it: of these no signal tells."""
        dropped.count(Dropped.UNREADABLE)
        super().on_decode_error(message, exc)

    def _wait(self, reason: str) -> None:
        pause = self._backoff.next()
        logger.warning("consumer: %s. Trying again in %.1f s", reason, pause)
        sleep(pause, lambda: state.should_stop is not None or state.should_terminate is not None)


def _forget(message: Message) -> None:
    """Give back the place of a message that was reserved and then dropped: each would cost a hand for ever."""
    for request in list(state.reserved_requests):
        if request.message is message:
            state.task_ready(request)
