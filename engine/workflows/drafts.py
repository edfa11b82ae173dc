"""A step of a definition while it is read: where it stands, and what was found of it so far. Pure."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from engine import references
from engine.rules.objects import ObjectReader
from engine.rules.reading import shown

if TYPE_CHECKING:
    from collections.abc import Mapping

    from engine.rules.reading import Problems

SCHEME: Final = "secret://"
MAX_SECONDS: Final = 315_360_000
"""Ten years: the longest that anything may take or wait."""
_UNITS: Final = {"seconds": 1, "minutes": 60, "hours": 3_600, "days": 86_400}
_BRACES: Final = "{{"
_BY_TEXT: Final = "write its id as a text, or leave it out: the branch ends there then"


@dataclass(slots=True)
class Draft:
    """A step that is being read. `edges` and `places` are by label: where it leads, and where that is written."""

    path: str
    members: ObjectReader
    config: ObjectReader
    problems: Problems
    edges: dict[str, str | None] = field(default_factory=dict)
    places: dict[str, str] = field(default_factory=dict)
    references: list[tuple[str, tuple[str, ...]]] = field(default_factory=list)
    """The place of each reference, and its path."""

    def lead(self, label: str, reader: ObjectReader, key: str) -> None:
        """Read a member that is the id of the step that a label leads to; absent = that branch ends."""
        self.lead_to(label, reader.get(key), reader.at(key))

    def lead_to(self, label: str, target: object, place: str) -> None:
        """Note where a label leads."""
        if target is not None and not isinstance(target, str):
            self.problems.add(place, f"must be the id of a step, not {shown(target)}", _BY_TEXT)
            target = None
        self.edges[label] = target
        if target is not None:
            self.places[label] = place

    def refer(self, node: Any, place: str, *, secrets: bool = False) -> None:
        """Note the references in the texts of a value, and a secret where none is filled in."""
        found: list[tuple[str, str]] = []
        _texts(node, place, found)
        for at, text in found:
            if _BRACES in text:
                self.references += [(at, one.path) for one in references.read(text).references]
            if not secrets and SCHEME in text:
                remedy = "secrets are filled in in the url, headers and signing_secret of actions only"
                self.problems.add(at, "names a secret, but would be kept as it stands", remedy)

    def duration(self, key: str) -> float | None:
        """Read a member such as {"hours": 1, "minutes": 30} in seconds, more than 0; None where it is absent."""
        document = self.config.get(key)
        if document is None:
            return None
        place = self.config.at(key)
        if not isinstance(document, dict) or not any(document.get(unit) is not None for unit in _UNITS):
            message = f"must be a duration, not {shown(document)}"
            self.problems.add(place, message, 'write {"minutes": 30}: some of seconds, minutes, hours and days')
            return None
        self.problems.refuse_unknown_keys(document, tuple(_UNITS), place)
        reader = object_reader(document, self.problems, place)
        before = len(self.problems)
        total = added(reader)
        if total == 0 and len(self.problems) == before:
            self.problems.add(place, "is no time at all", "give more than 0 seconds")
        elif total > MAX_SECONDS:
            self.problems.add(place, f"is {total:g} seconds", f"give at most {MAX_SECONDS:,}: ten years")
        return total


def object_reader(document: Mapping[object, object], problems: Problems, path: str) -> ObjectReader:
    """Return the reader of an object in which null is as good as absent."""
    return ObjectReader({key: value for key, value in document.items() if value is not None}, problems, path)


def added(reader: ObjectReader) -> float:
    """Return the sum of seconds, minutes, hours and days, in seconds."""
    return sum(reader.number(unit, 0, 0, MAX_SECONDS / size) * size for unit, size in _UNITS.items())


def refers(node: Any) -> bool:
    """Say whether a text in a value holds double braces."""
    found: list[tuple[str, str]] = []
    _texts(node, "", found)
    return any(_BRACES in text for _, text in found)


def _texts(node: Any, place: str, found: list[tuple[str, str]]) -> None:
    """Collect the texts in a value that may hold references or name secrets, each with its place."""
    if isinstance(node, str):
        if _BRACES in node or SCHEME in node:
            found.append((place, node))
    elif isinstance(node, dict):
        for key, value in node.items():
            _texts(value, f"{place}.{key}", found)
    elif isinstance(node, list):
        for index, value in enumerate(node):
            _texts(value, f"{place}[{index}]", found)
