"""One claimed job → its new columns, the planned times to record, the runs to enqueue. Rows in, rows out."""

from __future__ import annotations

import logging
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final, NamedTuple, TypeAlias

from core.ids import uuid7
from engine import chunk, urgency
from engine.schedule import policies as policy
from engine.schedule.due import State, decide
from engine.schedule.failures import failures_in_a_row
from engine.schedule.jitter import jitter
from engine.schedule.past import cursor
from engine.schedule.stored import of_row
from engine.workflows.job_start import DueStart, JobStart
from models.enums import Decision, JobStatus, Origin, TriggerType

if TYPE_CHECKING:
    from datetime import datetime

    from engine.schedule.due import Plan, Stretch
    from engine.schedule.policies import Policies
    from engine.store.claimed import ClaimedJob

logger = logging.getLogger(__name__)

REVIEW_AFTER: Final = timedelta(seconds=1)
"""How soon a scheduler looks whether the run is over that a buffered time waits for; later, the longer it waits."""
LATEST_REVIEW: Final = timedelta(seconds=30)
_ACTIVE: Final = JobStatus.ACTIVE.value  # an enum's `.value` is a call, and these are read for every job
_PAUSED: Final = JobStatus.PAUSED.value
_SCHEDULE: Final = Origin.SCHEDULE.value
_TRIGGER: Final = TriggerType.SCHEDULE.value
_OPEN: Final = "open"
_ENQUEUED: Final = {"rule": "due", "optimization": "alone", "workflow": "starts"}
"""Where the runs of a job go, by its target."""
_SHOWN_ERROR: Final = 500
_Run: TypeAlias = chunk.Item | chunk.Optimization | JobStart


class Decided(NamedTuple):
    """What becomes of one claimed job."""

    row: ClaimedJob
    job: dict[str, Any]
    """Its new columns."""
    occurrences: tuple[dict[str, Any], ...] = ()
    """The planned times to record."""
    released: dict[str, Any] | None = None
    """The buffered time that runs now, or never."""
    cancelled: dict[str, Any] | None = None
    """Between which planned times its open runs are to be cancelled."""
    due: tuple[chunk.Due, ...] = ()
    """The evaluations to enqueue."""
    alone: tuple[chunk.Alone, ...] = ()
    """The optimisations to enqueue."""
    starts: tuple[DueStart, ...] = ()
    """The instances to enqueue."""
    computed: int = 1
    """Planned times computed; what counts against the batch's budget."""


class _Settled(NamedTuple):
    """What the outcomes of earlier runs say: failures in a row, and the first run that is still open."""

    failures: int
    open_from: datetime | None

    @property
    def run_open(self) -> bool:
        return self.open_from is not None


def decide_job(row: ClaimedJob, now: datetime, limit: int) -> Decided:
    """Decide a claimed job, at most `limit` planned times of it. One whose times cannot be computed fails alone."""
    try:
        return _decide(row, now, limit)
    except (OSError, MemoryError):
        raise  # ours, not the job's
    except Exception as error:
        logger.exception("the next time of job %s cannot be computed", row.job_id)
        return failed_job(row, str(error) or type(error).__name__)


def failed_job(row: ClaimedJob, reason: str) -> Decided:
    """End a job as failed, with the reason; what it had buffered never runs."""
    job = _key(row) | {
        "status": JobStatus.FAILED.value,
        "next_run_at": None,
        "last_scheduled_for": row.last_scheduled_for,
        "runs": 0,
        "open_from": row.open_from,
        "failures": row.failures,
        "last_error": reason[:_SHOWN_ERROR],
    }
    return Decided(row, job, released=_released(row, None) if row.buffered_for else None)


def _decide(row: ClaimedJob, now: datetime, limit: int) -> Decided:
    policies = policy.of_row(row)
    settled = _settle(row.failures, row.outcomes, row.first_open)
    pausing = policies.pause_on_failure_count is not None and settled.failures >= policies.pause_on_failure_count
    runs_left = None if policies.max_executions is None else max(0, policies.max_executions - row.run_count)
    live = row.status == _ACTIVE and not pausing
    released = _release(row, settled, policies, runnable=live and runs_left != 0)
    if released is not None and released.runs:
        runs_left = None if runs_left is None else runs_left - 1
        settled = _Settled(settled.failures, settled.open_from or released.time)
    schedule = of_row(row)
    state = State(
        first=row.next_run_at if row.status == _ACTIVE else None,
        cursor=cursor(schedule, row.last_scheduled_for, row.revised_at or row.created_at),
        previous=row.last_scheduled_for,
        run_open=settled.run_open,
        buffered=row.buffered_for is not None and released is None,
        runs_left=runs_left,
        pausing=pausing,
    )
    plan = decide(schedule, policies, state, now=now, limit=limit)
    return _decided(row, policies, plan, settled, released, now, pausing=pausing)


class _Release(NamedTuple):
    """What becomes of the buffered time: it runs, or it is cancelled."""

    time: datetime
    runs: bool


def _settle(failures: int, outcomes: str | None, first_open: datetime | None) -> _Settled:
    """Count the outcomes up to the first run that is open: those behind it are counted once it is over."""
    if outcomes is not None:
        failures = failures_in_a_row(failures, (None if one == _OPEN else one for one in outcomes.split()))
    return _Settled(failures, first_open)


