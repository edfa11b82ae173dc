"""Which column holds what: the headings that are known, and the caller's own mapping, which wins."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from core.errors import InputError, Problem
from engine.imports.headings import PERIOD_END, PERIOD_START, TIERS, Preset, comparable, in_micros, is_known, recognise
from engine.imports.numbers import KINDS, Kind

if TYPE_CHECKING:
    from collections.abc import Container, Iterable, Mapping, Sequence

METRICS: Final = ("impressions", "clicks", "spend", "conversions", "revenue")
"""The metrics of a campaign-day, in the order in which rows carry them."""
FIELDS: Final = ("campaign", "campaign_name", "date", *METRICS, "platform", "objective", "currency")
"""What a column can be mapped to."""

_CURRENCY: Final = re.compile(r"^(?P<name>.*\S)\s*\((?P<code>[A-Z]{3})\)$")
_HEADING_COLUMNS: Final = 2
"""A line with so many known headings is the heading; a report's title may be one of them by chance."""


@dataclass(frozen=True, slots=True)
class Layout:
    """Where each field is, and what its numbers mean (`kinds`).

    `period_end` is the column of a reporting period's last day, if days come from its first. `platform` is what
    campaigns belong to where no column says so.
    """

    headings: Sequence[str]
    positions: Mapping[str, int]
    kinds: Mapping[str, Kind]
    period_end: int | None
    currency: str | None
    platform: str
    preset: Preset

    def heading(self, field: str) -> str:
        """Return the heading of the column that holds `field`."""
        return self.headings[self.positions[field]]

    @property
    def columns(self) -> dict[str, str]:
        """Field → heading, for reports."""
        return {field: self.heading(field) for field in FIELDS if field in self.positions}

    @property
    def notes(self) -> list[str]:
        """What the headings were taken to say of the numbers below them."""
        return [
            f"{self.heading(metric)} is in millionths of the currency's unit, and divided by 1,000,000"
            for metric, kind in self.kinds.items()
            if kind is Kind.MICROS
        ]


def parse_mapping(texts: Iterable[str]) -> dict[str, str]:
    """Parse `COLUMN=FIELD` texts into field → column. InputError lists every text that is wrong."""
    mapping: dict[str, str] = {}
    problems = []
    for text in texts:
        column, equals, field = (part.strip() for part in text.rpartition("="))
        if not (equals and column):
            problems.append(Problem("--map", f"{text!r} is not COLUMN=FIELD", "write e.g. --map Spent=spend"))
        elif field not in FIELDS:
            problems.append(Problem("--map", f"{field!r} is no field", f"use one of {', '.join(FIELDS)}"))
        elif field in mapping:
            problems.append(Problem("--map", f"{field} is mapped twice", f"keep one of {mapping[field]}, {column}"))
        else:
            mapping[field] = column
    if problems:
        raise InputError(problems)
    return mapping


def is_heading(cells: Sequence[str], mapping: Mapping[str, str]) -> bool:
    """Say whether a line's cells are headings rather than a title: two or more are known, or in `mapping`."""
    search = _Search(cells)
    mapped = {*mapping.values(), *map(comparable, mapping.values())}
    names = {
        name
        for heading, name in zip(cells, search.names, strict=True)
        if is_known(name) or heading in mapped or name in mapped
    }
    return len(names) >= _HEADING_COLUMNS


def resolve(
    headings: Sequence[str], mapping: Mapping[str, str], platform: str | None, preset: Preset | None = None
) -> Layout:
    """Decide which column holds which field.

    `mapping` (field → column) wins over every known name, and a mapped column holds nothing else. `preset` says whose
    export it is, by default what the headings show; `platform` is where campaigns belong, by default the preset's.
    Raises InputError with every missing or ambiguous field, the columns that may be meant, and the `--map` to give.
    """
    search = _Search(headings)
    preset = preset or recognise(search.names)
    positions, problems = search.mapped(mapping)
    ambiguous = search.known(positions, skip={"platform"} if preset.placement or platform else set())
    problems += [*ambiguous.values(), *_missing(headings, {*positions, *ambiguous})]
    if problems:
        raise InputError(problems)
    spend = positions.get("spend")
    starts = search.names[positions["date"]] == PERIOD_START
    return Layout(
        headings,
        positions,
        search.kinds(positions),
        search.names.index(PERIOD_END) if starts and PERIOD_END in search.names else None,
        search.codes[spend] if spend is not None else None,
        platform or preset.platform,
        preset,
    )


