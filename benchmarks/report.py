"""How results are shown: a table for people, or one JSON list alone on stdout."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Any, Final

from rich.console import Console
from rich.table import Column, Table

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import TextIO

    from benchmarks.rows import Row

_LARGE: Final = 1000
_WIDTH: Final = 110
_HEIGHT: Final = 50


def say(text: str) -> None:
    """Tell the progress, on stderr."""
    sys.stderr.write(f"bench: {text}\n")
    sys.stderr.flush()


def print_environment(environment: Mapping[str, Any], stream: TextIO) -> None:
    """Print the machine, the versions and the servers' settings, one a line."""
    stream.writelines(f"  {name}: {value}\n" for name, value in environment.items())
    stream.flush()


def emit(measured: Sequence[tuple[Sequence[Row], Mapping[str, Any]]]) -> None:
    """Print the rows of every part, each with its part's environment, as the one JSON list on stdout."""
    documents = [row.document(environment) for rows, environment in measured for row in rows]
    sys.stdout.write(json.dumps(documents, indent=2, ensure_ascii=False) + "\n")


def show(rows: Sequence[Row], *, quick: bool) -> None:
    """Print the rows as a table, and below it every reason."""
    title = "QUICK: small numbers, to try the benchmark itself; these are no results" if quick else None
    table = Table(Column("row", no_wrap=True), "value", "baseline", "unit", "ratio", "target", "ok", title=title)
    for row in rows:
        table.add_row(
            row.name,
            _figure(row.value),
            _figure(row.baseline),
            row.unit,
            _figure(row.ratio),
            _target(row),
            "[green]yes[/green]" if row.ok else "[bold red]no[/bold red]",
        )
    # the 80 columns that rich takes a pipe for would cut the figures off
    console = Console() if sys.stdout.isatty() else Console(width=_WIDTH, height=_HEIGHT)
    console.print(table)
    sys.stdout.writelines(f"{row.name}: {row.reason}\n" for row in rows if row.reason is not None)


def _figure(figure: float | None) -> str:
    if figure is None:
        return "-"
    return f"{figure:,.0f}" if figure >= _LARGE else f"{figure:.3g}"


def _target(row: Row) -> str:
    if row.target is None:
        return "-"
    return f"{'≥' if row.better == 'higher' else '≤'} {row.target:g}"
