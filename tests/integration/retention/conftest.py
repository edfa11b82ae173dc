"""A database of its own for each test: these move the clock over a year, and drop the months that it comes from."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.integration.deliver.conftest import desk, org, world
from tests.stepping import Flow

if TYPE_CHECKING:
    from collections.abc import Iterator

    from dev.provider import Servers
    from dev.site import Site
    from tests.posting import Desk

__all__ = ["desk", "org", "world"]


@pytest.fixture
def database(server: Servers) -> Iterator[Site]:
    """Give the test a migrated database."""
    with server.clone() as site:
        yield site


@pytest.fixture
def flow(desk: Desk) -> Flow:
    """Give the test an org's workflows; the invariants hold afterwards."""
    return Flow(desk)
