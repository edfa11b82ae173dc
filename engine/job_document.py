"""A job as a document: SPEC §2's column names and their values, read whole; a change laid over a stored one."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from core.errors import InputError
from engine import job_target
from engine.rules.definition import MAX_JSON_DEPTH, MAX_NAME
from engine.rules.objects import ObjectReader
from engine.rules.reading import Problems, refuse_unstorable, shown
from engine.schedule import definition, policies, stored
from engine.schedule.fields import Fields
from models.enums import TargetType

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime
    from uuid import UUID

    from sqlalchemy import Connection, Row

    from engine.schedule.definition import Schedule
    from engine.schedule.policies import Policies

Document: TypeAlias = "Mapping[Any, object]"

MAX_CONTEXT: Final = 16 * 1024
SHAPE: Final = ("cron_expression", "frequency", "interval", "time_of_day", "days_of_week", "day_of_month")
"""The fields that only some kinds of schedule have."""
SCHEDULE: Final = frozenset(
    {"schedule_type", "timezone", "start_date", "end_date", "dst_gap", "dst_fold", "month_end", *SHAPE}
)
"""What determines the planned times."""
_OWN: Final = frozenset({"name", "execution_context", *job_target.NAMES})
_STARTS: Final = TargetType.WORKFLOW.value
_TIMED: Final = frozenset({"daily", "weekly", "monthly"})


@dataclass(frozen=True, slots=True)
class JobDefinition:
    """A checked definition: the columns that people give, and the schedule among them."""

    columns: dict[str, Any]
    schedule: Schedule


def read(
    connection: Connection, org_id: UUID, document: Document, *, now: datetime, kept: UUID | None = None
) -> JobDefinition:
    """Read a whole job whose schedule must have a time to come.

    `rule` or `rule_id` names its rule, whose name is the job's unless it has its own; `workflow` or `template_id` names
    a workflow; or `target_type` says that it optimises, and `campaign` or `campaign_id` what. `kept` is what it names
    already, which may be archived. Raises InputError with every problem.
    """
    problems = Problems()
    own = _own_columns(connection, org_id, document, problems, kept)
    try:
        schedule, found = definition.parse_job(_without(document, _OWN), now=now)
    except InputError as error:
        problems.extend(error)
        problems.raise_if_any()
        raise
    problems.raise_if_any()
    return JobDefinition(own | stored.to_columns(schedule) | _policy_columns(document, found), schedule)


def read_beside_schedule(connection: Connection, org_id: UUID, document: Document, kept: UUID | None) -> dict[str, Any]:
    """Read all of a job but its schedule, and return the columns; raises InputError with every problem."""
    problems = Problems()
    own = _own_columns(connection, org_id, document, problems, kept)
    fields = Fields(_without(document, _OWN | SCHEDULE))
    fields.refuse_unknown(policies.NAMES, policies.NAMES | SCHEDULE | _OWN)
    found = policies.read(fields)
    for problem in fields.problems:
        problems.add(problem.field, problem.message, problem.remedy)
    problems.raise_if_any()
    return own | _policy_columns(document, found)


def changed(job: Row[Any], changes: Document) -> dict[str, object]:
    """Return a stored job's document with changes laid over it; null takes a field away.

    Another kind of schedule takes the old kind's fields away; the time of day stays where both have one.
    """
    columns = job._asdict()
    given = {*SCHEDULE, *policies.NAMES, *_OWN} - job_target.NAMES
    document: dict[str, object] = {name: columns[name] for name in given} | job_target.changed(job, changes)
    kind, old = _kind(changes, job), (job.schedule_type, job.frequency)
    if kind != old:
        kept = {"time_of_day"} if {*kind, *old} - {"recurring"} <= _TIMED else set()
        document |= dict.fromkeys({*SHAPE} - kept) | {"schedule_type": kind[0], "frequency": kind[1]}
        if "once" in {kind[0], old[0]}:
            document |= {"start_date": None, "end_date": None}
    if kind[0] != "recurring":
        document["interval"] = None  # the column has a value for every kind
    if (job_target.type_of(document | dict(changes)) == _STARTS) != (job.target_type == _STARTS):
        document["timeout_seconds"] = None  # of one evaluation it means something else than of an instance
    return document | dict(changes)


def _policy_columns(document: Document, found: Policies) -> dict[str, Any]:
    """Return the columns of policies: a workflow has its own time unless the job gives it another."""
    columns = policies.to_columns(found)
    if job_target.type_of(document) == _STARTS and document.get("timeout_seconds") is None:
        columns["timeout_seconds"] = None
    return columns


def _kind(changes: Document, job: Row[Any]) -> tuple[object, object]:
    """Return the schedule type and the frequency that the changes ask for; the job's own where they are silent."""
    given = {name: value for name, value in changes.items() if value is not None}
    frequency = given.get("frequency", job.frequency)
    if "schedule_type" in given:
        return given["schedule_type"], frequency if given["schedule_type"] == "recurring" else None
    if "cron_expression" in given:
        return "cron", None
    return ("recurring", frequency) if "frequency" in given else (job.schedule_type, job.frequency)


def keeping_phase(job: Row[Any], schedule: Schedule) -> Schedule:
    """Let recurrences go on counting from where they did, if nothing changed that they count with."""
    same = ("schedule_type", "frequency", "interval", "timezone", "start_date")
    if all(getattr(job, name) == getattr(schedule, name) for name in same):
        return replace(schedule, anchor=job.anchor_at)
    return schedule


def _without(document: Document, names: frozenset[str]) -> dict[str, object]:
    return {name: value for name, value in document.items() if name not in names}


def _own_columns(
    connection: Connection, org_id: UUID, document: Document, problems: Problems, kept: UUID | None
) -> dict[str, Any]:
    refuse_unstorable(document, "", MAX_JSON_DEPTH + 1)
    name = ObjectReader(document, problems).optional_text("name", MAX_NAME)
    context = _context(document.get("execution_context"), problems)
    target = job_target.read(connection, org_id, document, problems, kept)
    return {} if target is None else {"name": name or target.name, "execution_context": context} | target.columns()


def _context(value: object, problems: Problems) -> dict[str, Any]:
    if value is None:
        return {}
    if not isinstance(value, dict):
        problems.add("execution_context", f"must be an object, not {shown(value)}", 'write {"season": "spring"}')
        return {}
    size = len(json.dumps(value, default=str, ensure_ascii=False, separators=(",", ":")).encode())
    if size > MAX_CONTEXT:
        problems.add("execution_context", f"has {size} bytes", f"give at most {MAX_CONTEXT}")
    return value
