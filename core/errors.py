"""Errors that say who must act: the caller, the operator, we by retrying, or we by mending a bug.

Codes are stable and match the problem codes of the HTTP interface.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Self

if TYPE_CHECKING:
    from collections.abc import Sequence


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing wrong with an input: `field` is a path (`conditions[0].operator`), `remedy` what to do instead."""

    field: str
    message: str
    remedy: str | None = None

    def __str__(self) -> str:
        """Render as one line for people."""
        text = f"{self.field}: {self.message}" if self.field else self.message
        return f"{text} ({self.remedy})" if self.remedy else text


class CmisError(Exception):
    """Base of every error this product raises on purpose."""

    code: ClassVar[str] = "INTERNAL_ERROR"


class InputError(CmisError):
    """The caller's input is wrong; the caller mends it. Carries every problem found, not only the first."""

    code = "VALIDATION_ERROR"

    def __init__(self, problems: Sequence[Problem]) -> None:
        self.problems = tuple(problems)
        super().__init__("; ".join(str(problem) for problem in self.problems))

    @classmethod
    def of(cls, field: str, message: str, remedy: str | None = None) -> Self:
        """Build an error of a single problem."""
        return cls([Problem(field, message, remedy)])


class NotFoundError(InputError):
    """What the caller named does not exist in this org."""

    code = "RESOURCE_NOT_FOUND"


class ConflictError(InputError):
    """The input is well-formed but the present state refuses it."""

    code = "CONFLICT"


class SetupError(CmisError):
    """The environment is wrong (a variable, a server, a role); the operator mends it."""

    code = "ENVIRONMENT"

    def __init__(self, message: str, remedy: str) -> None:
        self.remedy = remedy
        super().__init__(f"{message} ({remedy})")


class UnreachableError(SetupError):
    """A server gives no answer at the moment. What runs for long waits until it does; a command says so and ends."""


class TransientError(CmisError):
    """A failure that is expected to pass; the engine retries with backoff."""

    code = "TRANSIENT"


class PermanentError(CmisError):
    """A failure that no retry mends; the tenant must change something."""

    code = "PERMANENT"


class OutOfTimeError(CmisError):
    """A run took longer than its timeout allows; the tenant gives it more time, or less to do."""

    code = "TIMEOUT"
