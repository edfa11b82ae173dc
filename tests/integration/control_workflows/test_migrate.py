"""Runs that are under way move to another version of their workflow."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from core.errors import NotFoundError
from core.ids import uuid7
from engine.control_workflows import switch
from engine.control_workflows.migrate import Move, Wanted, migrate
from tests.integration.control_workflows.flows import approval, delay, fails, noop, split

if TYPE_CHECKING:
    from uuid import UUID

    from tests.integration.control_workflows.flows import Flows

ABOVE = {"field": "x", "operator": ">", "value": 1}
OLD = (noop("a", "wait"), delay("wait", "z"), noop("z"))


def moved(flows: Flows, old: Any, new: Any, *, dry_run: bool = False) -> tuple[UUID, Move]:
    template_id = flows.template(*old)
    instance_id = flows.start(template_id)
    flows.work()
    flows.publish(template_id, 2, *new)
    [move] = migrate(flows.hand, Wanted(template_id, 2), dry_run=dry_run)
    assert move.instance_id == instance_id
    return instance_id, move


def test_a_run_goes_on_by_the_new_version(flows: Flows) -> None:
    instance_id, move = moved(flows, OLD, (noop("a", "wait"), delay("wait", "y"), noop("y", "x"), noop("x")))
    assert (move.can, move.moved, move.version, move.left_out) == (True, True, 1, ["z"])
    row = flows.instance(instance_id)
    assert (row.version, row.steps_total, row.steps_skipped) == (2, 5, 1)
    assert flows.step(instance_id, "z").note == "not in version 2"
    flows.world.advance(hours=2)
    flows.work()
    row = flows.instance(instance_id)
    assert (row.status, row.steps_completed) == ("completed", 4)
    assert row.output_data == {"x": {"id": "x"}}
    [told] = flows.entries(instance_id, "instance_migrated")
    assert told.details == {"from": 1, "to": 2, "left_out": ["z"]}


def test_a_dry_run_says_the_same_and_changes_nothing(flows: Flows) -> None:
    template_id = flows.template(*OLD)
    instance_id = flows.start(template_id)
    flows.work()
    flows.publish(template_id, 2, noop("a", "wait"), delay("wait"))
    before = flows.snapshot(instance_id)
    [move] = migrate(flows.hand, Wanted(template_id, 2), dry_run=True)
    assert (move.can, move.moved, move.left_out) == (True, False, ["z"])
    assert flows.snapshot(instance_id) == before


def test_a_branch_that_the_new_version_adds_begins_at_once(flows: Flows) -> None:
    old = (split("both", "one", "two"), delay("one", "m"), approval("two", "m"), noop("m"))
    new = (split("both", "one", "two", "new"), delay("one", "m"), approval("two", "m"), noop("new", "m"), noop("m"))
    instance_id, move = moved(flows, old, new)
    assert (move.can, move.begun) == (True, ["new"])
    flows.work()
    assert flows.statuses(instance_id)["new"] == "completed"


def test_what_is_on_no_way_any_more_is_skipped(flows: Flows) -> None:
    rejoined = {"id": "wait", "type": "delay", "config": {"hours": 1}, "next": "z"}
    branch = {
        "id": "which",
        "type": "condition",
        "config": {
            "conditions": [{"field": "x", "operator": ">", "value": 1}],
            "true_next": "wait",
            "false_next": "no",
        },
    }
    old = (branch, rejoined, noop("no"), noop("z", "y"), noop("y"))
    template_id = flows.template(*old)
    instance_id = flows.start(template_id, x=2)
    flows.work()
    flows.publish(template_id, 2, branch, rejoined, noop("no", "y"), noop("z"), noop("y"))
    [move] = migrate(flows.hand, Wanted(template_id, 2))
    assert move.moved, move.reasons
    assert flows.statuses(instance_id)["y"] == "skipped"
    flows.world.advance(hours=2)
    flows.work()
    assert flows.instance(instance_id).status == "completed"


def test_a_paused_run_moves_and_stays_paused(flows: Flows) -> None:
    template_id = flows.template(*OLD)
    instance_id = flows.start(template_id)
    flows.work()
    switch.pause(flows.hand, instance_id, note="wait")
    flows.publish(template_id, 2, *OLD[:2], noop("z", "y"), noop("y"))
    [move] = migrate(flows.hand, Wanted(template_id, 2))
    assert (move.moved, flows.instance(instance_id).pause_note) == (True, "wait")
    flows.world.advance(hours=2)
    switch.resume(flows.hand, instance_id)
    flows.work()
    assert (flows.instance(instance_id).status, flows.statuses(instance_id)["y"]) == ("completed", "completed")


def test_a_step_that_failed_and_waits_for_a_person_still_does(flows: Flows) -> None:
    flows.broken = {"a"}
    pauses = {"on_failure": "pause"}
    instance_id, move = moved(flows, (fails("a", "b", **pauses), noop("b")), (fails("a", "c", **pauses), noop("c")))
    assert move.moved
    row = flows.instance(instance_id)
    assert (row.status, row.error["code"]) == ("paused", "PERMANENT")


REFUSED = [
    ((noop("a", "z"), noop("z")), "step wait is waiting, and the version has none of this id"),
    ((noop("a", "wait"), noop("wait")), "step wait is waiting, and is of type action there instead of delay"),
    ((noop("a", "wait"), delay("wait", hours=2)), "step wait is waiting, and is configured otherwise there"),
    ((noop("a", "b"), noop("b", "wait"), delay("wait")), "step wait is waiting, and would wait for b there"),
    ((noop("b", "a"), noop("a", "wait"), delay("wait")), "step a is completed, and would wait for b there"),
    ((delay("wait", "a"), noop("a")), "step a is completed, and would wait for wait there"),
]


@pytest.mark.parametrize(("new", "said"), REFUSED)
def test_a_run_that_the_new_version_could_not_have_led_to_stays(flows: Flows, new: Any, said: str) -> None:
    template_id = flows.template(*OLD)
    instance_id = flows.start(template_id)
    flows.work()
    flows.publish(template_id, 2, *new)
    before = flows.snapshot(instance_id)
    for dry_run in (True, False):
        [move] = migrate(flows.hand, Wanted(template_id, 2), dry_run=dry_run)
        assert (move.can, move.moved) == (False, False)
        assert said in move.reasons
    assert flows.snapshot(instance_id) == before


def test_a_way_out_that_the_new_version_does_not_have_keeps_a_run(flows: Flows) -> None:
    flows.broken = {"a"}
    old = (fails("a", "z", on_failure={"next": "wait"}), delay("wait"), noop("z"))
    _, move = moved(flows, old, (fails("a", "wait"), delay("wait")))
    assert "step a was left by failure, which it does not have there" in move.reasons


def test_runs_are_moved_that_were_asked_for(flows: Flows) -> None:
    template_id = flows.template(*OLD)
    first, second, ended = (flows.start(template_id) for _ in range(3))
    flows.work()
    switch.cancel(flows.hand, ended, reason=None)
    for version in (2, 3):
        flows.publish(template_id, version, *OLD)
    [move] = migrate(flows.hand, Wanted(template_id, 2, instance_id=second))
    assert (move.instance_id, move.moved) == (second, True)
    [move] = migrate(flows.hand, Wanted(template_id, 3, version=1))
    assert (move.instance_id, move.moved) == (first, True)
    moves = migrate(flows.hand, Wanted(template_id, 3))
    assert [(one.instance_id, one.moved, list(one.reasons)) for one in moves] == [
        (first, False, ["it has version 3 already"]),
        (second, True, []),
    ]
    for wanted in (Wanted(template_id, 9), Wanted(template_id, 3, instance_id=uuid7(flows.world.now()))):
        with pytest.raises(NotFoundError):
            migrate(flows.hand, wanted)
