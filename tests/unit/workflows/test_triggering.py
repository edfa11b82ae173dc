"""Whether an event starts a workflow: true does, false and unknown do not."""

from __future__ import annotations

from typing import Any

import pytest

from core.errors import InputError
from engine.workflows.triggering import holds

GOOD = {"field": "lead.score", "operator": ">=", "value": 50}


@pytest.mark.parametrize(
    ("conditions", "payload", "starts"),
    [
        (None, {}, True),
        ([GOOD], {"lead": {"score": 50}}, True),
        ([GOOD], {"lead": {"score": 49.9}}, False),
        ([GOOD], {"lead": {}}, False),
        ({"none": [GOOD]}, {"lead": {}}, False),
        ({"any": [GOOD, {"field": "vip", "operator": "=", "value": True}]}, {"vip": True}, True),
        ({"field": "items.0.sku", "operator": "in", "value": ["a"]}, {"items": [{"sku": "a"}]}, True),
    ],
)
def test_only_what_is_true_starts_a_workflow(conditions: Any, payload: dict[str, Any], *, starts: bool) -> None:
    assert holds(conditions, payload) is starts


def test_conditions_that_cannot_be_read_name_their_place() -> None:
    with pytest.raises(InputError, match=r"event_conditions\[0\].operator"):
        holds([{"field": "x"}], {})