def _release(row: ClaimedJob, settled: _Settled, policies: Policies, *, runnable: bool) -> _Release | None:
    """Say what becomes of the buffered time now; None while it waits, or where there is none.

    It waits only as long as the job's policy is to buffer: under another one it runs beside, or never, at once.
    """
    if row.buffered_for is None:
        return None
    if runnable and (not settled.run_open or policies.overlap in {"allow", "cancel_other"}):
        return _Release(row.buffered_for, runs=True)
    waits = runnable and policies.overlap == "buffer_one"
    return None if waits else _Release(row.buffered_for, runs=False)


def _pause(waited: timedelta) -> timedelta:
    """Return how long to wait for the next review: a quarter of the time waited so far, from 1 s to 30 s."""
    return min(max(waited / 4, REVIEW_AFTER), LATEST_REVIEW)


def _decided(
    row: ClaimedJob,
    policies: Policies,
    plan: Plan,
    settled: _Settled,
    released: _Release | None,
    now: datetime,
    *,
    pausing: bool,
) -> Decided:
    times = [stretch.scheduled_for for stretch in plan.runs]
    if released is not None and released.runs:
        times.insert(0, released.time)
    items = {time: _item(row, time, now) for time in times}
    enqueued: dict[str, Any] = {
        _ENQUEUED[row.target_type]: tuple([_due(row, policies, item, now) for item in items.values()])
    }
    buffered = plan.buffered.scheduled_for if plan.buffered else row.buffered_for if released is None else None
    next_run_at = row.next_run_at if row.status == _PAUSED else plan.next_run_at
    job = {
        **_key(row),
        "status": _status(row, next_run_at, buffered, pausing=pausing),
        "next_run_at": next_run_at,
        "last_scheduled_for": plan.last_scheduled_for,
        "last_run_for": max(times) if times else None,
        "runs": len(times),
        "open_from": settled.open_from or (min(times) if times else None),
        "failures": settled.failures,
    }
    if buffered is not None:
        job |= {"buffered_for": buffered, "review_at": now + _pause(now - buffered)}
    if pausing:
        job["pause_note"] = f"{settled.failures} failed runs in a row"
    return Decided(
        row,
        job,
        tuple([_occurrence(row, stretch, items.get(stretch.scheduled_for)) for stretch in plan.stretches]),
        _released(row, items.get(released.time)) if released else None,
        _cancelled(row, settled) if plan.cancels else None,
        computed=max(1, plan.computed),
        **enqueued,
    )


def _status(row: ClaimedJob, next_run_at: datetime | None, buffered: datetime | None, *, pausing: bool) -> str:
    if row.status != _ACTIVE:
        return str(row.status)
    if next_run_at is None and buffered is None:
        return JobStatus.COMPLETED.value
    return _PAUSED if pausing else _ACTIVE


def _key(row: ClaimedJob) -> dict[str, Any]:
    """Return what names the job, and the state in which it was claimed."""
    return {
        "org_id": row.org_id,
        "job_id": row.job_id,
        "was": row.status,
        "revision": row.revision,
        "previous": row.last_scheduled_for,
    }


def _item(row: ClaimedJob, scheduled_for: datetime, now: datetime) -> _Run:
    if row.template_id is not None:
        run_of = (uuid7(now), row.template_id, row.job_id, _SCHEDULE, scheduled_for)
        return JobStart(*run_of, context=row.execution_context, timeout_seconds=row.timeout_seconds)
    run = (uuid7(now), _TRIGGER, row.job_id, _SCHEDULE, scheduled_for)
    if row.rule_id is not None:
        return chunk.Item(row.rule_id, *run, context=row.execution_context)
    return chunk.Optimization(*run, context=row.execution_context, campaign_id=row.campaign_id)


def _due(row: ClaimedJob, policies: Policies, item: _Run, now: datetime) -> chunk.Due | chunk.Alone | DueStart:
    run_at = now
    if policies.jitter_seconds and item.scheduled_for is not None:
        run_at = max(now, item.scheduled_for + jitter(row.job_id, item.scheduled_for, policies.jitter_seconds))
    if isinstance(item, JobStart):
        return DueStart(row.org_id, item, run_at)
    timeout = policies.timeout_seconds or policy.DEFAULT_TIMEOUT
    if isinstance(item, chunk.Optimization):
        return chunk.Alone(row.org_id, item, timeout, run_at)
    return chunk.Due(row.org_id, item, row.entities, timeout, run_at, urgency.of_rule(row.priority))


def _result(item: _Run | None) -> dict[str, Any]:
    """Return the column that names what a run leaves: its instance, or its execution."""
    if isinstance(item, JobStart):
        return {"instance_id": item.instance_id}
    return {"execution_id": item.execution_id if item else None}


def _occurrence(row: ClaimedJob, stretch: Stretch, item: _Run | None) -> dict[str, Any]:
    return {
        "org_id": row.org_id,
        "job_id": row.job_id,
        "scheduled_for": stretch.scheduled_for,
        "until": stretch.until,
        "count": stretch.times,
        "previous": stretch.previous,
        "job_revision": row.revision,
        "decision": stretch.decision,
    } | _result(item)


def _released(row: ClaimedJob, item: _Run | None) -> dict[str, Any]:
    return {
        "org_id": row.org_id,
        "job_id": row.job_id,
        "scheduled_for": row.buffered_for,
        "decision": (Decision.RUN if item else Decision.CANCELLED).value,
    } | _result(item)


def _cancelled(row: ClaimedJob, settled: _Settled) -> dict[str, Any]:
    """Return the range of planned times in which runs are open: from the first of them to the last that ran."""
    key = {"org_id": row.org_id, "job_id": row.job_id}
    known = [time for time in (settled.open_from, row.last_run_for) if time is not None]
    return key | {"low": min(known), "high": max(known)}
