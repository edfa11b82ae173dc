"""The gates that stop an execution, in the order in which they stand (SPEC §3).

Rule active → daily limit → cooldown (per rule and entity) → conditions → guardrails. These functions decide;
that the numbers they are given hold under concurrent workers is the caller's task (it holds the rule's lock).
"""

from __future__ import annotations

from datetime import timedelta
from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Collection
    from datetime import datetime


class SkipReason(StrEnum):
    """Why an execution did nothing, from the nearest gate to the furthest: the order of the members counts.

    Of one gate, `conditions_not_met` stands behind `conditions_unknown`: it was decided, not only reached.
    `no_change`: the conditions held, and the entity already was as the actions would make it. `guardrail`: the effect
    already waits for approval.
    """

    RULE_INACTIVE = "rule_inactive"
    DAILY_LIMIT = "daily_limit"
    NO_ENTITIES = "no_entities"
    COOLDOWN = "cooldown"
    CONDITIONS_UNKNOWN = "conditions_unknown"
    CONDITIONS_NOT_MET = "conditions_not_met"
    NO_CHANGE = "no_change"
    GUARDRAIL = "guardrail"


_FURTHEST_FIRST = tuple(reversed(SkipReason))


def rule_gate(status: str, limit: int | None, acted_today: int) -> SkipReason | None:
    """Return what stops the rule as a whole, or None.

    `acted_today` counts the executions that acted on the present day of the org's zone; no `limit`, no bound.
    """
    if status != "active":
        return SkipReason.RULE_INACTIVE
    if limit is not None and acted_today >= limit:
        return SkipReason.DAILY_LIMIT
    return None


def cooldown_gate(last_acted_at: datetime | None, cooldown_minutes: int, now: datetime) -> bool:
    """Return whether the rule may act on the entity again; at exactly the boundary it may. Times are aware UTC."""
    return last_acted_at is None or now - last_acted_at >= timedelta(minutes=cooldown_minutes)


def conditions_gate(result: bool | None) -> SkipReason | None:  # noqa: FBT001 - the three values of an evaluation
    """Return what an evaluation stops: nothing where it is true; unknown does not fire."""
    if result is None:
        return SkipReason.CONDITIONS_UNKNOWN
    return None if result else SkipReason.CONDITIONS_NOT_MET


def skip_reason(reached: Collection[SkipReason]) -> SkipReason:
    """Return the furthest gate that any entity reached; `no_entities` where there was none."""
    if len(reached) == 1:  # nearly always
        return next(iter(reached))
    return next((reason for reason in _FURTHEST_FIRST if reason in reached), SkipReason.NO_ENTITIES)
