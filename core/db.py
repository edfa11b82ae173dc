"""The only place that opens connections and transactions, and therefore the only place that commits.

Tenant context is set per transaction, never per session: `cmis.init_transaction_context` checks the membership and sets
`app.*` for the transaction only, so that a pooled connection can never carry one tenant's context into another's work.
"""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, Final, TypeVar
from uuid import UUID
from weakref import WeakSet

import orjson
import psycopg
from psycopg import sql
from sqlalchemy import Connection, create_engine, event, text
from sqlalchemy.exc import DBAPIError

from core import commits, driver, pooled
from core.errors import SetupError, UnreachableError
from core.refusals import is_refusal
from core.urls import parse_url
from core.written import to_json

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from sqlalchemy import Engine

    from core.commits import Landed

ENGINE_ACTOR: Final = UUID("00000000-0000-0000-0000-000000000001")
"""The named system actor that the engine acts as; the only one who may take the reserved org's context."""
CLI_ACTOR: Final = UUID("00000000-0000-0000-0000-000000000002")
"""The system actor of the command line when no user is named."""
RESERVED_ORG: Final = UUID(int=0)
"""Owner of tasks that cover several orgs; a row of `orgs` hidden from every list."""

_STATEMENT_SECONDS = 5
BY_KEY: Final = "-c plan_cache_mode=force_generic_plan -c enable_seqscan=off -c jit=off"
"""Options of sessions whose statements find their rows by keys (ADR 0028)."""
_LINK: Final[dict[str, Any]] = {
    "connect_timeout": 5,
    # no timeout of the server's ends the wait for one that has vanished: its host, not its process, is gone
    "tcp_user_timeout": 10_000,
    "keepalives_idle": 5,
    "keepalives_interval": 2,
    "keepalives_count": 3,
}
_SET_CONTEXT = text("SELECT cmis.init_transaction_context(:user_id, :org_id, :ip)")
_ROLE = text(
    "SELECT current_user, rolsuper, rolbypassrls, "
    "EXISTS (SELECT FROM pg_roles o WHERE (o.rolname IN ('cmis_owner', 'cmis_engine') OR o.rolsuper OR o.rolbypassrls) "
    "        AND o.oid <> r.oid AND pg_has_role(r.oid, o.oid, 'MEMBER')) "
    "FROM pg_roles r WHERE rolname = current_user"
)
_MEMBER = "a member of an owner of the schema, or of a role that bypasses row security"
_OFFSET = text("SELECT cmis.clock_is_shifted()")
_REPEATABLE = frozenset({"40001", "40P01", "25P03"})  # not serializable, deadlocked, waited too long for its process
_REPEATS = 3
_CANCELLED = "57014"
_ABORTED = "25P02"

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Context:
    """Whose transaction it is: the org it may see, the user who acts, and from which address (for the audit log)."""

    org_id: UUID
    user_id: UUID
    ip: str | None = None


