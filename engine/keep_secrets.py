"""Keep an org's secrets: given a value, made, erased, encrypted anew. Each needs an editor; the audit log has it all.

A value enters here and never leaves: it is read again by the worker alone, at the moment of a call.
"""

from __future__ import annotations

import base64
import secrets
import unicodedata
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any, Final

from core import clock
from core.errors import CmisError, ConflictError, InputError, NotFoundError
from core.ids import uuid7
from engine.actions.registry import parse_actions
from engine.rules.reading import shown
from engine.secrets.references import NAME, found
from engine.secrets.secret import Secret
from engine.store import actions
from engine.store import secrets as store
from models.enums import Role

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlalchemy import Connection, Row

    from core.db import Context, Database
    from engine.secrets.sealing import Keys

MAX_BYTES: Final = 8 * 1024
_SIGNING_BYTES: Final = 32  # Standard Webhooks: 24 to 64
_BATCH: Final = 100


@dataclass(frozen=True, slots=True)
class Kept:
    """A secret, and what names it that is not archived: rules, connectors and workflows, by their names."""

    row: Row[Any]
    rules: Sequence[str] = ()
    connectors: Sequence[str] = ()
    workflows: Sequence[str] = ()


@dataclass(slots=True)
class Rotated:
    """How many secrets were encrypted anew, with which key, and why each of the others could not be."""

    key_id: str
    count: int = 0
    failed: dict[str, str] = field(default_factory=dict)


def set_secret(database: Database, context: Context, keys: Keys, name: str, value: str) -> Row[Any]:
    """Give a secret this value, whether it is new or has one, and return its row without it.

    Raises InputError for a name that is none and for a value that is empty, longer than 8 KiB, or holds control
    characters, which no header and no URL can; SetupError without a key.
    """
    _check_name(name)
    _check_value(value)
    return _put(database, context, keys, name, value, replace=True)


def generate_secret(
    database: Database, context: Context, keys: Keys, name: str, *, replace: bool
) -> tuple[Row[Any], Secret]:
    """Make a signing secret as Standard Webhooks writes it (`whsec_…`, 32 random bytes); returns its row and its value.

    Raises ConflictError if the name has a value and `replace` is not given, InputError, SetupError as `set_secret`.
    """
    _check_name(name)
    value = Secret("whsec_" + base64.b64encode(secrets.token_bytes(_SIGNING_BYTES)).decode())
    return _put(database, context, keys, name, value, replace=replace), value


def delete_secret(database: Database, context: Context, name: str) -> Kept:
    """Erase a secret's value and return what it was; raises NotFoundError if there is none.

    What names it stays as it is: its deliveries are refused until the name has a value again.
    """
    with database.transaction(context) as connection:
        actions.require_role(connection, Role.EDITOR)
        kept = _kept(connection, context, name)
        if not kept or not store.erase(connection, context.org_id, name, now=clock.now(connection)):
            message = f"there is no secret {shown(name)} in this org"
            raise NotFoundError.of("NAME", message, "see `cmis secrets list`")
        return kept[0]


def list_secrets(database: Database, context: Context) -> list[Kept]:
    """Return the org's secrets by name."""
    with database.transaction(context) as connection:
        return _kept(connection, context, None)


def rotate_secrets(database: Database, context: Context, keys: Keys) -> Rotated:
    """Encrypt all secrets of the context's org with the current key that are not, in transactions of 100 at most.

    It can be repeated. One that does not open is left as it is, and told. Raises SetupError without a key.
    """
    rotated, after = Rotated(keys.current), ""
    while True:
        with database.transaction(context) as connection:
            actions.require_role(connection, Role.EDITOR)
            rows = store.lock_older(connection, context.org_id, rotated.key_id, after=after, limit=_BATCH)
            done, failed = _reseal(connection, context, keys, rows)
        rotated.count += done
        rotated.failed |= failed
        if len(rows) < _BATCH:
            return rotated
        after = rows[-1].name


def _put(database: Database, context: Context, keys: Keys, name: str, value: str, *, replace: bool) -> Row[Any]:
    sealed = asdict(keys.seal(context.org_id, name, value))
    with database.transaction(context) as connection:
        actions.require_role(connection, Role.EDITOR)
        now = clock.now(connection)
        if not store.put(connection, context.org_id, name, sealed, secret_id=uuid7(now), now=now, replace=replace):
            message = f"the secret {name!r} has a value already"
            raise ConflictError.of("NAME", message, "--replace gives it another; its receivers need that one, too")
        [row] = store.listing(connection, context.org_id, name)
        return row


def _reseal(
    connection: Connection, context: Context, keys: Keys, rows: Sequence[Row[Any]]
) -> tuple[int, dict[str, str]]:
    failed = {}
    for row in rows:
        try:
            value = keys.open(context.org_id, row.name, row)
        except CmisError as error:
            failed[row.name] = str(error)
        else:
            store.reseal(connection, context.org_id, row.name, asdict(keys.seal(context.org_id, row.name, value)))
    return len(rows) - len(failed), failed


def _kept(connection: Connection, context: Context, name: str | None) -> list[Kept]:
    rows = store.listing(connection, context.org_id, name)
    rules = [(row.name, _names(_params(row.actions))) for row in store.naming_rules(connection, context.org_id)]
    connectors = [
        (row.name, _names([row.url, row.signing_secret])) for row in store.naming_connectors(connection, context.org_id)
    ]
    workflows = store.naming_workflows(connection, context.org_id)
    return [
        Kept(
            row,
            [rule for rule, names in rules if row.name in names],
            [connector for connector, names in connectors if row.name in names],
            [workflow.name for workflow in workflows if row.name in workflow.secrets],
        )
        for row in rows
    ]


def _params(document: object) -> object:
    """Return what a rule's actions are given, defaults too; as it was written where a kind is not there any more."""
    try:
        return [spec.params for spec in parse_actions(document, "actions")]
    except InputError:
        return document


def _names(document: object) -> set[str]:
    return {name for _, name in found(document, "") if name is not None}


def _check_name(name: str) -> None:
    if not NAME.fullmatch(name):
        remedy = "use at most 63 of a-z, 0-9, _ and -, beginning with a letter, such as slack_url"
        raise InputError.of("NAME", f"{shown(name)} is no name of a secret", remedy)


def _check_value(value: str) -> None:
    size = len(value.encode(errors="surrogatepass"))  # else its error would hold the value
    if not 0 < size <= MAX_BYTES:
        raise InputError.of("value", f"has {size} bytes", f"give 1 to {MAX_BYTES}")
    if any(unicodedata.category(mark) in {"Cc", "Cs"} for mark in value):
        remedy = "give one line; encode what has several, for example as base64"
        raise InputError.of("value", "holds a line break or another control character", remedy)
