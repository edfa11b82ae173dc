"""Rows as tables: the first column stays whole, and nothing that a tenant wrote is taken for markup or control."""

from __future__ import annotations

import datetime as dt
import json
from typing import TYPE_CHECKING, Any, Final

from rich.console import Console
from rich.markup import escape
from rich.measure import Measurement
from rich.table import Table

from cli.output import err, out

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_ROOM: Final = 200
_UNBOUNDED: Final = 10_000


def show_rows(title: str, rows: Sequence[Mapping[str, Any]], columns: Sequence[str], *, hint: str = "") -> None:
    """Print columns of rows; `hint` says what to do where there are none.

    Where a terminal is too narrow for the words of a table, each row is a record of its own, one line a column.
    """
    if not rows:
        out.print(f"{title}: none. {hint}".strip(), markup=False, highlight=False)
        return
    table = Table(title=escape(title), title_justify="left", header_style="bold")
    for column in columns:
        table.add_column(column, no_wrap=column == columns[0], overflow="fold")
    for row in rows:
        table.add_row(*(cell(row.get(column)) for column in columns))
    _print(table if _fits(table) else _records(title, rows, columns))


def _fits(table: Table) -> bool:
    """Say whether the output has room for the longest word of each column."""
    room = out.width if out.is_terminal else _ROOM
    return Measurement.get(out, out.options.update_width(_UNBOUNDED), table).minimum <= room


def _records(title: str, rows: Sequence[Mapping[str, Any]], columns: Sequence[str]) -> Table:
    table = _pairs(title)
    for row in rows:
        for column in columns:
            table.add_row(column, cell(row.get(column)))
        table.add_section()
    return table


def show_fields(title: str, row: Mapping[str, Any]) -> None:
    """Print one row as two columns."""
    table = _pairs(title)
    for key, value in row.items():
        table.add_row(key, cell(value))
    _print(table)


def _pairs(title: str) -> Table:
    table = Table(title=escape(title), title_justify="left", show_header=False)
    table.add_column(style="bold", no_wrap=True)
    table.add_column(overflow="fold")
    return table


def _print(table: Table) -> None:
    """Fit the table to the terminal; in a file or pipe, whose width nobody knows, give it room."""
    if out.is_terminal:
        out.print(table)
    else:
        Console(width=_ROOM).print(table)


def cut(rows: Sequence[dict[str, Any]], limit: int) -> Sequence[dict[str, Any]]:
    """Return at most `limit` of the rows (of which one more was read), and say on stderr if there are others."""
    if len(rows) > limit:
        err.print(f"the first {limit} are shown; --limit shows more", highlight=False)
    return rows[:limit]


def cell(value: object) -> str:
    """Return a value as text for a cell."""
    return plain(words(value))


def words(value: object) -> str:
    """Return a value as text, as it is: nothing of it may be printed before it went through `plain`."""
    match value:
        case None:
            return "-"
        case dt.datetime():
            return f"{value.astimezone(dt.UTC):%Y-%m-%d %H:%M:%S}Z"
        case dict() | list():
            return json.dumps(value, default=str, ensure_ascii=False)
        case _:
            return str(value)


def plain(said: str) -> str:
    """Return text that the terminal shows as it is: no markup, no control characters but line breaks."""
    return escape("".join(mark if mark.isprintable() or mark == "\n" else "\N{REPLACEMENT CHARACTER}" for mark in said))