class Database:
    """One process's pool of connections to one database as one role.

    `by_key`: whether its statements find their rows by keys, whatever the values, and come again and again. They are
    planned once then, and as for large tables: a plan is kept while a table grows from nothing to thousands of rows.
    `certain`: whether each transaction asks for its name, so that the server can be asked what became of its COMMIT.
    """

    def __init__(
        self,
        url: str,
        *,
        variable: str,
        application: str,
        pool_size: int = 5,
        statement_seconds: int = _STATEMENT_SECONDS,
        by_key: bool = False,
        certain: bool = False,
    ) -> None:
        options = (
            f"-c statement_timeout={statement_seconds}s -c idle_in_transaction_session_timeout=5s -c TimeZone=UTC "
            f"{BY_KEY if by_key else ''}"
        )
        self.variable = variable
        self._url = parse_url(url, variable)
        self._application = application
        self._certain = certain
        self._lent: WeakSet[Connection] = WeakSet()
        self._engine: Engine = create_engine(
            self._url,
            pool_size=pool_size,
            max_overflow=2,
            json_serializer=to_json,
            json_deserializer=orjson.loads,
            connect_args={"options": options, "application_name": application, **_LINK},
        )
        pooled.watch(self._engine)
        event.listen(self._engine, "commit", self._forbid_commit)

    @contextmanager
    def transaction(self, context: Context | None, landed: Landed | None = None) -> Iterator[Connection]:
        """Open a transaction of `context`; commit at the end, roll back on any exception.

        None opens one without a tenant: under row-level security it sees nothing, and only functions that were made
        for it (the scheduler's, `cmis.resolve_org` …) return anything.

        Where the answer to the COMMIT does not arrive, `landed` is asked in another one. Raises the error if what was
        written is not there, and CommitUnknownError, which is an outage, if nobody knows.
        """
        done = False
        try:
            with self._begun(context) as connection:
                yield connection
                if self._certain and landed is None:
                    landed = commits.landed(commits.name(connection))
                done = True
        except DBAPIError as error:
            if not done or not commits.is_open(error):
                raise
            if landed is None:
                raise commits.unknown(error) from error
            commits.find_out(partial(self._ask, context, landed), error)

    def _ask(self, context: Context | None, landed: Landed) -> bool | None:
        with self._begun(context) as connection:
            return landed(connection)

    @contextmanager
    def _begun(self, context: Context | None) -> Iterator[Connection]:
        with self._engine.begin() as connection:
            if context is not None:
                switch(connection, context)
            with self._lending(connection):
                yield connection

    @contextmanager
    def rehearsal(self, context: Context | None) -> Iterator[Connection]:
        """Open a transaction of `context` that is rolled back at its end, however it ends: for trying things."""
        with self._engine.connect() as connection:  # whoever closes it without a commit rolls it back
            if context is not None:
                switch(connection, context)
            with self._lending(connection):
                yield connection

    @contextmanager
    def _lending(self, connection: Connection) -> Iterator[None]:
        self._lent.add(connection)
        try:
            yield
        finally:
            self._lent.discard(connection)

    def _forbid_commit(self, connection: Connection) -> None:
        if connection in self._lent:  # what is still to come would be lost, and belong to no tenant
            connection.invalidate()  # its transaction ends with it: SQLAlchemy takes it for over
            message = "a transaction is committed where it was opened, and nowhere else"
            raise RuntimeError(message)

    @contextmanager
    def snapshot(self, context: Context | None = None) -> Iterator[Connection]:
        """Open one REPEATABLE READ, READ ONLY transaction of `context`: every statement sees the same instant."""
        with (
            self._engine.connect().execution_options(
                isolation_level="REPEATABLE READ", postgresql_readonly=True
            ) as connection,
            connection.begin(),
        ):
            if context is not None:
                switch(connection, context)
            yield connection

    def listen(self, channel: str) -> psycopg.Connection[tuple[object, ...]]:
        """Open a connection of its own that listens on `channel`; it carries no tenant and runs no statement else."""
        connection = psycopg.connect(
            self._url.set(drivername="postgresql").render_as_string(hide_password=False),
            autocommit=True,
            application_name=f"{self._application}-listen",
            **_LINK,
        )
        connection.execute(sql.SQL("LISTEN {}").format(sql.Identifier(channel)))
        return connection

    def check(self, *, test_clock: bool) -> None:
        """Refuse to go on with a role that could pass row-level security, or with a shifted clock.

        Raises SetupError naming the variable and the remedy.
        """
        try:
            with self._engine.connect() as connection:
                role, superuser, bypass, owner = connection.execute(_ROLE).one()
                if superuser or bypass or owner:
                    what = "a superuser" if superuser else "BYPASSRLS" if bypass else _MEMBER
                    message = f"{self.variable} connects as {role}, which is {what}: tenants would not be isolated"
                    raise SetupError(message, "connect as cmis_app, cmis_scheduler or cmis_readonly")
                if connection.execute(_OFFSET).scalar_one() and not test_clock:
                    message = f"the clock of the database at {self.variable} is shifted for tests"
                    raise SetupError(message, "set CMIS_TEST_CLOCK=1 in a test, or reset cmis.clock_offset")
        except DBAPIError as error:
            raise explain(error, self.variable) from error

    def close(self) -> None:
        """Close every pooled connection for good."""
        self._engine.dispose()


def switch(connection: Connection, context: Context) -> None:
    """Make `context` the transaction's tenant from here on (a chunk goes through several orgs).

    The database refuses (SQLSTATE 42501) a user who is no active member, and an org that does not exist.
    """
    driver.rows(connection, _SET_CONTEXT, {"user_id": context.user_id, "org_id": context.org_id, "ip": context.ip})


def repeat_on_conflict(body: Callable[[], T]) -> T:
    """Run `body` (one whole transaction) again, up to three times, if it was lost to others or stood for too long."""
    for _ in range(_REPEATS):
        try:
            return body()
        except DBAPIError as error:
            if sqlstate(error) not in _REPEATABLE:
                raise
    return body()


def sqlstate(error: DBAPIError) -> str | None:
    """Return the SQLSTATE of a driver error, or None if the connection failed without one."""
    return getattr(error.orig, "sqlstate", None)


@contextmanager
def refusing(constraint: str, answer: Exception) -> Iterator[None]:
    """Turn the violation of a constraint into its answer: whoever came second is told, however close it was."""
    try:
        yield
    except DBAPIError as error:
        if getattr(getattr(error.orig, "diag", None), "constraint_name", None) != constraint:
            raise
        raise answer from error


def must_restart(error: DBAPIError) -> bool:
    """Say whether an error ends the whole transaction, beyond any savepoint: a conflict, or a dead connection.

    A statement that was cancelled for its length is undone by its savepoint, and so is what comes after one that failed
    while somebody (the action kind of another package) took no notice.
    """
    state = sqlstate(error)
    if error.connection_invalidated or state is None or state in _REPEATABLE:
        return True
    return state[:2] in {"08", "25", "57"} and state not in {_CANCELLED, _ABORTED}


def first_line(error: DBAPIError) -> str:
    """Return what the server or the driver said, without the statement and its values, which are nobody's to read."""
    said = str(error.orig).strip() if error.orig else ""
    return said.splitlines()[0] if said else type(error).__name__


def is_outage(error: DBAPIError) -> bool:
    """Say whether an error means that the server is out of reach or going down, and not that it refused something."""
    return must_restart(error) and sqlstate(error) not in _REPEATABLE


def explain(error: DBAPIError, variable: str) -> SetupError:
    """Turn a failed connection or a missing schema into an error that names the variable and the remedy.

    An UnreachableError is one that time alone may mend.
    """
    state = sqlstate(error)
    reason = first_line(error)
    if state in {"42P01", "42883", "3F000"}:
        return SetupError(f"the database at {variable} has no schema of this version: {reason}", "run `cmis migrate`")
    away = isinstance(error.orig, psycopg.OperationalError) and is_outage(error) and not is_refusal(str(error.orig))
    kind = UnreachableError if away else SetupError
    return kind(f"{variable} cannot be used: {reason}", f"check that the server runs and that {variable} is right")
