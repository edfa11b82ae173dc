"""The callables that come with the product. All are pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from core.errors import PermanentError
from engine.callables.base import step

if TYPE_CHECKING:
    from collections.abc import Mapping

    from engine.callables.base import Call


@step("cmis.noop", internal=True)
def noop(call: Call) -> Mapping[str, Any]:
    """Return its params: names values for later steps, or holds a place."""
    return call.params


@step("cmis.fail", internal=True)
def fail(call: Call) -> Mapping[str, Any] | None:
    """Fail for good with the param `message`: ends a branch that must not be reached."""
    raise PermanentError(str(call.params.get("message") or "the workflow says that this step fails"))
