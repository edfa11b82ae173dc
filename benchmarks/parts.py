"""The parts that exist, by name."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from benchmarks.rules.part import measure as rules
from benchmarks.schedules.part import measure as schedules
from benchmarks.workflows.part import measure as workflows
from core.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from benchmarks.rows import Row
    from benchmarks.servers import Bench

    Part = Callable[[Bench], Sequence[Row]]

PARTS: Final[dict[str, Part]] = {"schedules": schedules, "rules": rules, "workflows": workflows}


def chosen(name: str | None) -> dict[str, Part]:
    """Return the part of this name, or all of them. Raises InputError naming those that exist."""
    if name is None:
        return PARTS
    if name not in PARTS:
        raise InputError.of("PART", f"there is no part {name!r}", f"the parts are: {', '.join(PARTS)}")
    return {name: PARTS[name]}
