"""Make the things that people define: orgs, rules, jobs. Each is checked whole, and stored in one transaction or not.

A rule's conditions and actions are stored as they were written: the engine parses them again, and whoever wrote a rule
finds their own words in it.
"""

from __future__ import annotations

import re
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final, Literal
from uuid import UUID

from sqlalchemy.exc import DBAPIError

from core import clock
from core.db import Context, sqlstate, switch
from core.errors import ConflictError, InputError, NotFoundError
from core.ids import uuid7
from engine.actions.registry import parse_actions
from engine.rules.definition import MAX_JSON_DEPTH, MAX_NAME, parse_rule
from engine.rules.objects import ObjectReader
from engine.rules.reading import Problems, refuse_unstorable, shown
from engine.rules.templates import TEMPLATES
from engine.schedule import definition as schedules
from engine.schedule.occurrences import first_occurrence
from engine.schedule.stored import to_columns
from engine.schedule.zones import zone
from engine.store import campaigns, jobs, maintenance, orgs, rules

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from datetime import datetime

    from sqlalchemy import Connection, Row

    from core.db import Database
    from engine.actions.registry import ActionSpec
    from engine.rules.definition import RuleDefinition
    from engine.schedule.definition import Schedule

_MAX_EMAIL: Final = 254  # RFC 5321
_EMAIL: Final = re.compile(r"[^@\s]+@[^@\s]+")
_NO_DATA_FOUND: Final = "P0002"
_LISTED_IDS: Final = 10


def create_org(database: Database, name: str, timezone: str, admin_email: str | None, *, actor: UUID) -> Row[Any]:
    """Make an org with a draft of each rule template, and its first admin if an address is given; returns its row.

    Raises InputError with every problem, ConflictError if the name is taken.
    """
    name = name.strip()
    _check_org(name, timezone, admin_email)
    taken = ConflictError.of("name", f"there is an org {name!r} already", "choose another name, or use that org")
    with _conflict("orgs_name_key", taken), database.transaction(None) as connection:
        now = clock.now(connection)
        org = orgs.OrgRef(uuid7(now), name, timezone)
        _insert_org(connection, org, actor, admin_email, now)
        context = Context(org.org_id, actor)
        switch(connection, context)
        rules.create(connection, [_template_columns(template, context, now) for template in TEMPLATES])
        return orgs.get(connection, org.org_id)


def create_rule(database: Database, context: Context, document: object) -> Row[Any]:
    """Store the rule of a JSON document (SPEC §2's column names) and return its row.

    Raises InputError with every problem; `entity_id` must name a campaign of the org.
    """
    definition = parse_rule(document, parse_actions=parse_actions)
    if not isinstance(document, dict):
        raise TypeError("a document that is no object was parsed as a rule")
    with database.transaction(context) as connection:
        entity_id = definition.entity_id
        if entity_id is not None and not campaigns.some(connection, context.org_id, [entity_id]):
            message = f"there is no campaign {entity_id} in this org"
            raise NotFoundError.of("entity_id", message, "see `cmis campaigns list`, or leave it out for all campaigns")
        columns = _rule_columns(definition, document, context, clock.now(connection))
        rules.create(connection, columns)
        return find_rule(connection, context.org_id, columns["rule_id"])


def set_rule_status(
    database: Database, context: Context, reference: UUID | str, status: Literal["active", "paused"]
) -> Row[Any]:
    """Activate or pause the rule of this id or name and return its row; nothing happens if it is so already.

    Raises NotFoundError, and ConflictError for an archived rule.
    """
    with database.transaction(context) as connection:
        rule = find_rule(connection, context.org_id, reference)
        rules.set_status(connection, context.org_id, rule.rule_id, status)
        rule = find_rule(connection, context.org_id, rule.rule_id)
        if rule.status != status:
            raise ConflictError.of("status", f"the rule {rule.name!r} is {rule.status}", "create a new rule instead")
        return rule


def create_job(database: Database, context: Context, document: Mapping[str, object]) -> Row[Any]:
    """Store a job that runs a rule by a schedule, wake the schedulers, and return its row.

    `document`: `rule` (id or name), optional `name` (default: the rule's), and the schedule columns of SPEC §5; the
    time zone is the org's unless one is given. Raises InputError with every problem, ConflictError for a taken name.
    """
    taken = ConflictError.of("name", "there is a job of this name already", "give the job a name of its own (--name)")
    with _conflict("scheduled_jobs_org_id_name_key", taken), database.transaction(context) as connection:
        now = clock.now(connection)
        columns = _job_columns(connection, context, document, now)
        jobs.create(connection, columns)
        maintenance.wake_schedulers(connection)
        return find_job(connection, context.org_id, columns["job_id"])


def find_rule(connection: Connection, org_id: UUID, reference: UUID | str, field: str = "rule") -> Row[Any]:
    """Return the rule of this id or exact name.

    Raises NotFoundError on `field` if there is none, InputError that lists the ids if several have the name.
    """
    found = rules.find(connection, org_id, _as_id(reference)) or rules.find(connection, org_id, str(reference))
    if not found:
        raise NotFoundError.of(field, f"there is no rule {shown(str(reference))}", "see `cmis rules list`")
    if len(found) > 1:
        ids = ", ".join(str(row.rule_id) for row in found[:_LISTED_IDS])
        message = f"{len(found)} rules are named {shown(str(reference))}"
        raise InputError.of(field, message, f"give the id of one: {ids}")
    return found[0]


