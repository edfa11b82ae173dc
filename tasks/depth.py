"""How many messages wait in queues: what backlog and backpressure are decided by."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from kombu.exceptions import ChannelError
from kombu.transport import redis

if TYPE_CHECKING:
    from collections.abc import Collection

    from kombu.connection import Connection


def waiting(connection: Connection, queues: Collection[str]) -> dict[str, int]:
    """Return how many messages wait in each queue, of any priority; 0 if the broker does not know it.

    One round trip on Redis, one a queue on AMQP. Raises the transport's errors if the broker is unreachable.
    """
    if not queues:
        return {}
    channel = connection.default_channel
    return _lengths(channel, queues) if isinstance(channel, redis.Channel) else _declared(connection, queues)


def _lengths(channel: Any, queues: Collection[str]) -> dict[str, int]:
    """Add up the lists of each queue; kombu has one a priority step."""
    steps = len(channel.priority_steps)
    with channel.conn_or_acquire() as client, client.pipeline(transaction=False) as pipe:
        for queue in queues:
            for priority in channel.priority_steps:
                pipe.llen(channel._q_for_pri(queue, priority))  # noqa: SLF001 - the name of a list is kombu's to choose
        lengths = pipe.execute()
    return {queue: sum(lengths[at * steps : (at + 1) * steps]) for at, queue in enumerate(queues)}


def _declared(connection: Connection, queues: Collection[str]) -> dict[str, int]:
    """Ask by declaring passively; on a channel of its own, since AMQP closes and opens it anew at an unknown queue."""
    with connection.channel() as channel:
        return {queue: _declared_count(channel, queue) for queue in queues}


def _declared_count(channel: Any, queue: str) -> int:
    try:
        return int(channel.queue_declare(queue=queue, passive=True).message_count)
    except ChannelError:
        return 0
