"""Messages that make no sense end no worker: whatever they are made of, they are dropped and counted.

Postgres is the truth, so that nothing is lost with a message; and whoever can write to the broker can write anything. A
library that meets what it does not expect raises, which in the parent of a worker would end all of it. Two places are
guarded: where the transport makes a message of what lay in a Redis list (here), and where Celery looks at its headers
(`worker.consumer`).
"""

from __future__ import annotations

from contextlib import contextmanager
from queue import Empty
from typing import TYPE_CHECKING, Any, Final

from celery.worker.control import inspect_command
from kombu.transport import TRANSPORT_ALIASES, redis

from models.queue_enums import Dropped
from tasks import dropped

if TYPE_CHECKING:
    from collections.abc import Iterator

MAX_BODY: Final = 2 * 1024 * 1024
"""Characters of a body; an event's payload may have 256 KiB."""
MAX_SECONDS: Final = 7 * 24 * 3600
"""Of a time limit: far more than the longest timeout of a task."""
_LIMITS: Final = 2


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


def fault_of_limits(found: object) -> str | None:
    """Return why a message's `timelimit` cannot be one, None if it can; no transport looks at headers.

    Celery looks at it only when a hand is free, in the middle of its event loop: an error there ends the worker.
    """
    if found is None or (isinstance(found, list | tuple) and len(found) == _LIMITS and all(map(_is_limit, found))):
        return None
    return "its time limits are none"


def _is_limit(found: object) -> bool:
    """Below a second no task could be done: one that is put back when its time is up would come for ever. 0 is none."""
    if found is None:
        return True
    return type(found) in {int, float} and (found == 0 or 1 <= found <= MAX_SECONDS)  # type: ignore[operator]


class _SteadyChannel:
    """Reads what lies in a list, also where it is no JSON; and keeps one client, where kombu makes one per command."""

    _kept: Any = None

    @contextmanager
    def conn_or_acquire(self, client: Any = None) -> Iterator[Any]:
        """Yield the client given, or the channel's own on the pool that it has now."""
        if client is None and (self._kept is None or self._kept.connection_pool is not self.pool):  # type: ignore[attr-defined]
            self._kept = self._create_client()  # type: ignore[attr-defined]
        yield self._kept if client is None else client

    def _brpop_read(self, **options: Any) -> Any:
        try:
            return super()._brpop_read(**options)  # type: ignore[misc]
        except (Empty, *self.connection.connection_errors, *self.connection.channel_errors):  # type: ignore[attr-defined]
            raise
        except Exception as error:  # noqa: BLE001 - kombu reads JSON with types in it: anything may come of them
            dropped.drop(Dropped.UNREADABLE, repr(error))
            raise Empty from None


class _SteadyTransport:
    """Hands on what is a message."""

    def _deliver(self, message: Any, queue: str) -> None:
        fault = fault_of(message)
        if fault is None:
            super()._deliver(message, queue)  # type: ignore[misc]
        else:
            dropped.drop(Dropped.UNREADABLE, f"{fault} (in {queue})")


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


def guard() -> None:
    """Let this process read the broker with the transports above. To be called before it connects."""
    here = f"{__name__}:"
    TRANSPORT_ALIASES.update(redis=f"{here}SteadyRedis", rediss=f"{here}SteadyRedis", sentinel=f"{here}SteadySentinel")


@inspect_command(name="dropped")
def report(*_: object, **__: object) -> dict[str, int]:
    """Messages that this worker has dropped, by reason."""
    return dropped.totals()
