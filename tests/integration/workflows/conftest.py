"""A world, an org, its desk with a signing secret, and its workflows."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.integration.deliver.conftest import desk, org, world
from tests.stepping import Flow

if TYPE_CHECKING:
    from tests.posting import Desk

__all__ = ["desk", "org", "world"]


@pytest.fixture
def flow(desk: Desk) -> Flow:
    """Give the test an org's workflows."""
    return Flow(desk)
