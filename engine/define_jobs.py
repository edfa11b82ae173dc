"""Make and change jobs. A definition is checked whole; what a change leaves behind is recorded before it takes hold."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from core import clock
from core.db import refusing, repeat_on_conflict
from core.errors import ConflictError, InputError
from core.ids import uuid7
from engine import job_document
from engine.find import find_job
from engine.schedule import stored
from engine.schedule.occurrences import first_occurrence
from engine.settle import Settled, settle_past
from engine.store import actions, jobs, maintenance, occurrences, orgs
from models.enums import JobStatus, Role

if TYPE_CHECKING:
    from datetime import datetime
    from uuid import UUID

    from sqlalchemy import Connection, Row

    from core.db import Context, Database
    from engine.job_document import Document
    from engine.schedule.definition import Schedule
    from engine.schedule.past import Reason

_NAME: Final = "scheduled_jobs_org_id_name_key"
_TAKEN: Final = ConflictError.of(
    "name", "there is a job of this name already", "give the job a name of its own (--name)"
)
_LIVE: Final = frozenset({JobStatus.ACTIVE, JobStatus.PAUSED})


def create_job(database: Database, context: Context, document: Document) -> Row[Any]:
    """Store a job that runs a rule, starts a workflow or optimises by a schedule; wake the schedulers, return its row.

    `document`: `rule` or `workflow` (id or name), or `target_type` `optimization` and optional `campaign`; optional
    `name` (default: the rule's or workflow's, or one that says what it optimises), `execution_context`, and the columns
    of SPEC §5; the time zone is the org's unless one is given. Raises InputError with every problem, ConflictError for
    a taken name.
    """
    with refusing(_NAME, _TAKEN), database.transaction(context) as connection:
        actions.require_role(connection, Role.EDITOR)
        now = clock.now(connection)
        zone = document.get("timezone")
        if zone is None:
            zone = orgs.get(connection, context.org_id).timezone
        wanted = job_document.read(connection, context.org_id, {**document, "timezone": zone}, now=now)
        job_id = uuid7(now)
        times = {"next_run_at": _first(wanted.schedule, now), "created_at": now, "updated_at": now}
        keys = {"org_id": context.org_id, "job_id": job_id, "owner_id": context.user_id}
        jobs.create(connection, wanted.columns | keys | times)
        maintenance.wake_schedulers(connection)
        return find_job(connection, context.org_id, job_id)


def update_job(database: Database, context: Context, reference: UUID | str, changes: Document) -> Row[Any]:
    """Change some columns of a job and return its row; null takes a value away, what is the same changes nothing.

    Another schedule holds from now on. Planned times of the old one that are due and undecided are recorded as
    `cancelled` (of a paused job as `paused`, of one at its limit as `limit_reached`); a completed or failed job is
    active again. A long past takes several transactions; the old schedule holds until the last one. Raises
    NotFoundError, InputError with every problem of the resulting whole, ConflictError for a taken name.
    """
    with database.transaction(context) as connection:
        job_id = find_job(connection, context.org_id, reference).job_id
    while True:
        done = repeat_on_conflict(lambda: _update(database, context, job_id, changes))
        if done is not None:
            return done


def _update(database: Database, context: Context, job_id: UUID, changes: Document) -> Row[Any] | None:
    """Take one step in a transaction of its own; None if the past is longer."""
    with refusing(_NAME, _TAKEN), database.transaction(context) as connection:
        actions.require_role(connection, Role.EDITOR)
        job = jobs.lock(connection, context.org_id, job_id)
        now = clock.now(connection)
        change = _change(connection, job, changes, now)
        if not change.columns:
            return job
        columns = change.columns | {"updated_at": now}
        reason = change.reason(job)
        if reason is not None:
            settled = _settle(connection, job, reason, now)
            if settled is None:
                return None
            columns |= _new_state(connection, job, change, settled, now)
        jobs.change(connection, job.org_id, job.job_id, columns)
        maintenance.wake_schedulers(connection)
        return find_job(connection, job.org_id, job.job_id)


@dataclass(frozen=True, slots=True)
class _Change:
    """What an update comes to: the columns that differ, and the schedule that then holds."""

    columns: dict[str, Any]
    schedule: Schedule
    replans: bool
    """Whether the planned times change."""

    def lifts_limit(self, job: Row[Any]) -> bool:
        """Say whether the job is completed for its limit, and the limit goes up."""
        at_limit = job.status == JobStatus.COMPLETED and _reached(job.run_count, job.max_executions)
        return at_limit and not _reached(job.run_count, self.columns.get("max_executions", job.max_executions))

    def reason(self, job: Row[Any]) -> Reason | None:
        """Return why the planned times up to now do not run any more; None if they are not touched."""
        if job.status == JobStatus.COMPLETED and (self.replans or self.lifts_limit(job)):
            return "limit_reached"
        if not self.replans:
            return None
        return "paused" if job.status == JobStatus.PAUSED else "cancelled"


def _change(connection: Connection, job: Row[Any], changes: Document, now: datetime) -> _Change:
    document = job_document.changed(job, changes)
    kept = job.rule_id or job.campaign_id or job.template_id
    if changes.keys() & job_document.SCHEDULE:
        wanted = job_document.read(connection, job.org_id, document, now=now, kept=kept)
        schedule = job_document.keeping_phase(job, wanted.schedule)
        columns = wanted.columns | {"anchor_at": schedule.anchor}
    else:
        schedule = stored.of_row(job)
        columns = job_document.read_beside_schedule(connection, job.org_id, document, kept)
    differing = {name: value for name, value in columns.items() if value != job._mapping[name]}  # noqa: SLF001
    replans = bool(differing.keys() & job_document.SCHEDULE)
    if not replans:
        differing.pop("anchor_at", None)
    change = _Change(differing, schedule, replans)
    _check(job, change, now)
    return change


def _check(job: Row[Any], change: _Change, now: datetime) -> None:
    """Refuse what would leave a job that can never run."""
    live = job.status in _LIVE or change.replans or change.lifts_limit(job)
    limit = change.columns.get("max_executions", job.max_executions)
    if live and _reached(job.run_count, limit) and (change.replans or "max_executions" in change.columns):
        message = f"is {limit}, and the job has run {job.run_count} times already"
        raise InputError.of("max_executions", message, "give a greater number, or take the limit away")
    if not change.replans:
        return
    if first_occurrence(change.schedule, now) is None:
        raise InputError.of("end_date", "is before the next time it fires", "use a later end_date")


def _settle(connection: Connection, job: Row[Any], reason: Reason, now: datetime) -> Settled | None:
    try:
        return settle_past(connection, job, reason, now=now)
    except (InputError, ValueError, ArithmeticError):  # the old schedule cannot be computed: this change mends it
        return Settled(job.last_scheduled_for, None)


def _new_state(
    connection: Connection, job: Row[Any], change: _Change, settled: Settled, now: datetime
) -> dict[str, Any]:
    state: dict[str, Any] = {"last_scheduled_for": settled.last_scheduled_for, "next_run_at": settled.next_run_at}
    if change.replans:
        state |= {"revised_at": now, "next_run_at": _first(change.schedule, now)}
        _refuse_decided(state["next_run_at"], settled)
    if state["next_run_at"] is None:
        return state  # a higher limit is of no use to a schedule that has ended
    if job.status != JobStatus.PAUSED:
        state["status"] = JobStatus.ACTIVE.value
    return state | {"failures": 0, "open_from": occurrences.first_open(connection, job), "last_error": None}


def _refuse_decided(first: datetime, settled: Settled) -> None:
    """Refuse a `once` time that is late, though within its grace, where the job has decided a later one already."""
    if settled.last_scheduled_for is not None and first <= settled.last_scheduled_for:
        message = f"{first.isoformat()} is not after {settled.last_scheduled_for.isoformat()}, which is decided already"
        raise InputError.of("start_date", message, "use a time to come")


def _first(schedule: Schedule, now: datetime) -> datetime:
    first = first_occurrence(schedule, now)
    if first is None:
        raise TypeError("a schedule was accepted that never fires")
    return first.at


def _reached(runs: int, limit: int | None) -> bool:
    return limit is not None and runs >= limit
