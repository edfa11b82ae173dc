"""What the execution of a step came to. The step's own policy decides what follows from a failure."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from sqlalchemy.exc import DBAPIError

from core.db import first_line
from core.errors import CmisError, InputError
from engine.callables.outcome import Returned, Stopped
from engine.retry import Kind, classify
from engine.workflows.definition import NEXT

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from engine.callables.base import Call, Registered
    from engine.callables.outcome import Outcome

_SHOWN: Final = 500


@dataclass(frozen=True, slots=True)
class Done:
    """It is done, with an output, and left by a label."""

    output: Mapping[str, Any] | None = None
    branch: str = NEXT


@dataclass(frozen=True, slots=True)
class Waits:
    """It waits: for a time, for a signal, or for whichever comes first."""

    waits_for: str
    until: datetime | None = None
    columns: Mapping[str, Any] = field(default_factory=dict)
    """What of the row says for which signal."""


@dataclass(frozen=True, slots=True)
class Broke:
    """An attempt failed."""

    code: str
    message: str
    kind: Kind
    names: tuple[str, ...] = ()
    """Of the exception and its ancestors: what `non_retryable` may name."""

    @classmethod
    def of(cls, error: BaseException) -> Broke:
        """Return what an exception says."""
        code = error.code if isinstance(error, CmisError) else type(error).__name__
        message = first_line(error) if isinstance(error, DBAPIError) else str(error) or type(error).__name__
        if isinstance(error, InputError):
            code = "PERMANENT"
        return cls(code, message[:_SHOWN], classify(error), tuple(one.__name__ for one in type(error).__mro__))

    def document(self, attempt: int) -> dict[str, Any]:
        """Return it as the step's row shows it."""
        return {"code": self.code, "message": self.message, "kind": self.kind, "attempt": attempt}


@dataclass(frozen=True, slots=True)
class Apart:
    """A registered callable has to be called, in a process of its own and with no transaction open."""

    registered: Registered
    call: Call
    timeout: float


def called(outcome: Outcome) -> Done | Broke:
    """Return what a call of a callable came to."""
    match outcome:
        case Returned(output=output):
            return Done(output)
        case Stopped():
            return Broke("STOPPED", "was stopped: its worker lost the task", "transient")
        case failure:
            return Broke(failure.code, failure.message, failure.kind, (*failure.names, failure.name))


Result: TypeAlias = Done | Waits | Broke | Apart
"""How an execution ended; `Apart` = it has not begun yet."""
