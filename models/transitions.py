"""The state machines of workflows, written once: guards of the database and the diagrams in docs/ are held equal.

What begins and ends within one commit is written once: that is why `pending` and `queued` lead to every end.
"""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, Final, TypeVar

from core.errors import ConflictError
from models.workflow_enums import InstanceStatus, StepStatus

if TYPE_CHECKING:
    from collections.abc import Mapping

Status = TypeVar("Status", bound=StrEnum)

_I, _S = InstanceStatus, StepStatus

INSTANCE: Final[Mapping[InstanceStatus, frozenset[InstanceStatus]]] = {
    _I.PENDING: frozenset({_I.RUNNING, _I.PAUSED, _I.COMPLETED, _I.FAILED, _I.CANCELLED}),
    _I.RUNNING: frozenset({_I.PAUSED, _I.COMPLETED, _I.FAILED, _I.CANCELLED}),
    _I.PAUSED: frozenset({_I.RUNNING, _I.FAILED, _I.CANCELLED}),
    _I.COMPLETED: frozenset(),
    _I.FAILED: frozenset(),
    _I.CANCELLED: frozenset(),
}
"""A run that was paused goes on as `running`, and only then ends by itself; its time may run out while it is paused."""

_ENDS: Final = frozenset({_S.COMPLETED, _S.FAILED, _S.SKIPPED, _S.CANCELLED})
_ACTIVE: Final = frozenset({_S.RUNNING, _S.WAITING, _S.RETRYING})

STEP: Final[Mapping[StepStatus, frozenset[StepStatus]]] = {
    _S.PENDING: _ENDS | _ACTIVE | {_S.QUEUED},
    _S.QUEUED: _ENDS | _ACTIVE,
    _S.RUNNING: _ENDS | {_S.RETRYING, _S.WAITING},
    _S.WAITING: _ENDS | {_S.QUEUED, _S.RUNNING, _S.RETRYING},
    _S.RETRYING: _ENDS | {_S.QUEUED, _S.RUNNING, _S.WAITING},
    _S.COMPLETED: frozenset(),
    _S.FAILED: frozenset({_S.QUEUED, _S.SKIPPED}),
    _S.SKIPPED: frozenset(),
    _S.CANCELLED: frozenset(),
}
"""A failed step may be retried or skipped by a person, while its instance waits for one."""

INSTANCE_ENDS: Final = frozenset(status for status, following in INSTANCE.items() if not following)
STEP_ENDS: Final = _ENDS
STEP_ACTIVE: Final = _ACTIVE | {_S.QUEUED}
"""Under way, or about to be: what cancelling has to stop."""


def check(machine: Mapping[Status, frozenset[Status]], before: Status, after: Status, what: str) -> None:
    """Raise ConflictError unless the machine leads from one state to the other."""
    if after not in machine[before]:
        raise ConflictError.of(what, f"is {before}, and cannot become {after}", _remedy(machine[before]))


def _remedy(following: frozenset[Status]) -> str:
    return f"from there it becomes {', '.join(sorted(following))}" if following else "nothing changes it any more"
