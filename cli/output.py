"""How commands speak: tables for people, or one JSON value alone on stdout; progress and errors go to stderr."""

from __future__ import annotations

import datetime as dt
import json
import sys
from decimal import Decimal
from typing import TYPE_CHECKING, Any
from uuid import UUID

from rich.console import Console

if TYPE_CHECKING:
    from collections.abc import Iterable

out = Console(soft_wrap=False)
err = Console(stderr=True)


def _plain(value: object) -> Any:
    if isinstance(value, Decimal):
        return int(value) if value == value.to_integral_value() else float(value)
    if isinstance(value, dt.datetime):
        return value.astimezone(dt.UTC).isoformat().replace("+00:00", "Z")
    if isinstance(value, dt.date | dt.time):
        return value.isoformat()
    if isinstance(value, UUID):
        return str(value)
    message = f"{type(value).__name__} has no JSON form"
    raise TypeError(message)


def emit_json(value: object) -> None:
    """Print `value` as the one JSON document on stdout."""
    sys.stdout.write(json.dumps(value, default=_plain, indent=2, ensure_ascii=False) + "\n")


def rows_as_dicts(rows: Iterable[Any]) -> list[dict[str, Any]]:
    """Return database rows as plain dictionaries, keys = column names."""
    return [dict(row._mapping) for row in rows]  # noqa: SLF001 - SQLAlchemy's documented accessor
