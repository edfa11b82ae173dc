"""One verb for many runs: each in a transaction of its own, so that one that refuses keeps no other from it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal

from core.errors import ConflictError, InputError, NotFoundError
from engine.find import find_template
from engine.store import instance_lists
from models.workflow_enums import InstanceStatus

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from uuid import UUID

    from engine.control_workflows.steering import Hand, Steered

MOST: Final = 1_000
"""Runs that one call steers."""
_UNDER_WAY: Final = (InstanceStatus.PENDING, InstanceStatus.RUNNING, InstanceStatus.PAUSED)


@dataclass(frozen=True, slots=True)
class Selection:
    """Runs by their ids, and all under way of a template, or in a state."""

    ids: Sequence[UUID] = ()
    template: UUID | str | None = None
    status: InstanceStatus | None = None

    @property
    def filters(self) -> bool:
        """Whether it selects by more than ids."""
        return self.template is not None or self.status is not None


@dataclass(frozen=True, slots=True)
class Each:
    """What became of one run, and why where it was refused."""

    instance_id: UUID
    outcome: Literal["changed", "unchanged", "refused"]
    status: InstanceStatus | None = None
    reason: str | None = None


def several(hand: Hand, selection: Selection, verb: Callable[[UUID], Steered]) -> tuple[list[Each], int]:
    """Steer up to 1,000 runs; returns what became of each, and how many were left for another call: 0 or 1 (some).

    Raises NotFoundError for the template. Errors that are not about one run come out.
    """
    ids = list(dict.fromkeys(selection.ids))
    if selection.filters:
        ids = list(dict.fromkeys([*ids, *_matching(hand, selection)]))
    return [_one(instance_id, verb) for instance_id in ids[:MOST]], max(0, len(ids) - MOST)


def _matching(hand: Hand, selection: Selection) -> list[UUID]:
    with hand.database.transaction(hand.context) as connection:
        org_id, template_id = hand.context.org_id, None
        if selection.template is not None:
            template_id = find_template(connection, org_id, selection.template, "--template").template_id
        statuses = _UNDER_WAY if selection.status is None else (selection.status,)
        return instance_lists.matching(connection, org_id, template_id=template_id, statuses=statuses, limit=MOST + 1)


def _one(instance_id: UUID, verb: Callable[[UUID], Steered]) -> Each:
    try:
        done = verb(instance_id)
    except (NotFoundError, ConflictError) as error:
        return Each(instance_id, "refused", reason=_reason(error))
    return Each(instance_id, "unchanged" if done.already else "changed", done.status, done.said)


def _reason(error: InputError) -> str:
    return "; ".join(problem.message for problem in error.problems)
