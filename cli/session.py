"""What a command needs of the environment: the app role's database, an org, and who acts."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from uuid import UUID

import click

from core.config import Settings, require
from core.db import CLI_ACTOR, Context, Database
from core.errors import InputError, NotFoundError
from engine.store import orgs

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from engine.store.orgs import OrgRef

org_option = click.option("--org", "org_ref", required=True, envvar="CMIS_ORG", help="Org, by name or id.")
user_option = click.option(
    "--as",
    "user_id",
    envvar="CMIS_USER",
    help="Act as this member (user id); default: the system actor `command line`.",
)
json_option = click.option("--json", "as_json", is_flag=True, help="Print one JSON value alone on stdout.")


@dataclass(frozen=True, slots=True)
class OrgSession:
    """An org to work in: its database, its context for transactions, and its row."""

    database: Database
    context: Context
    org: OrgRef


def org_command(function: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options every command on an org has: --org, --as, --json."""
    return org_option(user_option(json_option(function)))


@contextmanager
def open_database() -> Iterator[Database]:
    """Open the app role's database, refusing roles that could pass row-level security."""
    settings = Settings.load()
    url = require(settings.database_url, "DATABASE_URL")
    database = Database(url, variable="DATABASE_URL", application="cmis-cli", certain=True)
    try:
        database.check(test_clock=settings.test_clock)
        yield database
    finally:
        database.close()


@contextmanager
def open_org(reference: str, user_id: str | None = None) -> Iterator[OrgSession]:
    """Open the database and find the org by name or id; NotFoundError names the remedy."""
    with open_database() as database:
        with database.transaction(None) as connection:
            org = orgs.resolve(connection, reference)
        if org is None:
            raise NotFoundError.of("--org", f"there is no org {reference!r}", "see `cmis orgs list`")
        yield OrgSession(database, Context(org.org_id, _user(user_id)), org)


def _user(user_id: str | None) -> UUID:
    if user_id is None:
        return CLI_ACTOR
    try:
        return UUID(user_id)
    except ValueError as error:
        raise InputError.of("--as", f"{user_id!r} is no user id", "give the member's id") from error
