"""Whether a delivery may be tried now, and if not, why and when to ask again. Pure.

What waits asks again at a time of its own: a thousand that wait for one receiver must not all come back in one moment.
"""

from __future__ import annotations

import random
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Final, TypeAlias

from models.enums import BreakerState

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime
    from uuid import UUID

    from engine.deliver.breaker import Destination
    from engine.deliver.bucket import Bucket, Rate

_SYSTEM_RANDOM: Final = random.SystemRandom()
_SOON: Final = (0.2, 2.0)
_SLOWLY: Final = (1.0, 10.0)


@dataclass(frozen=True, slots=True)
class Admitted:
    """It may be tried now."""


@dataclass(frozen=True, slots=True)
class Waits:
    """It may not: for what reason, and how long until it is worth asking again."""

    reason: str
    after: timedelta
    reserved: bool = False
    """Whether it has taken a token that is still to come, and so need not ask for one again."""


Admission: TypeAlias = Admitted | Waits


@dataclass(frozen=True, slots=True)
class Limit:
    """A bucket that the delivery takes a token from: whose it is, as people are told."""

    whose: str
    rate: Rate
    bucket: Bucket


def admit(
    name: str,
    destination: Destination,
    limits: Sequence[Limit],
    task_id: UUID,
    *,
    now: datetime,
    rng: random.Random = _SYSTEM_RANDOM,
) -> Admission:
    """Decide whether a delivery to a destination (`name`) may be tried, by its breaker, its rest, and the buckets.

    `limits` is empty for one that has reserved its tokens. Where a token is to come, the caller takes it for the
    delivery.
    """
    if destination.not_before is not None and destination.not_before > now:
        why = "is down" if destination.state is BreakerState.OPEN else "asked to be left alone"
        after = destination.not_before - now + _between(_SLOWLY, rng)
        return Waits(f"{name} {why} until {destination.not_before:%H:%M:%S} UTC", after)
    under_way = destination.calls(now, besides=task_id)
    if under_way >= destination.room:
        if destination.state is not BreakerState.CLOSED:
            return Waits(f"{name} was down; another delivery tries whether it is back", _between(_SLOWLY, rng))
        after = _between(_SOON if destination.healthy else _SLOWLY, rng)
        return Waits(f"{under_way} deliveries to {name} are under way", after)
    waits = [(limit.bucket.ready_after(limit.rate, now), limit) for limit in limits]
    after, slowest = max(waits, key=lambda one: one[0], default=(timedelta(0), None))
    if slowest is not None and after > timedelta(0):
        reason = f"{slowest.whose} has used up its {slowest.rate.per_minute} deliveries a minute"
        return Waits(reason, after, reserved=True)
    return Admitted()


def _between(bounds: tuple[float, float], rng: random.Random) -> timedelta:
    return timedelta(seconds=rng.uniform(*bounds))
