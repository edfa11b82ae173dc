"""The whole file: surveyed once for its conventions, then read into sums and rejections. Nothing is written here."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Final

from core.errors import InputError, Problem
from engine.imports.cells import CellError, is_blank
from engine.imports.columns import Layout, is_heading, resolve
from engine.imports.dates import DateOrder, DateSurvey
from engine.imports.numbers import DecimalMark, NumberSurvey
from engine.imports.rows import Convention, RowReader, is_total
from engine.imports.source import Export, open_export
from engine.imports.sums import Sums

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from datetime import date
    from pathlib import Path

    from engine.imports.encodings import Encoding
    from engine.imports.headings import Preset

MAX_REJECTIONS: Final = 1_000
"""So many rejected rows are kept with line and reason; all are counted."""
_SHOWN_REJECTIONS: Final = 20


@dataclass(frozen=True, slots=True)
class ReadOptions:
    """What the caller decides about a file; None leaves it to the file. `latest` is the last day with metrics."""

    latest: date
    mapping: Mapping[str, str] = field(default_factory=dict)
    platform: str | None = None
    mark: DecimalMark | None = None
    order: DateOrder | None = None
    strict: bool = False
    encoding: Encoding | None = None
    preset: Preset | None = None


@dataclass(frozen=True, slots=True)
class Rejection:
    """A row that was left out: the line it starts on, and why."""

    line: int
    reason: str


@dataclass(slots=True)
class Reading:
    """What a file says. `notes` are assumptions that the caller should see."""

    layout: Layout
    encoding: Encoding
    notes: tuple[str, ...]
    sums: Sums = field(default_factory=Sums)
    rows_read: int = 0
    rows_rejected: int = 0
    rejections: list[Rejection] = field(default_factory=list)

    def reject(self, line: int, reason: str) -> None:
        """Count a rejected row and keep its reason, up to MAX_REJECTIONS."""
        self.rows_rejected += 1
        if len(self.rejections) < MAX_REJECTIONS:
            self.rejections.append(Rejection(line, reason))


def read_export(path: Path, options: ReadOptions, progress: Callable[[int, int], None]) -> Reading:
    """Read the export at `path` in two passes over the same open file, holding only its sums.

    `progress(done, total)` counts the bytes of both passes. Raises InputError where the file or its heading is bad,
    a convention is ambiguous, no row is left, or `strict` and any row is rejected.
    """
    with open_export(path, options.encoding, partial(is_heading, mapping=options.mapping)) as export:
        layout = resolve(export.heading, options.mapping, options.platform, options.preset)
        convention, notes = _survey(export, layout, options, lambda done: progress(done, 2 * export.size))
        reading = Reading(layout, export.encoding, (*export.notes, *layout.notes, *notes))
        _take_rows(
            export, RowReader(layout, convention), reading, lambda done: progress(export.size + done, 2 * export.size)
        )
    _refuse_useless(reading, strict=options.strict)
    return reading


def _survey(
    export: Export, layout: Layout, options: ReadOptions, progress: Callable[[int], None]
) -> tuple[Convention, list[str]]:
    numbers, days, totals = NumberSurvey(), DateSurvey(), 0
    date_at = layout.positions["date"]
    metrics = [(layout.positions[metric], kind) for metric, kind in layout.kinds.items()]
    width = len(layout.headings)
    for line, cells in export.records(progress):
        if is_total(cells, date_at):
            totals += 1
            continue
        if len(cells) < width:
            continue  # a broken row is no evidence; it is rejected in the second pass
        days.add(line, cells[date_at])
        for position, kind in metrics:
            if not is_blank(cells[position]):
                numbers.add(line, layout.headings[position], cells[position], kind)
    convention = Convention(numbers.decide(options.mark), days.decide(options.order), options.latest)
    return convention, _notes(days, totals, options)


def _notes(days: DateSurvey, totals: int, options: ReadOptions) -> list[str]:
    notes = []
    if totals:
        notes.append(f"{totals:,} {'row' if totals == 1 else 'rows'} of totals left out")
    if days.assumed is not None and options.order is None:
        told = "--date-order month-first reads it otherwise"
        notes.append(f"no date shows its order; read day-first ({days.assumed}); {told}")
    return notes


def _take_rows(export: Export, reader: RowReader, reading: Reading, progress: Callable[[int], None]) -> None:
    date_at = reading.layout.positions["date"]
    for line, cells in export.records(progress):
        if is_total(cells, date_at):
            continue
        reading.rows_read += 1
        try:
            reading.sums.add(reader.read(cells))
        except CellError as error:
            reading.reject(line, str(error))


def _refuse_useless(reading: Reading, *, strict: bool) -> None:
    if reading.rows_read == 0:
        raise InputError.of("file", "has a heading but no row", "export a period that has data")
    if reading.rows_rejected == reading.rows_read:
        raise InputError(_problems(reading, f"all {reading.rows_read:,} rows are rejected"))
    if strict and reading.rows_rejected:
        raise InputError(_problems(reading, f"{reading.rows_rejected:,} rows are rejected, and --strict was given"))


def _problems(reading: Reading, summary: str) -> Sequence[Problem]:
    shown = reading.rejections[:_SHOWN_REJECTIONS]
    rows = [Problem(f"line {rejection.line}", rejection.reason) for rejection in shown]
    return [Problem("file", summary, "mend the rows below; nothing was written"), *rows]
