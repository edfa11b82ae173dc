"""A database and an org for each scenario, which a mutation may break: nothing is checked but by the scenario."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from engine import invariants

if TYPE_CHECKING:
    from tests.world import World

whole_and_mutant = pytest.mark.parametrize("mutant", [False, True], ids=["as it is", "taken out"])


def broken(world: World, *, drained: bool = True) -> dict[str, int]:
    """Return the invariants that do not hold, and how many rows break each: what `cmis invariants` tells."""
    found = invariants.check(world.reader, drained=drained)
    return {one.name: len(one.offenders) for one in found if one.offenders}
