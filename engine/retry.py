"""Retries: how long to wait, and whether trying again can help at all (servers that are away: core.backoff)."""

from __future__ import annotations

import random
from dataclasses import dataclass
from datetime import timedelta
from typing import Final, Literal

from tenacity import RetryCallState, Retrying
from tenacity.wait import wait_exponential

from core.errors import InputError, OutOfTimeError, PermanentError, TransientError

Kind = Literal["transient", "permanent", "bug"]

TRANSIENT_NAMES: Final = frozenset({"ConnectionError", "TimeoutError", "OperationalError"})
"""Names, in an error's ancestry, of a server that gave no answer: Python's own and those of every driver we know.

Matched by name because drivers do not share types, and this module knows none of them.
"""

OUT_OF_TIME_NAME: Final = "SoftTimeLimitExceeded"
"""What the pool raises anywhere in a task's code when its time is up; by name, since the engine knows no Celery."""

TRANSIENT_SQLSTATES: Final = frozenset(
    {
        "25P03",  # idle in transaction timeout: the process was stopped or starved
        "40001",  # serialization failure
        "40P01",  # deadlock
        "53300",  # too many connections
        "55P03",  # lock not available
        "57014",  # statement timeout
        "57P01",  # terminated by an administrator or a restart
        "57P02",  # server crash
        "57P03",  # cannot connect now: starting or stopping
        "CM010",  # a guardrail that the plan did not see, because it or the campaign changed meanwhile: planned anew
    }
)
_TRANSIENT_CLASSES: Final = frozenset({"08", "53", "58"})
"""Connections, resources that are used up (a full disk), errors of the system under the server."""

_SYSTEM_RANDOM: Final = random.SystemRandom()


@dataclass(frozen=True, slots=True)
class Retry:
    """Try again after this long."""

    after: timedelta


@dataclass(frozen=True, slots=True)
class GiveUp:
    """Do not try again: the tenant mends it (`permanent`), we mend it (`bug`), or attempts or time are used up."""

    reason: Literal["permanent", "bug", "exhausted", "timeout"]


def backoff(
    attempt: int,
    *,
    base: float = 2.0,
    factor: float = 2.0,
    cap: float = 900.0,
    rng: random.Random = _SYSTEM_RANDOM,
) -> timedelta:
    """Return how long to wait after `attempt` (1 or more) attempts: exponential in seconds, capped, full jitter.

    Full jitter, anything from zero to the bound, spreads the retries of what failed together. Defaults: RELIABILITY §2.
    """
    if attempt < 1:
        raise ValueError("attempt counts the attempts used, so at least 1")
    state = RetryCallState(Retrying(), None, (), {})
    state.attempt_number = attempt
    bound = wait_exponential(multiplier=base, exp_base=factor, max=cap)(state)
    return timedelta(seconds=rng.uniform(0.0, bound))


def classify(error: BaseException) -> Kind:
    """Tell who must act on an error: we by retrying, the tenant, or we by mending a bug.

    An error that wraps a driver's, as SQLAlchemy's do in `orig`, is what the wrapped one is; one with an SQLSTATE is
    what the server said, whatever its type.
    """
    if isinstance(error, PermanentError | InputError):
        return "permanent"
    # SQLAlchemy's mark of a connection that died under its statement, with or without a code.
    if isinstance(error, TransientError) or getattr(error, "connection_invalidated", False):
        return "transient"
    if isinstance(wrapped := getattr(error, "orig", None), BaseException):
        return classify(wrapped)
    if isinstance(code := getattr(error, "sqlstate", None), str):
        return "transient" if code in TRANSIENT_SQLSTATES or code[:2] in _TRANSIENT_CLASSES else "bug"
    return "transient" if TRANSIENT_NAMES & {ancestor.__name__ for ancestor in type(error).__mro__} else "bug"


def out_of_time(error: BaseException) -> bool:
    """Say whether an error means that the task's own time is up: whatever it struck is not to blame for it."""
    return isinstance(error, OutOfTimeError) or OUT_OF_TIME_NAME in {
        ancestor.__name__ for ancestor in type(error).__mro__
    }


def plan(
    attempt: int,
    max_attempts: int,
    error: BaseException,
    *,
    left: timedelta = timedelta.max,
    rng: random.Random = _SYSTEM_RANDOM,
) -> Retry | GiveUp:
    """Decide what follows the failure of the `attempt`-th (1 or more) of `max_attempts` attempts.

    `left`: how much of the run's time is left. A retry that would start after it is none.
    """
    if out_of_time(error):
        return GiveUp("timeout")
    kind = classify(error)
    if kind != "transient":
        return GiveUp(kind)
    if attempt >= max_attempts:
        return GiveUp("exhausted")
    after = backoff(attempt, rng=rng)
    return Retry(after) if after < left else GiveUp("timeout")
