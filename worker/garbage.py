"""Messages that make no sense end no worker: whatever they are made of, they are dropped and counted.

Postgres is the truth, so that nothing is lost with a message; and whoever can write to the broker can write anything. A
library that meets what it does not expect raises, which in the parent of a worker would end all of it. Two places are
guarded: where the transport makes a message of what lay in a Redis list, and where Celery looks at its headers.
"""

from __future__ import annotations

import logging
from queue import Empty
from typing import TYPE_CHECKING, Any, Final

from celery.signals import task_rejected, task_unknown
from celery.worker.consumer import Consumer
from celery.worker.control import inspect_command
from kombu.transport import TRANSPORT_ALIASES, redis

from tasks import dropped

if TYPE_CHECKING:
    from collections.abc import Callable

    from kombu.message import Message

logger = logging.getLogger(__name__)

MAX_BODY: Final = 2 * 1024 * 1024
"""Characters of a body; an event's payload may have 256 KiB."""


def fault_of(envelope: object) -> str | None:
    """Return why what lay in a queue cannot be a message of kombu's, None if it can."""
    if not isinstance(envelope, dict):
        return "it is no envelope"
    body, headers, properties = (envelope.get(name) for name in ("body", "headers", "properties"))
    if not isinstance(body, str | None) or not isinstance(headers, dict | None) or not isinstance(properties, dict):
        return "its envelope is broken"
    if not isinstance(properties.get("delivery_tag"), str) or not isinstance(properties.get("delivery_info"), dict):
        return "its envelope is broken"
    if any(not isinstance(envelope.get(name), str | None) for name in ("content-type", "content-encoding")):
        return "its envelope is broken"
    return "it is too large" if body is not None and len(body) > MAX_BODY else None


class _SteadyChannel:
    """Reads what lies in a list, also where it is no JSON."""

    def _brpop_read(self, **options: Any) -> Any:
        try:
            return super()._brpop_read(**options)  # type: ignore[misc]
        except (Empty, *self.connection.connection_errors, *self.connection.channel_errors):  # type: ignore[attr-defined]
            raise
        except Exception as error:  # noqa: BLE001 - kombu reads JSON with types in it: anything may come of them
            dropped.drop("it cannot be read", repr(error))
            raise Empty from None


class _SteadyTransport:
    """Hands on what is a message."""

    def _deliver(self, message: Any, queue: str) -> None:
        fault = fault_of(message)
        if fault is None:
            super()._deliver(message, queue)  # type: ignore[misc]
        else:
            dropped.drop(fault, f"(in {queue})")


class SteadyRedisChannel(_SteadyChannel, redis.Channel):
    """The channel of a Redis or Valkey server."""


class SteadySentinelChannel(_SteadyChannel, redis.SentinelChannel):
    """The channel of a server that Sentinel finds."""


class SteadyRedis(_SteadyTransport, redis.Transport):
    """The transport of a Redis or Valkey server."""

    Channel = SteadyRedisChannel


class SteadySentinel(_SteadyTransport, redis.SentinelTransport):
    """The transport of a server that Sentinel finds."""

    Channel = SteadySentinelChannel


class SteadyConsumer(Consumer):
    """Celery's consumer, which goes on after a message that it cannot even look at."""

    def create_task_handler(self, *args: Any, **others: Any) -> Callable[[Message], Any]:
        """Return what each message is handed to."""
        handle = super().create_task_handler(*args, **others)
        ours = (*self.connection_errors, *self.channel_errors)

        def guarded(message: Message) -> Any:
            try:
                return handle(message)
            except ours:
                raise
            except Exception as error:  # noqa: BLE001 - whatever a message makes fail is the message's
                dropped.drop("its headers make no sense", repr(error))
                if not message.acknowledged:
                    message.reject_log_error(logger, self.connection_errors)
                return None

        return guarded

    def on_decode_error(self, message: Message, exc: Exception) -> None:
        """Do what Celery does, and count it."""
        super().on_decode_error(message, exc)
        dropped.drop("it cannot be decoded", type(exc).__name__)


def guard() -> None:
    """Let this process read the broker with the transports above. To be called before it connects."""
    here = f"{__name__}:"
    TRANSPORT_ALIASES.update(redis=f"{here}SteadyRedis", rediss=f"{here}SteadyRedis", sentinel=f"{here}SteadySentinel")


@task_rejected.connect
def _count_rejected(**_: object) -> None:
    dropped.drop("it is no task")


@task_unknown.connect
def _count_unknown(**_: object) -> None:
    dropped.drop("nobody knows its task")


@inspect_command(name="dropped")
def report(*_: object, **__: object) -> dict[str, int]:
    """Messages that this worker has dropped, by reason."""
    return dict(dropped.COUNTS)
