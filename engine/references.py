r"""References in texts that people write: `{{ campaign.name }}`. Names are looked up, and that is all: no logic.

What stands between double braces must be a known dotted path; all else is literal. Braces that are meant are written
`\{{ … }}`; a backslash that is meant right before a reference is written twice. A value that itself holds braces is not
read again. Pure.
"""

from __future__ import annotations

import html as markup
import json
import re
from dataclasses import dataclass
from decimal import Decimal
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from core.errors import InputError, Problem

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping

Known: TypeAlias = "Mapping[str, Collection[str]]"
"""The fields of each root; `payload.*` = `payload` and whatever may be below it."""
Escape: TypeAlias = "Callable[[str], str]"

MAX_REFERENCES: Final = 50
"""In one text."""
MAX_VALUE: Final = 500
"""Characters that one value may add to a text; the rest of it is cut off."""
CUT: Final = "…"
_OPEN: Final = "{{"
_CLOSE: Final = "}}"
_OPENING: Final = re.compile(r"(?<!\\)(\\*)\{\{")
_PATH: Final = re.compile(r"[A-Za-z0-9_-]{1,100}(?:\.[A-Za-z0-9_-]{1,100}){0,16}")
_SHOWN: Final = 60


def plain(text: str) -> str:
    """Return the text as it is."""
    return text


def html(text: str) -> str:
    """Return the text as HTML shows it: nothing of it is markup."""
    return markup.escape(text)


@dataclass(frozen=True, slots=True)
class Reference:
    """A place in a text where a value stands."""

    path: tuple[str, ...]

    def text(self, values: Mapping[str, Any], longest: int = MAX_VALUE) -> str:
        """Return the value as text, at most `longest` characters; empty where there is none."""
        return cut(_text(self.value(values)), longest)

    def value(self, values: Mapping[str, Any]) -> Any:
        """Return the value as it is; None where there is none. Objects are dicts, lists are lists."""
        found: Any = values
        for name in self.path:
            if isinstance(found, dict):
                found = found.get(name)
            elif isinstance(found, list) and name.isdecimal() and int(name) < len(found):
                found = found[int(name)]
            else:
                return None
        return found


@dataclass(frozen=True, slots=True)
class Template:
    """A text with its references, read."""

    parts: tuple[str | Reference, ...]

    @property
    def references(self) -> list[Reference]:
        """The references, in their order."""
        return [part for part in self.parts if isinstance(part, Reference)]

    def render(self, values: Mapping[str, Any], escape: Escape = plain, *, longest: int | None = None) -> str:
        """Return the text with the values in it, `longest` characters at most before all of it is escaped."""
        text = "".join([part if isinstance(part, str) else part.text(values) for part in self.parts])
        return escape(text if longest is None else cut(text, longest))


def parse(text: str, path: str, known: Known) -> Template:
    """Read a text. Raises InputError, at `path`, for each reference that is none or leads nowhere."""
    template = read(text)
    problems = [_problem(part, path, known) for part in template.references]
    if len(problems) > MAX_REFERENCES:
        raise InputError.of(path, f"has {len(problems)} references", f"use at most {MAX_REFERENCES}")
    if found := [problem for problem in problems if problem is not None]:
        raise InputError(list(dict.fromkeys(found)))
    return template


@lru_cache(maxsize=1024)
def read(text: str) -> Template:
    """Read a text that was parsed before; what was no reference then leads nowhere now."""
    parts: list[str | Reference] = []
    end, last = 0, text.rfind(_CLOSE)
    # in time that is proportional to the text, whatever braces and backslashes it holds
    while 0 <= (start := text.find(_OPEN, end)) < last - 1:
        slashes = len(text[end:start]) - len(text[end:start].rstrip("\\"))
        parts += [text[end : start - slashes], "\\" * (slashes // 2)]
        if slashes % 2:  # braces that are meant; what follows them is read as ever
            parts.append(_OPEN)
            end = start + len(_OPEN)
        else:
            close = text.index(_CLOSE, start + len(_OPEN))
            parts.append(Reference(tuple(text[start + len(_OPEN) : close].strip().split("."))))
            end = close + len(_CLOSE)
    return Template((*parts, text[end:]))


def literal(text: str) -> str:
    r"""Return a text that reads as the given one, with nothing in it taken for a reference."""
    last = text.rfind("}}")
    return _OPENING.sub(lambda one: f"{one[1] * 2}\\{{{{" if one.end() <= last else one[0], text)


def cut(text: str, longest: int) -> str:
    """Return the text, its end replaced by … where it is longer."""
    return text if len(text) <= longest else text[: longest - len(CUT)] + CUT


def _problem(reference: Reference, path: str, known: Known) -> Problem | None:
    written = ".".join(reference.path)
    shown = repr(written if len(written) <= _SHOWN else written[:_SHOWN] + CUT)
    if not _PATH.fullmatch(written):
        return Problem(
            path,
            f"{shown} in double braces is no reference",
            r"write {{ campaign.name }}, or \{{ … }} for braces that are meant",
        )
    root, fields = reference.path[0], reference.path[1:]
    if root not in known:
        return Problem(path, f"there is no {shown} to refer to", f"it begins with one of {', '.join(known)}")
    if not any(_leads(fields, field) for field in known[root]):
        listed = ", ".join(f"{root}.{field}" for field in known[root])
        return Problem(path, f"there is no {shown} to refer to", f"allowed: {listed}")
    return None


def _leads(fields: tuple[str, ...], known: str) -> bool:
    if known.endswith(".*"):
        return fields[:1] == (known.removesuffix(".*"),)
    return fields == (known,)


def _text(value: Any) -> str:
    match value:
        case None:
            return ""
        case str():
            return value
        case Decimal():
            return format(value, "f")
        case _:
            return json.dumps(value, ensure_ascii=False, separators=(",", ":"))