def find_job(connection: Connection, org_id: UUID, reference: UUID | str, field: str = "job") -> Row[Any]:
    """Return the job of this id or exact name (unique in its org); raises NotFoundError on `field`."""
    row = jobs.find(connection, org_id, _as_id(reference)) or jobs.find(connection, org_id, str(reference))
    if row is None:
        raise NotFoundError.of(field, f"there is no job {shown(str(reference))}", "see `cmis jobs list`")
    return row


def _as_id(reference: UUID | str) -> UUID | str:
    """Take a text for an id if it reads as one; a name may look so, too, and is then found as a name."""
    try:
        return reference if isinstance(reference, UUID) else UUID(reference)
    except ValueError:
        return reference


def _check_org(name: str, timezone: str, admin_email: str | None) -> None:
    problems = Problems()
    if not name:
        problems.add("name", "is blank", "give a text")
    elif len(name) > MAX_NAME:
        problems.add("name", f"has {len(name)} characters", f"give at most {MAX_NAME}")
    elif not name.isprintable():
        problems.add("name", "holds a character that cannot be printed", "leave out tabs, line breaks and the like")
    if admin_email is not None and not _is_email(admin_email):
        problems.add("admin_email", f"{shown(admin_email)} is no e-mail address", "write it like ana@example.com")
    try:
        zone(timezone)
    except InputError as error:
        problems.extend(error)
    problems.raise_if_any()


def _is_email(text: str) -> bool:
    return len(text) <= _MAX_EMAIL and text.isprintable() and _EMAIL.fullmatch(text) is not None


def _insert_org(connection: Connection, org: orgs.OrgRef, actor: UUID, admin_email: str | None, now: datetime) -> None:
    try:
        orgs.create(connection, org, actor_id=actor, admin_id=uuid7(now), admin_email=admin_email)
    except DBAPIError as error:
        if sqlstate(error) != _NO_DATA_FOUND:
            raise
        message = f"{admin_email} is the address of a system actor"
        raise InputError.of("admin_email", message, "give a person's address") from error


def _template_columns(template_id: str, context: Context, now: datetime) -> dict[str, Any]:
    document = TEMPLATES[template_id].document()
    definition = parse_rule(document, parse_actions=parse_actions)
    return _rule_columns(definition, document, context, now) | {"template_id": template_id}


def _rule_columns(
    definition: RuleDefinition[ActionSpec], document: Mapping[Any, Any], context: Context, now: datetime
) -> dict[str, Any]:
    return {
        "org_id": context.org_id,
        "rule_id": uuid7(now),
        "name": definition.name,
        "description": definition.description or "",
        "rule_type": definition.rule_type,
        "entity_type": definition.entity_type.value,
        "entity_id": definition.entity_id,
        "trigger_type": definition.trigger_type.value,
        "conditions": document["conditions"],
        "condition_logic": definition.condition_logic.value,
        "actions": document["actions"],
        "stop_on_error": definition.stop_on_error,
        "priority": definition.priority.value,
        "status": definition.status.value,
        "max_executions_per_day": definition.max_executions_per_day,
        "cooldown_minutes": definition.cooldown_minutes,
        "guardrails": definition.guardrails.document(),
        "owner_id": context.user_id,
        "created_at": now,
        "updated_at": now,
    }


def _job_columns(
    connection: Connection, context: Context, document: Mapping[Any, object], now: datetime
) -> dict[str, Any]:
    refuse_unstorable(document, "", MAX_JSON_DEPTH)
    problems = Problems()
    name = ObjectReader(document, problems).optional_text("name", MAX_NAME)
    rule = _job_rule(connection, context, document.get("rule"), problems)
    schedule = _schedule(document, orgs.get(connection, context.org_id).timezone, now, problems)
    problems.raise_if_any()
    first = None if schedule is None else first_occurrence(schedule, now)
    if rule is None or schedule is None or first is None:
        raise TypeError("a job was accepted without a rule or a first planned time")
    return {
        "org_id": context.org_id,
        "job_id": uuid7(now),
        "name": name or rule.name,
        "rule_id": rule.rule_id,
        **to_columns(schedule),
        "next_run_at": first.at,
        "owner_id": context.user_id,
        "created_at": now,
        "updated_at": now,
    }


def _job_rule(connection: Connection, context: Context, reference: object, problems: Problems) -> Row[Any] | None:
    if not isinstance(reference, str | UUID):
        problems.add("rule", "is required" if reference is None else f"cannot be {shown(reference)}", "give its id")
        return None
    try:
        rule = find_rule(connection, context.org_id, reference)
    except InputError as error:
        problems.extend(error)
        return None
    if rule.status == "archived":
        problems.add("rule", f"the rule {rule.name!r} is archived", "give a rule that can still run")
    return rule


def _schedule(document: Mapping[str, object], org_timezone: str, now: datetime, problems: Problems) -> Schedule | None:
    columns = {key: value for key, value in document.items() if key not in {"name", "rule"}}
    if columns.get("timezone") is None:
        columns["timezone"] = org_timezone
    try:
        return schedules.parse(columns, now=now)
    except InputError as error:
        problems.extend(error)
        return None


@contextmanager
def _conflict(constraint: str, answer: ConflictError) -> Iterator[None]:
    """Turn the violation of a unique key into its answer: whoever came second is told, however close it was."""
    try:
        yield
    except DBAPIError as error:
        if getattr(getattr(error.orig, "diag", None), "constraint_name", None) != constraint:
            raise
        raise answer from error
