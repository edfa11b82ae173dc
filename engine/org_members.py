"""The members of an org and their roles, changed by its admins."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from core import clock
from core.errors import InputError
from core.ids import uuid7
from engine.define import is_email
from engine.rules.reading import shown
from engine.store import members
from models.enums import Role

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from sqlalchemy import Row

    from core.db import Context, Database

_ROLES = ", ".join(role.value for role in Role)


def show(database: Database, context: Context) -> Sequence[Row[Any]]:
    """Return the members of the context's org: user_id, email, name, role, created_at."""
    with database.transaction(context) as connection:
        return members.listing(connection, context.org_id)


def change(database: Database, context: Context, roles: Mapping[str, Role | None]) -> Sequence[Row[Any]]:
    """Give people roles by their addresses, None = no member any more, as one of the org's admins; returns the members.

    All or nothing. Raises InputError for an address that is none, is a system actor's, or is no member's to remove.
    """
    with database.transaction(context) as connection:
        now = clock.now(connection)
        for email, role in roles.items():
            name = "--set" if role else "--remove"
            if not is_email(email):
                raise InputError.of(name, f"{shown(email)} is no e-mail address", "write it like ana@example.com")
            if not members.set_role(connection, email, None if role is None else role.value, user_id=uuid7(now)):
                what = "is the address of a system actor" if role else "is no member's address"
                raise InputError.of(name, f"{email} {what}", "`cmis orgs members ORG` lists them")
        return members.listing(connection, context.org_id)


def parse(given: Sequence[str]) -> dict[str, Role | None]:
    """Read EMAIL=ROLE; raises InputError for what is none."""
    roles: dict[str, Role | None] = {}
    for text in given:
        email, equals, name = text.rpartition("=")
        if not equals or name not in list(Role):
            raise InputError.of("--set", f"{shown(text)} is no EMAIL=ROLE", f"the roles are {_ROLES}")
        roles[email] = Role(name)
    return roles
