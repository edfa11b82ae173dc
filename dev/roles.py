"""The product's login roles on a server of which only an administrator's URL is known.

Roles belong to the whole server, and several runs may use it at once: so a role's password is derived from the
administrator's own (all runs derive the same), and is set only where that harms nobody.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import time
from typing import TYPE_CHECKING, Final

import psycopg
from psycopg import errors, sql

from core.errors import SetupError
from dev.urls import LOGIN_ROLES, Urls, rewritten

if TYPE_CHECKING:
    from psycopg import Connection

_MARK: Final = "cmis dev: its password is derived from the administrator's"
_CONNECT_SECONDS: Final = 5
_ATTEMPTS: Final = 10
# what a statement on a role raises when another run changed that role at the same moment
_CONTENTION: Final = (
    errors.DuplicateObject,
    errors.UniqueViolation,
    errors.InternalError_,
    errors.SerializationFailure,
)
_OWN_URLS: Final = "set DATABASE_URL, SCHEDULER_DATABASE_URL, READONLY_DATABASE_URL and MIGRATION_DATABASE_URL yourself"


def connect(variable: str, url: str) -> Connection:
    """Connect in autocommit mode. Raises SetupError naming `variable` when the server cannot be reached."""
    try:
        return psycopg.connect(url, autocommit=True, connect_timeout=_CONNECT_SECONDS)
    except (psycopg.Error, UnicodeError) as error:
        reason = " ".join(str(error).split())
        raise SetupError(
            f"{variable}: cannot connect: {reason}",
            f"start that server or correct {variable}; without {variable} an embedded server is used",
        ) from None


def derived_password(administrator_password: str, role: str) -> str | None:
    """Return the password of `role`, or None where the administrator has none to derive it from."""
    if not administrator_password:
        return None  # the server trusts local users; a password from an empty key would be public
    digest = hmac.digest(administrator_password.encode(), f"cmis:{role}".encode(), hashlib.sha256)
    return base64.urlsafe_b64encode(digest).decode().rstrip("=")


def derive_urls(administrator: str) -> Urls:
    """Make sure that the three login roles exist and can log in, and return the four URLs on the same database.

    Raises SetupError when the administrator may not create roles, or when a role has a password that we did not set.
    """
    with connect("DATABASE_URL", administrator) as connection:
        _refuse_ordinary(connection)
        passwords = {role: derived_password(connection.info.password, role) for role in LOGIN_ROLES}
        for role, password in passwords.items():
            _ensure(connection, administrator, role, password)
    return Urls.for_passwords(administrator, passwords)


def _refuse_ordinary(connection: Connection) -> None:
    row = connection.execute("SELECT rolsuper OR rolcreaterole FROM pg_roles WHERE rolname = current_user").fetchone()
    if row is None or not row[0]:
        raise SetupError(
            f"DATABASE_URL alone must be an administrator's, and {connection.info.user} may not create roles", _OWN_URLS
        )


def _ensure(connection: Connection, administrator: str, role: str, password: str | None) -> None:
    for _ in range(_ATTEMPTS):
        if _can_log_in(administrator, role, password):
            return
        try:
            _create_or_alter(connection, role, password)
        except _CONTENTION:
            time.sleep(0.05)  # another run is doing the same; look again
    if not _can_log_in(administrator, role, password):
        raise SetupError(f"the role {role} of this server cannot log in with the password set for it", _OWN_URLS)


def _can_log_in(administrator: str, role: str, password: str | None) -> bool:
    url = rewritten(administrator, user=role, password=password)
    try:
        psycopg.connect(url, connect_timeout=_CONNECT_SECONDS).close()
    except psycopg.OperationalError:
        return False
    return True


def _create_or_alter(connection: Connection, role: str, password: str | None) -> None:
    name = sql.Identifier(role)
    secret = sql.SQL("PASSWORD {}").format(sql.Literal(password)) if password else sql.SQL("")
    with connection.transaction():
        if not _exists(connection, role):
            connection.execute(
                sql.SQL("CREATE ROLE {} LOGIN NOSUPERUSER NOBYPASSRLS NOCREATEDB NOCREATEROLE").format(name)
            )
        elif password and not _may_set_password(connection, role):
            raise SetupError(f"the role {role} exists on this server with a password that is not ours", _OWN_URLS)
        connection.execute(sql.SQL("ALTER ROLE {} LOGIN {}").format(name, secret))
        connection.execute(sql.SQL("COMMENT ON ROLE {} IS {}").format(name, sql.Literal(_MARK)))


def _exists(connection: Connection, role: str) -> bool:
    return connection.execute("SELECT FROM pg_roles WHERE rolname = %s", [role]).fetchone() is not None


def _may_set_password(connection: Connection, role: str) -> bool:
    """Tell whether the role's password is ours, or there is none (which only a superuser can see)."""
    marked = connection.execute(
        "SELECT shobj_description(oid, 'pg_authid') = %s FROM pg_roles WHERE rolname = %s", [_MARK, role]
    ).fetchone()
    if marked is not None and marked[0]:
        return True
    try:
        with connection.transaction():
            row = connection.execute("SELECT rolpassword IS NULL FROM pg_authid WHERE rolname = %s", [role]).fetchone()
    except errors.InsufficientPrivilege:
        return False
    return row is not None and bool(row[0])
