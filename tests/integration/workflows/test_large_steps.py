"""Steps that put out much, and numbers that not every reader of JSON takes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from engine.callables import registry
from engine.callables.base import Call, step
from engine.run_workflow import turn

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tests.stepping import Flow

HUGE = 2**70


@step("test.huge", internal=True)
def huge(call: Call) -> Mapping[str, Any]:
    """Put out an integer of more than 64 bits."""
    return {"n": HUGE, "step": call.step_id}


@pytest.fixture(autouse=True)
def known(monkeypatch: pytest.MonkeyPatch) -> None:
    ours = dict(registry.callables()) | {huge.name: huge}
    monkeypatch.setattr(registry, "callables", lambda: ours)


def told(step_id: str, following: str | None, text: str) -> dict[str, Any]:
    config = {"callable": "cmis.noop", "params": {"text": text}}
    return {"id": step_id, "type": "action", "config": config, "next": following}


def test_steps_that_put_out_much_share_no_commit_and_know_of_each_other(
    flow: Flow, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(turn, "COMMIT_BYTES", 1_000)
    steps = [told("a", "b", "x" * 600), told("b", "c", "{{ steps.a.output.text }}"), told("c", None, "x")]
    instance_id = flow.play(*steps)
    row = flow.instance(instance_id)
    assert (row.status, row.revision) == ("completed", 3)
    assert flow.step(instance_id, "b").output_data == {"text": "x" * 600}
    assert row.output_data == {"c": {"text": "x"}}


def test_an_integer_of_more_than_64_bits_is_put_out(flow: Flow) -> None:
    instance_id = flow.play({"id": "last", "type": "action", "config": {"callable": "test.huge"}})
    row = flow.instance(instance_id)
    assert (row.status, row.error) == ("completed", None)
    assert row.output_data == {"last": {"n": HUGE, "step": "last"}}
