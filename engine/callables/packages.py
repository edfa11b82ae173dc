"""Callables that other packages bring: their entry points of the group `cmis.steps`.

A package that cannot be used costs its own callables and nothing else: it is named in the log with what to do, and
whatever workflow uses them is told that they are unknown.
"""

from __future__ import annotations

import logging
from dataclasses import replace
from importlib.metadata import entry_points
from typing import TYPE_CHECKING, Final

from engine.callables.base import Registered

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from importlib.metadata import EntryPoint

logger = logging.getLogger(__name__)

GROUP: Final = "cmis.steps"


class _UnusableError(Exception):
    """What a package offers as a callable is none, or takes a name that is taken."""


def brought(taken: Mapping[str, Registered]) -> Iterator[Registered]:
    """Yield the callables of all installed packages, by package and entry point; none is named like one of `taken`."""
    names = {name: registered.package for name, registered in taken.items()}
    for point in sorted(entry_points(group=GROUP), key=lambda point: (_package(point), point.name)):
        try:
            registered = _load(point, names)
        except (Exception, SystemExit) as error:  # noqa: BLE001 - whatever a package does, the worker goes on without it
            said = str(error) if isinstance(error, _UnusableError) else f"{type(error).__name__}: {error}"
            remedy = "mend the package or uninstall it, then restart what uses it"
            logger.error("the callable %r of %s is left out: %s (%s)", point.name, _package(point), said, remedy)  # noqa: TRY400 - what it says is enough
        else:
            names[registered.name] = registered.package
            yield registered


def _package(point: EntryPoint) -> str:
    return f"{point.dist.name} {point.dist.version}" if point.dist else "?"


def _load(point: EntryPoint, taken: Mapping[str, str]) -> Registered:
    loaded: object = point.load()
    if not isinstance(loaded, Registered):
        message = f"{point.value} is no function under @engine.callables.base.step"
        raise _UnusableError(message)
    if loaded.name in taken:
        message = f"there is a callable {loaded.name!r} of {taken[loaded.name]} already"
        raise _UnusableError(message)
    return replace(loaded, package=_package(point))
