"""People answer what runs ask them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from sqlalchemy.exc import DBAPIError

from core.errors import ConflictError
from engine.control_workflows import approve as asked
from engine.control_workflows import switch
from tests.integration.control_workflows.flows import approval, noop

if TYPE_CHECKING:
    from tests.integration.control_workflows.flows import Flows


def test_an_approved_step_goes_on_and_says_by_whom(flows: Flows) -> None:
    instance_id = flows.started(approval("ask", "after", timeout={"days": 1}), noop("after"))
    assert asked.approve(flows.hand, instance_id, "ask", note="fine").status == "running"
    flows.work()
    step = flows.step(instance_id, "ask")
    by = flows.org.context.user_id
    assert step.output_data == {"approved": True, "by": str(by), "note": "fine"}
    assert (step.decided_by, step.note, step.branch_taken) == (by, "fine", "next")
    assert flows.instance(instance_id).status == "completed"
    [told] = flows.entries(instance_id, "step_approved")
    assert (told.details, told.user_id) == ({"step": "ask", "note": "fine"}, by)
    flows.world.advance(days=2)
    assert flows.work() == 0


def test_a_rejected_step_takes_its_branch_or_fails(flows: Flows) -> None:
    one = flows.started(approval("ask", "yes", rejected_next="no"), noop("yes"), noop("no"))
    asked.approve(flows.hand, one, "ask", approved=False)
    flows.work()
    assert flows.statuses(one) == {"ask": "completed", "yes": "skipped", "no": "completed"}
    other = flows.started(approval("ask", "yes"), noop("yes"))
    asked.approve(flows.hand, other, "ask", approved=False, note="too dear")
    flows.work()
    row = flows.instance(other)
    assert (row.status, row.error["code"], row.error["message"]) == ("failed", "REJECTED", "step ask: too dear")
    assert len(flows.entries(other, "step_rejected")) == 1


def test_an_answer_to_a_paused_run_is_kept(flows: Flows) -> None:
    instance_id = flows.started(approval("ask", "after"), noop("after"))
    switch.pause(flows.hand, instance_id)
    assert "the answer is kept" in str(asked.approve(flows.hand, instance_id, "ask").said)
    flows.work()
    assert flows.step(instance_id, "ask").status == "queued"
    switch.resume(flows.hand, instance_id)
    flows.work()
    assert flows.instance(instance_id).status == "completed"


@pytest.mark.parametrize("worked", [False, True])
@pytest.mark.parametrize("approved", [True, False])
def test_a_second_answer_hears_who_gave_the_first(flows: Flows, *, worked: bool, approved: bool) -> None:
    instance_id = flows.started(approval("ask", "after"), approval("after"))
    asked.approve(flows.hand, instance_id, "ask", approved=approved)
    if worked:
        flows.work()
    before = flows.snapshot(instance_id)
    again = asked.approve(flows.hand, instance_id, "ask", approved=approved)
    word, by = "approved" if approved else "rejected", flows.org.context.user_id
    assert (again.already, again.said) == (True, f"{word} by {by}")
    with pytest.raises(ConflictError, match=f"the step ask was {word} by {by}"):
        asked.approve(flows.hand, instance_id, "ask", approved=not approved)
    assert flows.snapshot(instance_id) == before


@pytest.mark.parametrize(
    ("role", "least", "may"),
    [
        ("viewer", "editor", False),
        ("operator", "editor", False),
        ("editor", "editor", True),
        ("editor", "admin", False),
        ("admin", "admin", True),
        ("operator", "operator", True),
        ("viewer", "viewer", True),
    ],
)
def test_who_lacks_the_role_of_the_step_may_not_answer(flows: Flows, role: str, least: str, *, may: bool) -> None:
    instance_id = flows.started(approval("ask", role=least))
    flows.world.meddle("UPDATE cmis.user_orgs SET role = %(role)s", role=role)
    if may:
        asked.approve(flows.hand, instance_id, "ask")
        return
    with pytest.raises(DBAPIError, match=f"is no {least} of org"):
        asked.approve(flows.hand, instance_id, "ask")
    assert flows.step(instance_id, "ask").status == "waiting"


def test_what_is_not_asked_is_not_answered(flows: Flows) -> None:
    instance_id = flows.started(noop("a", "ask"), approval("ask", "later", timeout={"hours": 1}), approval("later"))
    with pytest.raises(ConflictError, match="the step a is of type action"):
        asked.approve(flows.hand, instance_id, "a")
    with pytest.raises(ConflictError, match=r"the step later is pending .*nobody is asked yet"):
        asked.approve(flows.hand, instance_id, "later")
    flows.world.advance(hours=2)
    flows.work()
    with pytest.raises(ConflictError, match="is failed and cannot be answered"):
        asked.approve(flows.hand, instance_id, "ask")


def test_an_approval_that_timed_out_is_not_answered_any_more(flows: Flows) -> None:
    steps = [approval("ask", "yes", timeout={"hours": 1}, timeout_next="late"), noop("yes"), approval("late")]
    instance_id = flows.started(*steps)
    flows.world.advance(hours=2)
    flows.work()
    with pytest.raises(ConflictError, match=r"the step ask is completed .*nobody is asked any more"):
        asked.approve(flows.hand, instance_id, "ask")
