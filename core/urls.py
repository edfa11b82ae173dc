"""URLs of databases, as settings give them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError

from core.config import redact
from core.errors import SetupError

if TYPE_CHECKING:
    from sqlalchemy.engine import URL


def parse_url(url: str, variable: str) -> URL:
    """Return the SQLAlchemy URL of a `postgresql://` URL, for psycopg; a SetupError names `variable`."""
    try:
        parsed = make_url(url)
    except (ArgumentError, ValueError) as error:  # ValueError: a port that is no number
        message = f"{variable} is no database URL: {redact(url)}"
        raise SetupError(message, "write postgresql://user:password@host:5432/database") from error
    if parsed.get_backend_name() not in {"postgresql", "postgres"}:
        message = f"{variable} names {parsed.get_backend_name()}, but only PostgreSQL is supported"
        raise SetupError(message, "write postgresql://user:password@host:5432/database")
    return parsed.set(drivername="postgresql+psycopg")
