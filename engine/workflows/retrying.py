"""Whether a step that failed is tried again, and when. Pure."""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal, TypeAlias

from engine.retry import backoff

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import timedelta

    from engine.retry import Kind
    from engine.workflows.definition import Retry

_SYSTEM_RANDOM: Final = random.SystemRandom()


@dataclass(frozen=True, slots=True)
class Again:
    """Try the step again after this long."""

    after: timedelta


@dataclass(frozen=True, slots=True)
class GiveUp:
    """Do not: no retry mends the error, the step says so of errors like it, or its retries are used up."""

    reason: Literal["permanent", "non_retryable", "exhausted"]


Plan: TypeAlias = Again | GiveUp


def plan(
    retry: Retry,
    attempt: int,
    *,
    code: str,
    kind: Kind,
    names: Iterable[str] = (),
    rng: random.Random = _SYSTEM_RANDOM,
) -> Plan:
    """Decide what follows the failure of the `attempt`-th (1 or more) attempt of a step.

    `code`: the stable code of the error; `names`: its class and its ancestors. Unlike a task of ours, a step is also
    tried again after a bug: it is of a callable or of a receiver, and may pass. Waits are of full jitter.
    """
    if kind == "permanent":
        return GiveUp("permanent")
    if not retry.non_retryable.isdisjoint({code, *names}):
        return GiveUp("non_retryable")
    if attempt > retry.max_retries:
        return GiveUp("exhausted")
    return Again(
        backoff(attempt, base=retry.base_seconds, factor=retry.factor, cap=retry.cap_seconds, rng=rng),
    )
