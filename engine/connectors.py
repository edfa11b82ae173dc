"""Connectors: where an org's campaign changes are pushed to, as its editors set them up, pause and archive them."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final

from core import clock
from core.db import refusing
from core.errors import ConflictError, InputError
from core.ids import uuid7
from engine.egress import urls
from engine.egress.errors import BlockedError
from engine.find import find_connector
from engine.rules.definition import MAX_NAME
from engine.rules.reading import Problems, shown
from engine.secrets import references
from engine.store import actions, connectors, destinations, secrets
from models.enums import ConnectorStatus, Role

if TYPE_CHECKING:
    from collections.abc import Mapping
    from uuid import UUID

    from sqlalchemy import Connection, Row

    from core.db import Context, Database

SIGNING_SECRET: Final = "secret://webhook_signing"  # noqa: S105 - a reference
"""The secret that signs what is pushed where none is named."""
CLEARABLE: Final = ("platform", "rate_per_minute", "burst")
MAX_RATE: Final = 100_000
_MAX_PLATFORM: Final = 100
_REFERENCE: Final = re.compile(references.SCHEME + references.NAME.pattern)
_WRITE_REFERENCE: Final = "write secret://name, a name of small letters, digits, _ and -"


def create_connector(database: Database, context: Context, given: Mapping[str, Any]) -> Row[Any]:
    """Make an active connector, as one of the org's editors, and return its row.

    `given`: name, url (`http(s)://…` or `secret://name`), and optionally signing_secret (`secret://name`), platform
    (absent: the changes of all campaigns), verifies, rate_per_minute, burst. What changes from now on is pushed to it.
    Raises InputError with every problem, ConflictError if the name is taken.
    """
    columns = {"signing_secret": SIGNING_SECRET} | dict(given)
    with refusing("connectors_org_id_name_key", _taken(columns["name"])), database.transaction(context) as connection:
        actions.require_role(connection, Role.EDITOR)
        _check(connection, context.org_id, columns)
        now = clock.now(connection)
        key = {"org_id": context.org_id, "connector_id": uuid7(now)}
        connectors.create(connection, key | columns | {"created_at": now, "updated_at": now})
        return _limited(connection, context.org_id, key["connector_id"])


def update_connector(database: Database, context: Context, reference: UUID | str, given: Mapping[str, Any]) -> Row[Any]:
    """Change what is given of a connector, as one of the org's editors; None takes one of CLEARABLE away.

    What is on its way to it goes to where it then points. Raises NotFoundError, InputError with every problem,
    ConflictError if the name is taken or the connector is archived.
    """
    if not given:
        raise InputError.of("", "nothing is to be different", "give an option")
    with (
        refusing("connectors_org_id_name_key", _taken(given.get("name"))),
        database.transaction(context) as connection,
    ):
        row = _locked(connection, context, reference)
        _refuse_archived(row)
        _check(connection, context.org_id, row._asdict() | dict(given))
        now = clock.now(connection)
        connectors.change(connection, context.org_id, row.connector_id, given, now=now)
        return _limited(connection, context.org_id, row.connector_id)


def switch_connector(database: Database, context: Context, reference: UUID | str, status: ConnectorStatus) -> Row[Any]:
    """Activate, pause or archive a connector, as one of the org's editors; nothing happens if it is so already.

    Changes are pushed to active ones only. What was queued for it before waits while it is paused, and is discarded
    once it is archived, which is for good. Raises NotFoundError, ConflictError for an archived one.
    """
    with database.transaction(context) as connection:
        row = _locked(connection, context, reference)
        if status is not ConnectorStatus.ARCHIVED:
            _refuse_archived(row)
        now = clock.now(connection)
        connectors.change(connection, context.org_id, row.connector_id, {"status": status.value}, now=now)
        return find_connector(connection, context.org_id, row.connector_id)


def _locked(connection: Connection, context: Context, reference: UUID | str) -> Row[Any]:
    actions.require_role(connection, Role.EDITOR)
    found = find_connector(connection, context.org_id, reference, "CONNECTOR")
    return connectors.lock(connection, context.org_id, found.connector_id)


def _refuse_archived(row: Row[Any]) -> None:
    if row.status == ConnectorStatus.ARCHIVED:
        message = f"the connector {row.name!r} is archived"
        raise ConflictError.of("CONNECTOR", message, "make another one: `cmis connectors create`")


def _limited(connection: Connection, org_id: UUID, connector_id: UUID) -> Row[Any]:
    """Give a connector's token bucket the rate that its row has, and return the row."""
    row = find_connector(connection, org_id, connector_id)
    destinations.set_limit(connection, org_id, f"connector:{connector_id}", row.rate_per_minute, row.burst)
    return row


def _taken(name: object) -> ConflictError:
    message = f"there is a connector {shown(str(name))} already"
    return ConflictError.of("name", message, "choose another name; archived ones keep theirs")


def _check(connection: Connection, org_id: UUID, columns: Mapping[str, Any]) -> None:
    """Refuse, with every problem, what a connector must not be as a whole."""
    problems = Problems()
    _check_text(columns["name"], "name", MAX_NAME, problems)
    if columns.get("platform") is not None:
        _check_text(columns["platform"], "--platform", _MAX_PLATFORM, problems)
    _check_url(columns["url"], problems)
    if not _REFERENCE.fullmatch(columns["signing_secret"]):
        # what was given may be the secret itself: it is not repeated
        problems.add("--signing-secret", "is no reference to a secret", _WRITE_REFERENCE)
    _check_rate(columns, problems)
    for option, column in (("--url", "url"), ("--signing-secret", "signing_secret")):
        named = references.names({column: columns[column]})
        for name in sorted(named - secrets.there(connection, org_id, named)):
            problems.add(option, f"there is no secret {name!r}", f"set it: `cmis secrets set {name}`")
    problems.raise_if_any()


def _check_text(text: str, field: str, longest: int, problems: Problems) -> None:
    if not text.strip():
        problems.add(field, "is blank", "give a text")
    elif len(text) > longest:
        problems.add(field, f"has {len(text)} characters", f"give at most {longest}")
    elif not text.isprintable():
        problems.add(field, "holds a character that cannot be printed", "leave out tabs, line breaks and the like")


def _check_url(url: str, problems: Problems) -> None:
    if url.startswith(references.SCHEME):
        if not _REFERENCE.fullmatch(url):
            problems.add("--url", "is no reference to a secret", _WRITE_REFERENCE)
        return
    try:
        urls.read(url)
    except BlockedError as error:
        problems.add("--url", error.reason, error.remedy)


def _check_rate(columns: Mapping[str, Any], problems: Problems) -> None:
    rate, burst = columns.get("rate_per_minute"), columns.get("burst")
    for option, number in (("--rate-per-minute", rate), ("--burst", burst)):
        if number is not None and not 0 < number <= MAX_RATE:
            problems.add(option, f"{number} is out of range", f"give 1 to {MAX_RATE:,}")
    if burst is not None and rate is None:
        problems.add("--burst", "needs a rate of its own", "give --rate-per-minute, too, or clear both")
