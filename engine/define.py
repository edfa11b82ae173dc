"""Make orgs and rules as people define them. Each is checked whole, and stored in one transaction or not.

A rule's conditions and actions are stored as they were written: the engine parses them again, and whoever wrote a rule
finds their own words in it.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final, Literal

from sqlalchemy.exc import DBAPIError

from core import clock
from core.db import Context, refusing, sqlstate, switch
from core.errors import ConflictError, InputError, NotFoundError
from core.ids import uuid7
from engine.actions.registry import parse_actions
from engine.find import find_rule
from engine.rules.definition import MAX_NAME, parse_rule
from engine.rules.reading import Problems, shown
from engine.rules.templates import TEMPLATES
from engine.schedule.zones import zone
from engine.store import campaigns, orgs, rules

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime
    from uuid import UUID

    from sqlalchemy import Connection, Row

    from core.db import Database
    from engine.actions.registry import ActionSpec
    from engine.rules.definition import RuleDefinition

_MAX_EMAIL: Final = 254  # RFC 5321
_EMAIL: Final = re.compile(r"[^@\s]+@[^@\s]+")
_NO_DATA_FOUND: Final = "P0002"


def create_org(database: Database, name: str, timezone: str, admin_email: str | None, *, actor: UUID) -> Row[Any]:
    """Make an org with a draft of each rule template, and its first admin if an address is given; returns its row.

    Raises InputError with every problem, ConflictError if the name is taken.
    """
    name = name.strip()
    _check_org(name, timezone, admin_email)
    taken = ConflictError.of("name", f"there is an org {name!r} already", "choose another name, or use that org")
    with refusing("orgs_name_key", taken), database.transaction(None) as connection:
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
    with database.transaction(context) as connection:
        return insert_rule(connection, context, document)


def insert_rule(connection: Connection, context: Context, document: object) -> Row[Any]:
    """Store a rule as `create_rule` does, in a transaction of the caller's, who commits it or not."""
    definition = parse_rule(document, parse_actions=parse_actions)
    if not isinstance(document, dict):
        raise TypeError("a document that is no object was parsed as a rule")
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
        "min_sample": None if definition.min_sample is None else document["min_sample"],
        "max_data_age": None if definition.max_data_age is None else round(definition.max_data_age.total_seconds()),
        "delay_between_actions_seconds": definition.delay_between_actions_seconds,
        "owner_id": context.user_id,
        "created_at": now,
        "updated_at": now,
    }
