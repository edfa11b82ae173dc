"""One record of the file → one observation of a campaign on a day, or the reason why not."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from engine.imports import dates, numbers
from engine.imports.cells import CellError, is_blank, quoted
from engine.imports.columns import METRICS, Layout

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import date
    from decimal import Decimal

    from engine.imports.dates import DateOrder
    from engine.imports.numbers import DecimalMark

_TEXT_LENGTH: Final = 255
_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f-\x9f]")  # Latin-1 has the upper ones, and terminals obey them
_TOTAL: Final = re.compile(r"(?:grand )?totals?|(?:ins)?gesamt|totale", re.IGNORECASE)
_MANGLED_ID: Final = re.compile(r"[0-9](?:[.,][0-9]+)?[eE]\+[0-9]{2}")


@dataclass(frozen=True, slots=True)
class Convention:
    """What the file as a whole decided, and the last day that can have metrics."""

    mark: DecimalMark
    order: DateOrder
    latest: date


@dataclass(frozen=True, slots=True)
class Observation:
    """One row, understood. `values` follows METRICS; None = this row does not report that metric."""

    platform: str
    campaign: str
    name: str | None
    objective: str | None
    currency: str | None
    day: date
    values: tuple[Decimal | None, ...]


class RowReader:
    """Reads the records of one file in its layout and its convention."""

    def __init__(self, layout: Layout, convention: Convention) -> None:
        self._layout = layout
        self._convention = convention
        self._days: dict[str, date] = {}
        self._metrics = [
            (place, layout.positions[metric], layout.kinds[metric], metric)
            for place, metric in enumerate(METRICS)
            if metric in layout.kinds
        ]

    def read(self, cells: Sequence[str]) -> Observation:
        """Read one record. Raises CellError with the reason why it is rejected."""
        cells = fitted(cells, len(self._layout.headings))
        campaign = self._campaign(cells)
        day = self._day(cells)
        values, currency = self._values(cells)
        return Observation(
            (self._text(cells, "platform") or self._layout.platform).casefold(),
            campaign,
            self._text(cells, "campaign_name"),
            self._text(cells, "objective"),
            self._currency(cells, currency),
            day,
            values,
        )

    def _campaign(self, cells: Sequence[str]) -> str:
        campaign = self._text(cells, "campaign")
        if campaign is None:
            raise CellError(f"{self._layout.heading('campaign')}: no campaign is named")
        if _MANGLED_ID.fullmatch(campaign):
            raise CellError(f"campaign {quoted(campaign)} is an id that a spreadsheet has rounded; export it anew")
        return campaign

    def _day(self, cells: Sequence[str]) -> date:
        text = cells[self._layout.positions["date"]]
        if self._layout.period_end is not None and cells[self._layout.period_end] != text:
            period = f"{quoted(text)} to {quoted(cells[self._layout.period_end])}"
            raise CellError(f"the row covers {period}, not one day; export it with a breakdown by day")
        day = self._days.get(text)
        if day is None:
            if is_blank(text):
                raise CellError(f"{self._layout.heading('date')}: no date is given")
            with_heading = self._layout.heading("date")
            try:
                day = dates.parse(text, self._convention.order, self._convention.latest)
            except CellError as error:
                raise CellError(f"{with_heading}: {error}") from None
            self._days[text] = day  # bounded: only days of the calendar get here
        return day

    def _values(self, cells: Sequence[str]) -> tuple[tuple[Decimal | None, ...], str | None]:
        values: list[Decimal | None] = [None] * len(METRICS)
        currency = None
        for place, position, kind, metric in self._metrics:
            text = cells[position]
            if is_blank(text):
                continue
            try:
                money = numbers.parse(text, kind, self._convention.mark)
            except CellError as error:
                raise CellError(f"{self._layout.heading(metric)}: {error}") from None
            values[place] = money.amount
            currency = _same_currency(currency, money.currency)
        if all(value is None for value in values):
            raise CellError("no metric is given")
        return tuple(values), currency

    def _currency(self, cells: Sequence[str], of_cells: str | None) -> str | None:
        """Return the row's currency: its column's, else its heading's, else its cells' own sign."""
        declared = (self._text(cells, "currency") or self._layout.currency or "").upper() or None
        if declared is not None and numbers.iso_currency(declared) is None:
            raise CellError(f"{quoted(declared)} is no three-letter currency code")
        of_cells_iso = numbers.iso_currency(of_cells)
        if declared and of_cells_iso and declared != of_cells_iso:
            raise CellError(f"an amount in {of_cells_iso} in a row of {declared}")
        return declared or of_cells

    def _text(self, cells: Sequence[str], field: str) -> str | None:
        position = self._layout.positions.get(field)
        text = cells[position] if position is not None else ""
        if len(text) > _TEXT_LENGTH or _CONTROL.search(text):
            raise CellError(
                f"{self._layout.headings[position or 0]}: {quoted(text)} is too long or holds control characters"
            )
        return None if is_blank(text) else text


def is_total(cells: Sequence[str], date_at: int) -> bool:
    """Say whether a record is a total of others: it begins `Total` or `Total: …`, in a known language, and has no date.

    A campaign may be called so; its rows have dates.
    """
    if not _TOTAL.fullmatch(cells[0].partition(":")[0].rstrip()):
        return False
    return date_at == 0 or date_at >= len(cells) or is_blank(cells[date_at])


def fitted(cells: Sequence[str], width: int) -> Sequence[str]:
    """Return the record at the heading's width, empty trailing cells dropped; CellError where it does not fit."""
    if len(cells) == width:
        return cells
    if len(cells) > width and not any(cells[width:]):
        return cells[:width]
    raise CellError(f"has {len(cells)} cells where the heading has {width}")


def _same_currency(first: str | None, second: str | None) -> str | None:
    if first and second and first != second:
        raise CellError(f"amounts in {first} and {second} in one row")
    return first or second
