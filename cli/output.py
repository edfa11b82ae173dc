"""How commands speak: tables for people, or one JSON value alone on stdout; progress and errors go to stderr."""

from __future__ import annotations

import datetime as dt
import json
import sys
from decimal import Decimal
from typing import TYPE_CHECKING, Any
from uuid import UUID

from rich.console import Console
from rich.table import Table

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

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


def print_table(title: str, rows: Sequence[Mapping[str, object]], columns: Sequence[str]) -> None:
    """Print the chosen columns of `rows` as a table, or say that there are none."""
    if not rows:
        out.print(f"[dim]{title}: none[/dim]")
        return
    table = Table(title=title, title_justify="left", header_style="bold")
    for column in columns:
        table.add_column(column)
    for row in rows:
        table.add_row(*(_cell(row.get(column)) for column in columns))
    out.print(table)


def print_object(title: str, value: Mapping[str, object]) -> None:
    """Print one object as a two-column table."""
    table = Table(title=title, title_justify="left", show_header=False)
    table.add_column(style="bold")
    table.add_column()
    for key, item in value.items():
        table.add_row(key, _cell(item))
    out.print(table)


def _cell(value: object) -> str:
    if value is None:
        return "-"
    if isinstance(value, dt.datetime):
        return value.astimezone(dt.UTC).strftime("%Y-%m-%d %H:%M:%S")
    if isinstance(value, dict | list):
        return json.dumps(value, default=_plain, ensure_ascii=False)
    return str(value)
