"""Read the members of a JSON object one by one, each with its default, noting every problem at its path."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar
from uuid import UUID

from engine.rules.reading import Problems, exact_number, listed, shown

if TYPE_CHECKING:
    from collections.abc import Mapping
    from enum import StrEnum

E = TypeVar("E", bound="StrEnum")


class ObjectReader:
    """Reads one object, at its path. Beside a noted problem it returns the default, which means nothing then."""

    def __init__(self, document: Mapping[object, object], problems: Problems, path: str = "") -> None:
        self._document = document
        self._problems = problems
        self._path = path

    def at(self, key: str) -> str:
        """Return the path of a member."""
        return f"{self._path}.{key}" if self._path else key

    def get(self, key: str) -> object:
        """Return a member as it is; None where it is absent."""
        return self._document.get(key)

    def required(self, key: str) -> object:
        """Return a member that has no default; None, with the problem noted, where it is absent or null."""
        value = self._document.get(key)
        if value is None:
            self._problems.add(self.at(key), "is required", f"add the key {key}")
        return value

    def required_text(self, key: str, max_length: int) -> str:
        """Read a string that has no default and is not blank."""
        return "" if self.required(key) is None else self.text(key, "", max_length)

    def text(self, key: str, default: str, max_length: int) -> str:
        """Read a string that is not blank; surrounding blanks are dropped."""
        value = self._document.get(key, default)
        if not isinstance(value, str):
            self._problems.add(self.at(key), f"must be a string, not {shown(value)}", "write a text in quotes")
        elif not value.strip():
            self._problems.add(self.at(key), "is blank", "give a text")
        elif len(value.strip()) > max_length:
            self._problems.add(self.at(key), f"has {len(value.strip())} characters", f"give at most {max_length}")
        else:
            return value.strip()
        return default

    def optional_text(self, key: str, max_length: int) -> str | None:
        """Read a string that may be blank, null or absent."""
        value = self._document.get(key)
        if value is None or (isinstance(value, str) and not value.strip()):
            return None
        return self.text(key, "", max_length)

    def choice(self, key: str, default: E, remedy: str | None = None) -> E:
        """Read a member of an enum by its value."""
        value = self._document.get(key, default)
        allowed = type(default)
        if isinstance(value, str) and value in allowed._value2member_map_:
            return allowed(value)
        self._problems.add(self.at(key), f"cannot be {shown(value)}", remedy or f"allowed: {listed(allowed)}")
        return default

    def boolean(self, key: str, *, default: bool) -> bool:
        """Read true or false."""
        value = self._document.get(key, default)
        if isinstance(value, bool):
            return value
        self._problems.add(self.at(key), f"must be true or false, not {shown(value)}", "write it without quotes")
        return default

    def integer(self, key: str, default: int, low: int, high: int) -> int:
        """Read a whole number within bounds, both included."""
        value = self._document.get(key, default)
        if isinstance(value, bool) or not isinstance(value, int):
            self._problems.add(self.at(key), f"must be a whole number, not {shown(value)}", f"allowed: {low} to {high}")
        elif not low <= value <= high:
            self._problems.add(self.at(key), f"cannot be {shown(value)}", f"allowed: {low} to {high}")
        else:
            return value
        return default

    def number(self, key: str, default: float, low: float, high: float) -> float:
        """Read a number within bounds, both included."""
        value = self._document.get(key, default)
        exact = exact_number(value)
        if exact is None:
            self._problems.add(self.at(key), f"must be a number, not {shown(value)}", f"allowed: {low:g} to {high:g}")
        elif not low <= exact <= high:
            self._problems.add(self.at(key), f"cannot be {shown(value)}", f"allowed: {low:g} to {high:g}")
        else:
            return float(exact)
        return default

    def optional_integer(self, key: str, low: int, high: int) -> int | None:
        """Read a whole number within bounds, or null."""
        return None if self._document.get(key) is None else self.integer(key, low, low, high)

    def optional_uuid(self, key: str) -> UUID | None:
        """Read a UUID, or null."""
        value = self._document.get(key)
        if value is None:
            return None
        try:
            return UUID(value if isinstance(value, str) else "")
        except ValueError:
            self._problems.add(self.at(key), f"must be a UUID, not {shown(value)}", "give the id as the lists show it")
            return None
