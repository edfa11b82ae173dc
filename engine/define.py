"""Make orgs and rules as people define them. Each is checked whole, and stored in one transaction or not.

A rule's conditions and actions are stored as they were written: the engine parses them again, and whoever wrote a rule
finds their own words in it.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final

from sqlalchemy.exc import DBAPIError

from core import clock
from core.db import Context, refusing, sqlstate, switch
from core.errors import ConflictError, InputError
from core.ids import uuid7
from engine import rule_conflicts, rule_document
from engine.find import find_rule
from engine.rule_conflicts import Saved
from engine.rules.definition import MAX_NAME
from engine.rules.reading import Problems, shown
from engine.rules.templates import TEMPLATES
from engine.schedule.zones import zone
from engine.secrets.check import refuse_unknown
from engine.store import actions, orgs, rules
from models.enums import Role

if TYPE_CHECKING:
    from datetime import datetime
    from uuid import UUID

    from sqlalchemy import Connection, Row

    from core.db import Database
    from engine.rule_document import WantedRule

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


def create_rule(database: Database, context: Context, document: object, *, strict: bool = False) -> Saved:
    """Store the rule of a JSON document (SPEC §2's column names); returns it, with what works against it.

    Raises InputError with every problem; `entity_id` must name a campaign of the org, and each reference to a secret
    one that is there. With `strict`, ConflictError if an active rule works against it.
    """
    wanted = rule_document.read(document)
    with database.transaction(context) as connection:
        row = rule_document.new_row(wanted, context, clock.now(connection))
        others = rule_conflicts.active(connection, context.org_id)
    found = rule_conflicts.clashes([rule_conflicts.of_wanted(row["rule_id"], wanted)], others)
    if strict:
        rule_conflicts.refuse(found)
    with database.transaction(context) as connection:
        actions.require_role(connection, Role.EDITOR)
        return Saved(_insert_rule(connection, context, wanted, row), found)


def insert_rule(connection: Connection, context: Context, document: object) -> Row[Any]:
    """Store a rule in a transaction of the caller's, who commits it or not; what works against it is not looked for.

    Raises InputError as `create_rule` does.
    """
    wanted = rule_document.read(document)
    return _insert_rule(connection, context, wanted, rule_document.new_row(wanted, context, clock.now(connection)))


def _insert_rule(connection: Connection, context: Context, wanted: WantedRule, row: dict[str, Any]) -> Row[Any]:
    rule_document.check_entity(connection, context.org_id, wanted.definition.entity_id)
    refuse_unknown(connection, context.org_id, wanted.definition.actions, "actions")
    rules.create(connection, row)
    return find_rule(connection, context.org_id, row["rule_id"])


def _check_org(name: str, timezone: str, admin_email: str | None) -> None:
    problems = Problems()
    if not name:
        problems.add("name", "is blank", "give a text")
    elif len(name) > MAX_NAME:
        problems.add("name", f"has {len(name)} characters", f"give at most {MAX_NAME}")
    elif not name.isprintable():
        problems.add("name", "holds a character that cannot be printed", "leave out tabs, line breaks and the like")
    if admin_email is not None and not is_email(admin_email):
        problems.add("admin_email", f"{shown(admin_email)} is no e-mail address", "write it like ana@example.com")
    try:
        zone(timezone)
    except InputError as error:
        problems.extend(error)
    problems.raise_if_any()


def is_email(text: str) -> bool:
    """Say whether a text can be the address of a person."""
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
    wanted = rule_document.read(TEMPLATES[template_id].document())
    return rule_document.new_row(wanted, context, now) | {"template_id": template_id}
