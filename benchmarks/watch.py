"""Watches a Celery queue in Redis without taking anything from it: the lengths of its lists, every few milliseconds.

Four LLEN in one round trip cost the broker some 20 µs, and the publisher nothing. Ours and the peers are watched by
this one loop, from another process, on the machine's one clock; no message is told earlier than it came, and none
more than an interval later.
"""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Final

from benchmarks.burst import Sample, arrivals

if TYPE_CHECKING:
    from collections.abc import Callable

    import redis

INTERVAL: Final = 0.004
PRIORITIES: Final = ("", "\x06\x163", "\x06\x166", "\x06\x169")
"""kombu keeps a queue's messages in one list for each step of priority; these suffixes tell them apart."""


class Watch:
    """One queue under watch; begun while it is empty."""

    def __init__(self, client: redis.Redis, queue: str) -> None:
        self._client = client
        self._keys = [queue + suffix for suffix in PRIORITIES]
        self._samples: list[Sample] = []

    @property
    def messages(self) -> int:
        """How many messages the last look found."""
        return sum(self._samples[-1].lengths) if self._samples else 0

    @property
    def quiet(self) -> float:
        """For how many seconds nothing has come; 0 before the first message."""
        return time.time() - self._samples[-1].at if self.messages else 0.0

    def look(self) -> None:
        """Take one sample; kept if it differs from the one before."""
        with self._client.pipeline(transaction=False) as pipeline:
            for key in self._keys:
                pipeline.llen(key)
            lengths = tuple(pipeline.execute())
        at = time.time()
        if not self._samples or lengths != self._samples[-1].lengths:
            self._samples.append(Sample(at, lengths))

    def until(self, enough: Callable[[], bool], deadline: float) -> bool:
        """Look until `enough` says so; False where the moment `deadline` comes first."""
        while True:
            self.look()
            if enough():
                return True
            if time.time() > deadline:
                return False
            time.sleep(INTERVAL)

    def published(self) -> list[tuple[str, float]]:
        """Read the messages: each one's task id, and the moment at which it was first seen."""
        found: list[tuple[str, float]] = []
        for key, moments in zip(self._keys, arrivals(self._samples), strict=True):
            newest_first = self._client.lrange(key, -len(moments), -1) if moments else []
            ids = [json.loads(message)["headers"]["id"] for message in reversed(newest_first)]
            found.extend(zip(ids, moments, strict=True))
        return found
