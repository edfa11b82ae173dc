"""How results are shown: a table for people, or one JSON list alone on stdout."""

from __future__ import annotations

import json
import math
import sys
from typing import TYPE_CHECKING, Any, Final

from rich.console import Console
from rich.table import Column, Table

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from chaos.run import Result
    from chaos.scenario import Bound

_WIDTH: Final = 130
_HEIGHT: Final = 60
_PERCENTILES: Final = (50, 95, 99)


def say(text: str) -> None:
    """Tell the progress, on stderr."""
    sys.stderr.write(f"chaos: {text}\n")
    sys.stderr.flush()


def emit(results: Sequence[Result]) -> None:
    """Print the one JSON list on stdout."""
    sys.stdout.write(json.dumps([document(one) for one in results], indent=2, ensure_ascii=False) + "\n")


def document(result: Result) -> dict[str, Any]:
    """Return a result as JSON can hold it."""
    measured = result.measured
    return {
        "scenario": result.scenario.name,
        "title": result.scenario.title,
        "seed": result.seed,
        "seconds": round(result.seconds, 1),
        "asked": result.asked,
        "faults": dict(result.faults),
        "restarts": result.restarts,
        "lost_attempts": measured.lost,
        "start_lateness": {f"p{percent}": _rounded(measured.percentile(percent)) for percent in _PERCENTILES},
        "promises": [
            {
                "fault": bound.kind,
                "measure": bound.measure,
                "times": len(measured.by_kind.get((bound.kind, bound.measure), ())),
                "worst": _rounded(result.worst(bound)),
                "bound": bound.seconds,
                "ok": _holds(result, bound),
            }
            for bound in result.scenario.bounds
        ],
        "violations": result.violations,
    }


def show(results: Sequence[Result]) -> None:
    """Print two tables, of scenarios and of faults, and below them every violation."""
    # the 80 columns that rich takes a pipe for would cut the figures off
    console = Console() if sys.stdout.isatty() else Console(width=_WIDTH, height=_HEIGHT)
    console.print(_of_scenarios(results))
    console.print(_of_faults(results))
    for result in results:
        for violation in result.violations:
            said = f"{result.scenario.name} (seed {result.seed}): {violation}"
            console.print(said, markup=False, soft_wrap=True)
    total = sum(len(result.violations) for result in results)
    console.print(f"{total} violations in {len(results)} scenarios", style="bold red" if total else "green")


def _of_scenarios(results: Sequence[Result]) -> Table:
    columns = [
        "asked for",
        "faults",
        "restarts",
        "lost attempts",
        *(f"late p{percent}" for percent in _PERCENTILES),
        "s",
    ]
    right = [Column(name, justify="right") for name in columns]
    table = Table(Column("scenario", no_wrap=True), *right, "ok")
    for one in results:
        late = [_figure(one.measured.percentile(percent)) for percent in _PERCENTILES]
        counts = (one.asked, one.faults.total(), one.restarts, one.measured.lost)
        figures = [*map(str, counts), *late, f"{one.seconds:.0f}"]
        table.add_row(f"{one.scenario.name} {one.scenario.title}", *figures, _word(holds=not one.violations))
    return table


def _of_faults(results: Sequence[Result]) -> Table:
    names = ("injected", "measured", "median s", "worst s", "promise")
    right = [Column(name, justify="right") for name in names]
    table = Table(Column("scenario", no_wrap=True), Column("fault", no_wrap=True), "recovery", *right, "ok")
    for result in results:
        for row in _faults(result):
            table.add_row(*row)
    return table


def _faults(result: Result) -> Iterator[tuple[str, ...]]:
    """Return a row for each kind of fault, and for each promise about one; most fault points have none."""
    promised = {bound.kind for bound in result.scenario.bounds}
    for kind, count in result.faults.items():
        if kind not in promised:
            yield (result.scenario.name, kind, "-", str(count), "-", "-", "-", "-", "")
    for bound in result.scenario.bounds:
        seconds = sorted(result.measured.by_kind.get((bound.kind, bound.measure), ()))
        median = seconds[len(seconds) // 2] if seconds else None
        counts = (str(result.faults.get(bound.kind, 0)), str(len(seconds)))
        figures = (*counts, _figure(median), _figure(result.worst(bound)), f"≤ {bound.seconds:g}")
        yield (result.scenario.name, bound.kind, bound.measure, *figures, _word(holds=_holds(result, bound)))


def _holds(result: Result, bound: Bound) -> bool | None:
    """Say whether a promise was kept; None if nothing was measured of it."""
    worst = result.worst(bound)
    return None if worst is None else worst <= bound.seconds


def _word(*, holds: bool | None) -> str:
    if holds is None:
        return "[yellow]not tested[/yellow]"
    return "[green]yes[/green]" if holds else "[bold red]no[/bold red]"


def _figure(seconds: float | None) -> str:
    return "-" if seconds is None else f"{seconds:.2f}"


def _rounded(seconds: float | None) -> float | None:
    """Return it as JSON can hold it: what never came is infinite, and JSON knows no such number."""
    return None if seconds is None or math.isinf(seconds) else round(seconds, 3)
