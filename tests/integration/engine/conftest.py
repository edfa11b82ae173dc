"""A world for each test; its invariants are checked after each."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from engine import invariants
from tests.world import World

if TYPE_CHECKING:
    from collections.abc import Iterator

    from dev.site import Site
    from tests.world import Org


@pytest.fixture
def world(database: Site) -> Iterator[World]:
    """Give the test a database as each role. Whatever it did, the invariants hold afterwards."""
    made = World.open(database)
    try:
        yield made
        broken = {one.name: one.offenders for one in invariants.check(made.reader, drained=False) if one.offenders}
        assert broken == {}
    finally:
        made.close()


@pytest.fixture
def org(world: World) -> Org:
    """Give the test an org."""
    return world.org()
