"""A broker that somebody else runs: is it there, and leaving nothing of ours in it."""

from __future__ import annotations

from typing import Final
from urllib.parse import urlsplit

import redis
from amqp.exceptions import AMQPError
from kombu.connection import Connection
from kombu.exceptions import KombuError
from redis.backoff import NoBackoff
from redis.retry import Retry

from core.errors import SetupError

_REDIS: Final = ("redis", "rediss", "redis+socket", "unix")
_AMQP: Final = ("amqp", "amqps", "pyamqp")
_SECONDS: Final = 5.0


def is_redis(url: str) -> bool:
    """Tell whether keys with a prefix exist there (RabbitMQ has none)."""
    return urlsplit(url).scheme in _REDIS


def redis_client(url: str) -> redis.Redis:
    """Return a client for a broker URL in Celery's spelling, one attempt and short timeouts."""
    spelled = url.replace("redis+socket://", "unix://", 1)
    return redis.Redis.from_url(spelled, socket_timeout=_SECONDS, retry=Retry(NoBackoff(), 0))


def check_broker(url: str) -> None:
    """Raise SetupError, naming BROKER_URL, unless the broker answers."""
    scheme = urlsplit(url).scheme
    if scheme not in (*_REDIS, *_AMQP):
        raise SetupError(
            "BROKER_URL is neither a Redis nor a RabbitMQ URL",
            "for example redis://127.0.0.1:6379/0 or amqp://guest:guest@127.0.0.1:5672//",
        )
    try:
        _answer(url)
    except (redis.RedisError, KombuError, AMQPError, OSError, ValueError) as error:
        raise SetupError(
            f"BROKER_URL: cannot connect: {error}",
            "start that broker or correct BROKER_URL; without BROKER_URL an embedded one is used",
        ) from None


def _answer(url: str) -> None:
    if is_redis(url):
        with redis_client(url) as client:
            client.ping()
        return
    with Connection(url, connect_timeout=_SECONDS) as connection:  # type: ignore[no-untyped-call]
        connection.connect()


def forget(url: str, prefix: str) -> None:
    """Delete every key that starts with `prefix`, which must not be empty."""
    if not prefix:
        raise ValueError("an empty prefix would delete everything")
    try:
        with redis_client(url) as client:
            for keys in _in_batches(client, prefix):
                client.unlink(*keys)
    except redis.RedisError:
        return  # the broker is gone, and what was in it


def _in_batches(client: redis.Redis, prefix: str) -> list[list[bytes]]:
    keys = list(client.scan_iter(match=f"{prefix}*", count=1000))
    return [keys[start : start + 1000] for start in range(0, len(keys), 1000)]
