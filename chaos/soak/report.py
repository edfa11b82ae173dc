"""How a soak is shown: a table for people, or one JSON value alone on stdout, with all readings."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Any, Final

from rich.console import Console
from rich.table import Table

from chaos.soak.limits import limit_of

if TYPE_CHECKING:
    from chaos.soak.run import Soaked
    from chaos.soak.slopes import Judged

_WIDTH: Final = 120


def emit(soaked: Soaked) -> None:
    """Print the one JSON value."""
    sys.stdout.write(json.dumps(document(soaked), indent=2) + "\n")


def document(soaked: Soaked) -> dict[str, Any]:
    """Return a soak as JSON can hold it."""
    return {
        "flat": soaked.flat,
        "seconds": soaked.seconds,
        "capacity": round(soaked.capacity, 2),
        "rate": round(soaked.rate, 2),
        "asked": soaked.asked,
        "violations": list(soaked.violations),
        "quantities": {
            name: {
                "flat": one.flat,
                "first": round(one.first, 3),
                "last": round(one.last, 3),
                "growth": round(one.growth, 3),
                "hourly": round(one.hourly, 3),
                "allowed": one.allowed,
                "readings": [[round(point.at, 1), round(point.value, 3)] for point in soaked.readings[name]],
            }
            for name, one in soaked.judged.items()
        },
    }


def show(soaked: Soaked) -> None:
    """Print the table, and what did not hold."""
    out = Console(width=_WIDTH)
    asked = f"{soaked.asked} requests, {soaked.rate:.1f}/s of {soaked.capacity:.1f}/s that could be carried"
    table = Table(title=f"{soaked.seconds / 60:g} minutes, {asked}", title_justify="left")
    table.add_column("quantity", no_wrap=True)
    for column in ("at first", "at last", "growth", "an hour", "allowed"):
        table.add_column(column, justify="right")
    table.add_column("")
    for name, one in soaked.judged.items():
        numbers = (one.first, one.last, one.growth, one.hourly)
        table.add_row(name, *(f"{number:,.1f}" for number in numbers), _allowed(name, one), _said(one))
    out.print(table)
    for violation in soaked.violations:
        out.print(f"[red]broken[/red] {violation}", highlight=False)
    out.print("[green]flat[/green]" if soaked.flat else "[red]not flat[/red]")


def _allowed(name: str, judged: Judged) -> str:
    if judged.allowed is None:
        return ""
    return f"{'at most' if limit_of(name).ceiling is not None else '+'} {judged.allowed:,.1f}"


def _said(judged: Judged) -> str:
    if judged.allowed is None:
        return "[dim]shown only[/dim]"
    return "[green]flat[/green]" if judged.flat else "[red]GROWS[/red]"
