"""Action kinds that other packages bring: their entry points of the group `cmis.actions`.

A package that cannot be used costs its own kinds and nothing else: it is named in the log with what to do, and whatever
rule uses its kinds is told that they are unknown.
"""

from __future__ import annotations

import logging
import re
from dataclasses import dataclass
from importlib.metadata import entry_points
from typing import TYPE_CHECKING, Any, Final

from engine.actions.base import Action

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator
    from importlib.metadata import EntryPoint

logger = logging.getLogger(__name__)

GROUP: Final = "cmis.actions"
_NAME: Final = re.compile(r"[a-z][a-z0-9_]{0,59}")


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of action, and the package that brings it."""

    action: Action
    package: str

    @property
    def spellings(self) -> tuple[str, ...]:
        """Every name that a rule may write for it."""
        return (self.action.name, *self.action.aliases)


class _UnusableError(Exception):
    """What a package offers as an action is none, or takes a name that is taken."""


def brought(taken: Collection[str]) -> Iterator[Kind]:
    """Yield the kinds of all installed packages, by package and entry point; none is spelled like one of `taken`."""
    names = set(taken)
    for point in sorted(entry_points(group=GROUP), key=lambda point: (_package(point), point.name)):
        try:
            kind = Kind(_load(point), _package(point))
            _refuse_taken(kind.spellings, names)
        except (Exception, SystemExit) as error:  # noqa: BLE001 - whatever a package does, the worker goes on without it
            said = str(error) if isinstance(error, _UnusableError) else f"{type(error).__name__}: {error}"
            remedy = "mend the package or uninstall it, then restart what uses it"
            logger.error("the action %r of package %s is left out: %s (%s)", point.name, _package(point), said, remedy)  # noqa: TRY400 - what it says is enough
        else:
            names.update(kind.spellings)
            yield kind


def _package(point: EntryPoint) -> str:
    return f"{point.dist.name} {point.dist.version}" if point.dist else "?"


def _load(point: EntryPoint) -> Action:
    loaded: Any = point.load()
    action = loaded() if isinstance(loaded, type) else loaded
    if not isinstance(action, Action):
        message = f"{point.value} is no engine.actions.base.Action"
        raise _UnusableError(message)
    aliases: object = action.aliases  # a text in its place would be taken for one-letter names
    spellings = (getattr(action, "name", None), *aliases) if isinstance(aliases, tuple | list) else (None,)
    if not all(isinstance(one, str) and _NAME.fullmatch(one) for one in spellings):
        message = "its name and aliases must be of small letters, digits and _, at most 60"
        raise _UnusableError(message)
    return action


def _refuse_taken(spellings: Collection[str], taken: Collection[str]) -> None:
    both = [spelling for spelling in spellings if spelling in taken]
    if both:
        message = f"there is an action {both[0]!r} already"
        raise _UnusableError(message)
