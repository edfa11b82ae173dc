"""Rows as tables: the first column stays whole, and nothing that a tenant wrote is taken for markup or control."""

from __future__ import annotations

import datetime as dt
import json
from typing import TYPE_CHECKING, Any, Final

from rich.cells import cell_len
from rich.console import Console
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from cli.output import err, out

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_ROOM: Final = 200
_FRAME: Final = 3  # a column's line and the spaces beside its text


def show_rows(title: str, rows: Sequence[Mapping[str, Any]], columns: Sequence[str], *, hint: str = "") -> None:
    """Print columns of rows; `hint` says what to do where there are none.

    Where a terminal is too narrow for the words of a table, each row is a record of its own, one line a column.
    """
    if not rows:
        out.print(f"{title}: none. {hint}".strip(), markup=False, highlight=False)
        return
    cells = [[cell(row.get(column)) for column in columns] for row in rows]
    widths = _widths([[name, *texts] for name, *texts in zip(columns, *cells, strict=True)])
    if widths is None:
        _print(_records(title, rows, columns))
        return
    table = Table(title=escape(title), title_justify="left", header_style="bold")
    for column, width in zip(columns, widths, strict=True):
        table.add_column(column, width=width, no_wrap=column == columns[0], overflow="fold")
    for texts in cells:
        table.add_row(*texts)
    _print(table)


def _widths(columns: Sequence[Sequence[str]]) -> list[int] | None:
    """Share the room out among columns, none narrower than its longest word; None where there is too little of it.

    `columns` are their cells, the heading first. Who needs little gets what it needs, the others as much as each other.
    """
    least, most = (
        [max(size(Text.from_markup(text)) for text in texts) for texts in columns]
        for size in (_longest_word, _longest_line)
    )
    least[0] = most[0]
    spare = (out.width if out.is_terminal else _ROOM) - sum(least) - _FRAME * len(columns) - 1
    if spare < 0:
        return None
    widths = list(least)
    by_need = sorted(range(len(columns)), key=lambda place: most[place] - least[place])
    for waiting, place in zip(range(len(columns), 0, -1), by_need, strict=True):
        more = min(most[place] - least[place], spare // waiting)
        widths[place] += more
        spare -= more
    return widths


def _longest_word(text: Text) -> int:
    return max(map(cell_len, text.plain.split()), default=0)


def _longest_line(text: Text) -> int:
    return max(map(cell_len, text.plain.splitlines()), default=0)


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
