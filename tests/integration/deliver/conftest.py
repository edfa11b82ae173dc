"""A world, an org, and its desk with a signing secret."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.integration.engine.conftest import org, world
from tests.posting import SIGNING, Desk

if TYPE_CHECKING:
    from tests.world import Org

__all__ = ["org", "world"]


@pytest.fixture
def desk(org: Org) -> Desk:
    """Give the test a desk whose webhooks are signed."""
    made = Desk(org)
    made.keep("signing", SIGNING)
    return made
