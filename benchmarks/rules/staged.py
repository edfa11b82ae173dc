"""Messages that were published while no worker ran, kept aside, to be put into the queue again all at one instant."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from benchmarks.watch import PRIORITIES

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import redis

_ASIDE: Final = "bench:"


@dataclass(frozen=True, slots=True)
class Staged:
    """The messages of a queue's lists, by key, from the last to the first that a worker takes."""

    lists: Mapping[str, Sequence[bytes | str]]

    @classmethod
    def taken(cls, client: redis.Redis, queue: str) -> Staged:
        """Take everything out of a queue."""
        found = {queue + suffix: client.lrange(queue + suffix, 0, -1) for suffix in PRIORITIES}
        for key in found:
            client.delete(key)
        return cls({key: messages for key, messages in found.items() if messages})

    def release(self, client: redis.Redis) -> None:
        """Put them into the queue: waiting workers see none of them before all are there."""
        with client.pipeline(transaction=False) as pipeline:
            for key, messages in self.lists.items():
                pipeline.rpush(_ASIDE + key, *messages)
            pipeline.execute()
        for key in self.lists:
            client.rename(_ASIDE + key, key)
