"""Pause a job, and resume it without firing what went by meanwhile."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from core import clock
from core.db import repeat_on_conflict
from core.errors import ConflictError
from engine.find import find_job, find_rule, find_template
from engine.rules.reading import Problems, refuse_unstorable
from engine.schedule.occurrences import next_occurrence
from engine.schedule.past import cursor
from engine.schedule.stored import of_row
from engine.settle import Settled, settle_past
from engine.store import actions, jobs, maintenance, occurrences
from models.enums import JobStatus, Role, RuleStatus
from models.workflow_enums import TemplateStatus

if TYPE_CHECKING:
    from datetime import datetime
    from uuid import UUID

    from sqlalchemy import Connection, Row

    from core.db import Context, Database

MAX_NOTE: Final = 500


def pause_job(database: Database, context: Context, reference: UUID | str, note: str | None = None) -> Row[Any]:
    """Keep a job from firing until it is resumed, and return its row; runs that are decided already go on.

    A job that is paused already stays so; a note replaces its note. Raises NotFoundError, InputError for a note that
    cannot be kept, ConflictError for a job that is completed or failed.
    """
    note = _checked(note)
    with database.transaction(context) as connection:
        actions.require_role(connection, Role.OPERATOR)
        job_id = find_job(connection, context.org_id, reference).job_id
        now = clock.now(connection)
        paused = jobs.pause(connection, context.org_id, job_id, note=note, now=now)
        job = find_job(connection, context.org_id, job_id)
        if paused:
            return job
        if job.status != JobStatus.PAUSED:
            raise _has_ended(job, "paused")
        if note in {None, job.pause_note} or not jobs.renote(connection, context.org_id, job_id, note=note, now=now):
            return job
        return find_job(connection, context.org_id, job_id)


def resume_job(database: Database, context: Context, reference: UUID | str, *, catch_up: bool = False) -> Row[Any]:
    """Let a paused job fire again from now on, and return its row; an active job stays as it is.

    What went by since the cursor is recorded as `paused` and never fires; with `catch_up` the schedulers decide it by
    the job's misfire policy instead. A job without a time to come is completed. A long past takes several transactions;
    the job is paused until the last one. Raises NotFoundError, ConflictError for a job that is completed or failed, or
    that somebody else changed meanwhile.
    """
    with database.transaction(context) as connection:
        seen = find_job(connection, context.org_id, reference)
    while True:
        done = repeat_on_conflict(lambda: _resume(database, context, seen, catch_up=catch_up))
        if done is not None:
            return done


def _resume(database: Database, context: Context, seen: Row[Any], *, catch_up: bool) -> Row[Any] | None:
    """Take one step in a transaction of its own; None if the past is longer."""
    with database.transaction(context) as connection:
        actions.require_role(connection, Role.OPERATOR)
        job = jobs.lock(connection, context.org_id, seen.job_id)
        if job.status == JobStatus.ACTIVE:
            return job
        if job.status != JobStatus.PAUSED:
            raise _has_ended(job, "resumed")
        _refuse_for_archived(connection, job)
        if job.updated_at != seen.updated_at:
            raise ConflictError.of(
                "job", f"the job {job.name!r} was changed while it was being resumed", "look at it, and try again"
            )
        now = clock.now(connection)
        settled = _as_it_is(job) if catch_up else settle_past(connection, job, "paused", now=now)
        if settled is None:
            return None
        _activate(connection, job, settled, now)
        maintenance.wake_schedulers(connection)
        return find_job(connection, context.org_id, job.job_id)


def _refuse_for_archived(connection: Connection, job: Row[Any]) -> None:
    """Refuse where the job would find its rule or workflow out of use at each of its times, for ever."""
    rule = None if job.rule_id is None else find_rule(connection, job.org_id, job.rule_id)
    if rule is not None and rule.status == RuleStatus.ARCHIVED:
        message = f"its rule {rule.name!r} is archived"
        raise ConflictError.of("job", message, "give it another one: `cmis jobs update --rule`")
    template = None if job.template_id is None else find_template(connection, job.org_id, job.template_id)
    if template is not None and template.status == TemplateStatus.ARCHIVED:
        message = f"its workflow {template.name!r} is archived"
        raise ConflictError.of("job", message, "activate that, or give it another: `cmis jobs update --workflow`")


def _as_it_is(job: Row[Any]) -> Settled:
    """Leave the past to the schedulers: the job waits for its first undecided time, be it long gone."""
    schedule = of_row(job)
    after = cursor(schedule, job.last_scheduled_for, job.revised_at or job.created_at)
    found = next_occurrence(schedule, after)
    return Settled(job.last_scheduled_for, found.at if found else None)


def _activate(connection: Connection, job: Row[Any], settled: Settled, now: datetime) -> None:
    # A time that is buffered is still the schedulers' to run, and then they complete the job.
    waits = settled.next_run_at is not None or job.buffered_for is not None
    values = {
        "status": (JobStatus.ACTIVE if waits else JobStatus.COMPLETED).value,
        "pause_note": None,
        "last_error": None,
        "failures": 0,
        "open_from": occurrences.first_open(connection, job),
        "last_scheduled_for": settled.last_scheduled_for,
        "next_run_at": settled.next_run_at,
        "updated_at": now,
    }
    jobs.change(connection, job.org_id, job.job_id, values)


def _checked(note: str | None) -> str | None:
    if note is None or not note.strip():
        return None
    refuse_unstorable(note, "note", 0)
    problems = Problems()
    if len(note.strip()) > MAX_NOTE:
        problems.add("note", f"has {len(note.strip())} characters", f"give at most {MAX_NOTE}")
    problems.raise_if_any()
    return note.strip()


def _has_ended(job: Row[Any], verb: str) -> ConflictError:
    message = f"the job {job.name!r} is {job.status} and cannot be {verb}"
    return ConflictError.of("job", message, "give it a schedule with times to come: `cmis jobs update`")
