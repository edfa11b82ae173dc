"""A world, an org, and its workflows; among their callables is one that fails as long as the test says so."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from core.errors import PermanentError
from engine.callables import registry
from engine.callables.base import Call, Registered
from tests.integration.control_workflows.flows import Flows
from tests.integration.engine.conftest import org, world

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.world import Org

__all__ = ["org", "world"]


@pytest.fixture
def flows(org: Org, monkeypatch: pytest.MonkeyPatch) -> Iterator[Flows]:
    """Give the test the workflows of an org; their invariants hold afterwards."""
    made = Flows(org)

    def flaky(call: Call) -> dict[str, Any]:
        if call.params["id"] in made.broken:
            message = "broken as the test wants it"
            raise PermanentError(message)
        return {"id": call.params["id"]}

    known = dict(registry.callables()) | {"tests.flaky": Registered("tests.flaky", flaky, internal=True)}
    monkeypatch.setattr(registry, "callables", lambda: known)
    yield made
    made.check()
