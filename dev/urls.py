"""The four database URLs of the product, and pure changes of such URLs. No connection is made here."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Final, Self
from urllib.parse import parse_qsl, quote, urlencode, urlsplit

from core.errors import SetupError

APP: Final = "cmis_app"
SCHEDULER: Final = "cmis_scheduler"
READONLY: Final = "cmis_readonly"
LOGIN_ROLES: Final = (APP, SCHEDULER, READONLY)

_SCHEMES = ("postgresql", "postgres")
_EXAMPLE = "for example postgresql://postgres:secret@127.0.0.1:5432/postgres"


def rewritten(url: str, *, user: str | None = None, password: str | None = None, database: str | None = None) -> str:
    """Return `url` with another user (then also with `password`, or with none), with another database, or both."""
    parts = urlsplit(url)
    account, _, host = parts.netloc.rpartition("@")
    query = dict(parse_qsl(parts.query))
    path = parts.path
    if user is not None:
        account = quote(user, safe="") + (f":{quote(password, safe='')}" if password else "")
        query = {name: value for name, value in query.items() if name not in {"user", "password"}}
    if database is not None:
        path = f"/{quote(database, safe='')}"
        query.pop("dbname", None)
    asked = f"?{urlencode(query, safe='/')}" if query else ""
    return (
        f"postgresql://{account}@{host}{path or '/'}{asked}" if account else f"postgresql://{host}{path or '/'}{asked}"
    )


def checked(variable: str, url: str) -> str:
    """Return `url` as libpq takes it. Raises SetupError naming `variable` when it is no PostgreSQL URL."""
    scheme, separator, rest = url.strip().partition("://")
    if not separator or scheme.partition("+")[0] not in _SCHEMES:
        raise SetupError(f"{variable} is not a PostgreSQL URL", _EXAMPLE)
    plain = f"postgresql://{rest}"  # `postgresql+psycopg://` is another library's spelling
    if not _has_sound_port(plain):
        raise SetupError(f"{variable} has a port that is no number between 0 and 65535", _EXAMPLE)
    return plain


def _has_sound_port(url: str) -> bool:
    parts = urlsplit(url)
    try:
        _ = parts.port
    except ValueError:
        return "," in parts.netloc  # several hosts are libpq's own form
    return True


@dataclass(frozen=True, slots=True)
class Urls:
    """One database as seen by the three login roles and by the administrator who migrates it."""

    app: str
    scheduler: str
    readonly: str
    migration: str

    @classmethod
    def for_passwords(cls, administrator: str, passwords: dict[str, str | None]) -> Self:
        """Derive the roles' URLs from the administrator's; `passwords` by role, None where the server asks for none."""
        app, scheduler, readonly = (
            rewritten(administrator, user=role, password=passwords[role]) for role in LOGIN_ROLES
        )
        return cls(app, scheduler, readonly, administrator)

    def on(self, database: str) -> Urls:
        """Return the same roles on another database of the same server."""
        return Urls(*(rewritten(getattr(self, item.name), database=database) for item in fields(self)))

    def env(self) -> dict[str, str]:
        """Return the variables that the product reads."""
        return {
            "DATABASE_URL": self.app,
            "SCHEDULER_DATABASE_URL": self.scheduler,
            "READONLY_DATABASE_URL": self.readonly,
            "MIGRATION_DATABASE_URL": self.migration,
        }
