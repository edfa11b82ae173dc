"""A random epoch in the broker: as long as it is there, the broker has not lost its memory.

Redis holds it as a key. An AMQP broker holds it as the one message of a durable queue.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final
from uuid import uuid4

import redis

from tasks.broker import app

if TYPE_CHECKING:
    from kombu.connection import Connection

_NAME: Final = "cmis.epoch"
_AMQP: Final = "amqp"
_TRIES: Final = 20


def read(connection: Connection) -> str:
    """Return the broker's epoch, planting one if there is none. Raises the transport's errors if it is unreachable."""
    channel = connection.default_channel
    return _read_amqp(channel) if connection.transport.driver_type == _AMQP else _read_redis(channel)


def _read_redis(channel: Any) -> str:
    # kombu's own client puts the key prefix on some commands only; a plain one on its pool is explicit
    client = redis.Redis(connection_pool=channel.pool)
    key = app.conf.broker_transport_options.get("global_keyprefix", "") + _NAME
    value = client.get(key)
    if value is None:  # write only then: a broker whose memory is full refuses to, and has lost nothing
        client.set(key, uuid4().hex, nx=True)
        value = client.get(key)
    return value.decode() if isinstance(value, bytes) else ""


def _read_amqp(channel: Any) -> str:
    """Look at the message and put it back. Another scheduler may hold it for a moment, so ask a few times."""
    arguments = {"x-max-length": 1}
    channel.queue_declare(queue=_NAME, durable=True, auto_delete=False, arguments=arguments)
    for _ in range(_TRIES):
        message = channel.basic_get(queue=_NAME)
        if message is not None:
            channel.basic_reject(message.delivery_tag, requeue=True)
            body = message.body
            return body.decode(errors="replace") if isinstance(body, bytes) else str(body)
    epoch = uuid4().hex
    # bytes: of a text without an encoding py-amqp makes none
    channel.basic_publish(channel.prepare_message(epoch.encode(), properties={"delivery_mode": 2}), routing_key=_NAME)
    return epoch