class _Search:
    """The headings in comparable form: lower case, one space for each separator, without a currency in brackets."""

    def __init__(self, headings: Sequence[str]) -> None:
        self.headings = headings
        matches = [_CURRENCY.match(heading) for heading in headings]
        self.codes = [match["code"] if match else None for match in matches]
        self.names = [
            comparable(match["name"] if match else heading) for match, heading in zip(matches, headings, strict=True)
        ]

    def mapped(self, mapping: Mapping[str, str]) -> tuple[dict[str, int], list[Problem]]:
        positions, problems = {}, []
        for field, column in mapping.items():
            found = [place for place, heading in enumerate(self.headings) if heading == column]
            found = found or [place for place, name in enumerate(self.names) if name == comparable(column)]
            if len(found) == 1:
                positions[field] = found[0]
            else:
                message = f"the file has {'no' if not found else 'more than one'} column {column!r}"
                problems.append(Problem("--map", message, f"its columns are: {_listed(self.headings)}"))
        return positions, problems

    def known(self, positions: dict[str, int], skip: set[str]) -> dict[str, Problem]:
        """Add the fields whose headings are known to `positions`; return the problem of each ambiguous one."""
        problems = {}
        taken = set(positions.values())
        for field, tiers in TIERS.items():
            if field in positions or field in skip:
                continue
            candidates = self._first_tier(tiers, taken - self._shared(field, positions))
            if len(candidates) == 1:
                positions[field] = candidates[0]
            elif candidates:
                problems[field] = _ambiguous(field, [self.headings[place] for place in candidates])
        return problems

    def kinds(self, positions: Mapping[str, int]) -> dict[str, Kind]:
        """Return what the numbers of each metric that the file has mean."""
        found = {metric: KINDS[metric] for metric in METRICS if metric in positions}
        money = [metric for metric, kind in found.items() if kind is Kind.MONEY]
        micros = [metric for metric in money if in_micros(self.names[positions[metric]])]
        return found | dict.fromkeys(micros, Kind.MICROS)

    def _first_tier(self, tiers: Sequence[frozenset[str]], taken: set[int]) -> list[int]:
        for tier in tiers:
            found = [place for place, name in enumerate(self.names) if name in tier and place not in taken]
            if found:
                return found
        return []

    @staticmethod
    def _shared(field: str, positions: Mapping[str, int]) -> set[int]:
        return {positions["campaign"]} if field == "campaign_name" and "campaign" in positions else set()


def _missing(headings: Sequence[str], found: Container[str]) -> list[Problem]:
    problems = []
    for field, hint in (("campaign", "campaign"), ("date", "date")):
        if field not in found:
            candidates = [heading for heading in headings if hint in comparable(heading)] or list(headings)
            message = f"no column is known to hold the {field}; candidates: {_listed(candidates)}"
            problems.append(Problem("file", message, f"say which: {_examples(candidates, field)}"))
    if not any(metric in found for metric in METRICS):
        message = f"no column is known to hold a metric; its columns are: {_listed(headings)}"
        problems.append(Problem("file", message, f"map at least one of {', '.join(METRICS)}: --map COLUMN=spend"))
    return problems


def _ambiguous(field: str, candidates: Sequence[str]) -> Problem:
    twice = next((heading for heading in candidates if candidates.count(heading) > 1), None)
    if twice is not None:  # no --map can tell them apart
        message = f"several columns that may hold the {field} are headed {twice!r}"
        return Problem("file", message, "give each column a heading of its own")
    message = f"several columns may hold the {field}: {_listed(candidates)}"
    return Problem("file", message, f"say which: {_examples(candidates, field)}")


def _examples(candidates: Sequence[str], field: str) -> str:
    shown = [f"--map {_shell(f'{column}={field}')}" for column in candidates[:3]]
    return " or ".join(shown)


def _shell(text: str) -> str:
    return text if re.fullmatch(r"[\w=.-]+", text) else f'"{text}"'


def _listed(headings: Sequence[str]) -> str:
    return ", ".join(heading or "(no heading)" for heading in headings[:40])
