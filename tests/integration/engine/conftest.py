"""A world for each test; its invariants are checked after each."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from engine import invariants

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.world import Org, World


@pytest.fixture
def world(world: World) -> Iterator[World]:
    """Give the test a database as each role. Whatever it did, the invariants hold afterwards."""
    yield world
    broken = {one.name: one.offenders for one in invariants.check(world.reader, drained=False) if one.offenders}
    assert broken == {}


@pytest.fixture
def org(world: World) -> Org:
    """Give the test an org."""
    return world.org()
