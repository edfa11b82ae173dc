"""How an evaluation ended: the status of its execution, decided once, and what is told of an error."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from sqlalchemy.exc import DBAPIError

from core.db import first_line
from core.errors import CmisError, TransientError
from engine.retry import classify
from engine.rules.gates import skip_reason
from models.enums import ExecutionStatus

if TYPE_CHECKING:
    from collections.abc import Sequence
    from uuid import UUID

    from sqlalchemy import Row

    from engine.actions.base import Effect
    from engine.chunk import Item
    from engine.run_rules.state import Run

_SHOWN_TEXT: Final = 500


@dataclass(frozen=True, slots=True)
class Failed:
    """An evaluation that ended in an error instead of a plan, and the rule as it was tried."""

    item: Item
    rule_name: str
    rule_version: int
    failures: int
    """Those of the rule in a row before this one."""
    error: dict[str, Any]

    @classmethod
    def of(cls, item: Item, row: Row[Any], error: BaseException) -> Failed:
        """Return the failure of a locked rule's evaluation."""
        return cls(item, row.name, row.version, row.failures_in_a_row, error_document(error))

    @classmethod
    def of_run(cls, run: Run, error: BaseException) -> Failed:
        """Return the failure of an evaluation that had begun."""
        rule = run.rule
        return cls(run.item, rule.name, rule.version, rule.failures, error_document(error))


@dataclass(frozen=True, slots=True)
class Carrier:
    """The task that carries the evaluations, as their records name it."""

    org_id: UUID
    task_id: UUID
    attempt: int


class Ended(NamedTuple):
    """How one evaluation ended."""

    item: Item
    status: ExecutionStatus
    skip_reason: str | None
    results: dict[str, int]
    error: dict[str, Any] | None
    goes_on: bool = False
    """Whether actions follow after a delay; deliveries do not keep a run open (SPEC §5)."""


def ended(run: Run) -> Ended:
    """Return how a planned evaluation ends."""
    if not run.effects:
        return Ended(run.item, ExecutionStatus.SKIPPED, str(run.stopped or skip_reason(run.reached)), {}, None)
    results: dict[str, int] = dict(Counter(effect.status for effect in run.effects))
    goes_on = bool(run.rule.delay) and any(effect.follows for effect in run.effects)
    return Ended(run.item, status_of(run.effects), None, results, None, goes_on)


def broken(failed: Failed) -> Ended:
    """Return how an evaluation ends that ended in an error."""
    return Ended(failed.item, ExecutionStatus.FAILURE, None, {}, failed.error)


def error_document(error: BaseException) -> dict[str, Any]:
    """Return a stable code and a bounded message, fit for the tenant's eyes; an unexpected error is a bug of ours."""
    if isinstance(error, CmisError):
        code = error.code
    else:
        code = TransientError.code if classify(error) == "transient" else CmisError.code
    message = first_line(error) if isinstance(error, DBAPIError) else str(error)
    return {"code": code, "type": type(error).__name__, "message": message[:_SHOWN_TEXT]}


def status_of(effects: Sequence[Effect]) -> ExecutionStatus:
    """Decide an execution's status from its effects: open while one waits, else all, some or none succeeded."""
    if not effects:
        return ExecutionStatus.SKIPPED
    statuses = {effect.status for effect in effects}
    if "held" in statuses or "queued" in statuses:
        return ExecutionStatus.RUNNING
    if "failed" not in statuses:
        return ExecutionStatus.SUCCESS
    return ExecutionStatus.PARTIAL if "succeeded" in statuses else ExecutionStatus.FAILURE
