"""Every callable by its name, ours and other packages'."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import lru_cache
from typing import TYPE_CHECKING, Final

from core.errors import PermanentError
from engine.callables.base import Registered
from engine.callables.ours import fail, noop
from engine.callables.packages import brought

if TYPE_CHECKING:
    from collections.abc import Iterator

_PACKAGE: Final = "cmis-automation"
_OURS: Final = (noop, fail)


@lru_cache(maxsize=1)
def callables() -> Mapping[str, Registered]:
    """Return every callable by its name. Other packages are looked for once, when the first one is asked for.

    Not at import: their modules import this package.
    """
    ours = {registered.name: replace(registered, package=_PACKAGE) for registered in _OURS}
    return ours | {registered.name: registered for registered in brought(ours)}


class _Callables(Mapping[str, Registered]):
    """All callables by name, known as soon as one is asked for."""

    def __getitem__(self, name: str) -> Registered:
        return callables()[name]

    def __iter__(self) -> Iterator[str]:
        return iter(callables())

    def __len__(self) -> int:
        return len(callables())


CALLABLES: Final[Mapping[str, Registered]] = _Callables()


def find(name: str) -> Registered:
    """Return a callable; raises PermanentError where none has this name (any more), with those that there are."""
    found = CALLABLES.get(name)
    if found is None:
        message = (
            f"unknown callable {name!r} (install its package on the workers, or use one of: {', '.join(CALLABLES)})"
        )
        raise PermanentError(message)
    return found
