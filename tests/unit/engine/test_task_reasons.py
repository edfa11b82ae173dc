"""Why a task is not done yet: whatever is known of it, there is an answer, and the answer is the right one."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.task_reasons import Facts, Fleet, reasons
from models.enums import TaskKind, TaskState

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
LATER, EARLIER = NOW + timedelta(minutes=5), NOW - timedelta(minutes=5)
ID = UUID("01980000-0000-7000-8000-000000000000")
LOST = {"code": "LOST", "message": "the lease of w1 expired"}
STEP = {"instance_id": str(ID), "step_id": "ask", "status": "waiting", "waits_for": "approval", "event_type": None}


def facts(
    fleet: Fleet | None = None,
    *,
    messages: int | None = None,
    in_flight: int = 0,
    org_cap: int | None = None,
    shared: bool = False,
    ahead: int = 0,
    **columns: Any,
) -> Facts:
    task = {
        "task_id": ID,
        "kind": "evaluate_rules",
        "queue": "rules",
        "state": "ready",
        "now": NOW,
        "run_at": EARLIER,
        "publish_at": EARLIER,
        "delivery": 0,
        "attempt": 0,
        "max_attempts": 5,
        "cancel_requested": False,
        "lease_owner": None,
        "lease_left": None,
        "lease_expires_at": None,
        "error": None,
        "result": None,
        "handled_at": None,
        "handled_as": None,
        "handled_note": None,
        "retried_as": None,
        "before": None,
        "instances": None,
        "steps": None,
        "effect": None,
    }
    return Facts(SimpleNamespace(**(task | columns)), 2_000, in_flight, org_cap, messages, fleet, shared, ahead)


RUNNING: dict[str, Any] = {"state": "running", "attempt": 2, "lease_owner": "w1", "lease_expires_at": LATER}
PAUSED = [{"instance_id": str(ID), "status": "paused", "note": "until Monday"}]
CASES: list[tuple[Facts, list[str], str]] = [
    (facts(), ["unpublished"], "a scheduler's next pass"),
    (facts(messages=2_000), ["queue_full"], "2000 messages wait there, and 2000 are the most"),
    (facts(publish_at=LATER), ["first_message"], "Otherwise a scheduler sends one"),
    (
        facts(publish_at=LATER, delivery=3, messages=7),
        ["published"],
        "sent 3 times, last to the queue rules; 7 messages",
    ),
    (facts(publish_at=LATER, delivery=1), ["published"], "was sent once, last to the queue rules."),
    (facts(in_flight=7, org_cap=8), ["unpublished"], "scheduler"),
    (facts(in_flight=8, org_cap=8), ["org_capped"], "its org has 8 tasks of the queue rules sent or running already"),
    (facts(in_flight=8), ["unpublished"], "scheduler"),
    (facts(ahead=1), ["turn"], "about 1 of its org's tasks stands before it in the queue rules"),
    (facts(ahead=999), ["turn"], "about 999 of its org's tasks stand before it in the queue rules; orgs take turns"),
    (facts(ahead=1_000), ["turn"], "at least 1,000 of its org's tasks stand before it"),
    (facts(Fleet(0, 1), ahead=2), ["turn", "no_scheduler"], "about 2"),
    (facts(messages=2_000, ahead=9), ["queue_full", "turn"], "2000 messages wait there"),
    (facts(in_flight=8, org_cap=8, ahead=9), ["org_capped", "turn"], "its org has 8 tasks"),
    (facts(publish_at=LATER, delivery=1, ahead=9), ["published"], "was sent once"),
    (facts(run_at=LATER, ahead=9), ["not_due"], "planned for later"),
    (facts(Fleet(0, 0)), ["unpublished", "no_scheduler", "no_worker"], "scheduler"),
    (facts(Fleet(1, 1)), ["unpublished"], "scheduler"),
    (facts(shared=True), ["unpublished", "shared"], "scheduler"),
    (facts(cancel_requested=True), ["cancel_requested", "unpublished"], "no worker begins it"),
    (facts(attempt=5), ["used_up"], "All of its 5 attempts"),
    (facts(run_at=LATER), ["not_due"], "planned for later"),
    (facts(run_at=LATER, attempt=2, error=LOST), ["retry"], "Attempt 2 of 5 failed (LOST: the lease of w1 expired)"),
    (facts(run_at=LATER, attempt=2, error=LOST, shared=True), ["retry"], "Attempt 2 of 5 failed (LOST);"),
    (facts(run_at=LATER, kind="apply_actions"), ["delay"], "delay between its rule's actions"),
    (
        facts(run_at=LATER, kind="deliver", effect={"status": "queued", "waits_for": "the connector crm is paused"}),
        ["waits_for"],
        "The connector crm is paused. It asks again then.",
    ),
    (facts(run_at=LATER, kind="run_workflow", steps=[STEP]), ["step_waits"], "Step ask of run"),
    (facts(state="held", before={"task_id": str(ID), "state": "ready"}), ["held_before"], f"{ID}, which is ready"),
    (facts(state="held", kind="run_workflow", instances=PAUSED), ["instance_paused"], "is paused (until Monday)"),
    (facts(state="held", kind="run_workflow"), ["held"], "another task"),
    (facts(**RUNNING, lease_left=12.0), ["running"], "The worker w1 is at it: attempt 2 of 5"),
    (facts(**RUNNING, lease_left=12.0, cancel_requested=True), ["running", "cancel_requested"], "w1"),
    (facts(**RUNNING, lease_left=-9.0), ["lease_expired"], "not been heard of for 9 s"),
    (facts(Fleet(0, 1), **RUNNING, lease_left=-9.0), ["lease_expired", "no_scheduler"], "w1"),
    (facts(state="succeeded"), ["succeeded"], "It is done."),
    (
        facts(state="cancelled", error={"code": "DISCARDED", "message": "no"}),
        ["cancelled"],
        "cancelled: DISCARDED: no.",
    ),
    (facts(state="cancelled", result={"split": 2}), ["split"], "taken apart"),
    (facts(state="dead", attempt=5, error=LOST), ["dead", "dead_letter"], "used up its 5 attempts"),
    (facts(state="failed", attempt=1), ["failed", "dead_letter"], "failed for good at attempt 1."),
    (
        facts(state="failed", attempt=1, handled_at=NOW, handled_as="retried", handled_note="ok", retried_as=ID),
        ["failed", "handled"],
        "failed for good",
    ),
]


@pytest.mark.parametrize(
    ("known", "codes", "said"), CASES, ids=lambda case: "-".join(case) if type(case) is list else ""
)
def test_the_reasons_are_these(known: Facts, codes: list[str], said: str) -> None:
    found = reasons(known)
    assert [reason.code for reason in found] == codes
    assert said in found[0].message


def test_steps_are_told_by_what_they_wait_for() -> None:
    waits = {
        "approval": "cmis workflows approve",
        "event": "the event lead.won",
        "effect": "cmis actions list",
        "instance": "another run",
        "delay": "its delay",
    }
    steps = [STEP | {"waits_for": one, "event_type": "lead.won"} for one in waits]
    [reason] = reasons(facts(run_at=LATER, kind="run_workflow", steps=[*steps, STEP | {"status": "retrying"}]))
    assert all(said in reason.message for said in waits.values())
    assert "and 1 more" in reason.message
    assert reason.until == LATER


def test_what_was_dealt_with_says_how_and_what_does_it_again() -> None:
    handled: dict[str, Any] = {"handled_at": NOW, "handled_as": "retried", "handled_note": "mended", "retried_as": ID}
    [_, reason] = reasons(facts(state="dead", attempt=5, **handled))
    assert reason.message == f"It was retried at 2026-03-01 12:00:00 UTC, as the task {ID}: mended."


TIMES = st.sampled_from([EARLIER, NOW, LATER])
ERRORS = st.sampled_from([None, {}, LOST, {"message": "x"}])


@given(
    kind=st.sampled_from([kind.value for kind in TaskKind]),
    state=st.sampled_from([state.value for state in TaskState]),
    run_at=TIMES,
    publish_at=TIMES,
    delivery=st.integers(0, 9),
    attempt=st.integers(0, 5),
    cancel_requested=st.booleans(),
    lease_left=st.floats(-1e6, 1e6),
    error=ERRORS,
    result=st.sampled_from([None, {}, {"split": 3}]),
    handled_at=st.sampled_from([None, NOW]),
    steps=st.sampled_from([None, [], [STEP], [STEP | {"status": "queued"}]]),
    instances=st.sampled_from([None, PAUSED]),
    effect=st.sampled_from([None, {"status": "queued", "waits_for": None}]),
    in_flight=st.integers(0, 9),
    org_cap=st.sampled_from([None, 8]),
    fleet=st.sampled_from([None, Fleet(0, 0), Fleet(1, 2)]),
    messages=st.sampled_from([None, 0, 5_000]),
    ahead=st.sampled_from([0, 1, 1_000]),
)
def test_every_task_has_a_reason_that_is_a_sentence(
    fleet: Fleet | None, messages: int | None, ahead: int, **columns: Any
) -> None:
    found = reasons(facts(fleet, messages=messages, ahead=ahead, **columns))
    assert found
    assert all(reason.message[0].isupper() and reason.message[-1] == "." for reason in found if not _command(reason))
    assert len({reason.code for reason in found}) == len(found)


def _command(reason: Any) -> bool:
    """Say whether a sentence ends in a remedy, which is told after a colon."""
    return ": " in reason.message
