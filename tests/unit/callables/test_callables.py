"""The contract of callables, and those that run in the worker itself."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.errors import OutOfTimeError, PermanentError, TransientError
from engine.callables.base import Call, Registered, step
from engine.callables.outcome import Died, Raised, Returned, TimedOut, run_here
from engine.callables.output import DEEPEST, LARGEST, Unusable, checked
from engine.callables.registry import CALLABLES
from engine.callables.said import Said

CALL = Call(org_id="org", instance_id="instance", step_id="step", params={"a": 1})
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters(), max_size=5),
    lambda children: st.lists(children, max_size=3) | st.dictionaries(st.text(max_size=3), children, max_size=3),
)


def internal(function: Any) -> Registered:
    return Registered("test.internal", function, internal=True)


@step("acme.score-2_b", internal=True)
def score(call: Call) -> dict[str, Any]:
    """Score it."""
    return {"attempt": call.attempt}


def test_the_mark_makes_a_function_a_callable_that_tests_can_call() -> None:
    assert (score.name, score.internal, score.doc) == ("acme.score-2_b", True, "Score it.")
    assert score(CALL) == {"attempt": 1}


@pytest.mark.parametrize("name", ["", "Score", "9lives", "a b", "a" * 101, "ä"])
def test_a_name_must_be_plain(name: str) -> None:
    with pytest.raises(ValueError, match="a callable's name has small letters"):
        step(name)(lambda _: {})


async def asynchronous(_call: Call) -> None:
    """Be no plain function."""


def test_what_no_other_process_would_find_or_could_call_is_refused() -> None:
    with pytest.raises(ValueError, match="must stand at the top of its module"):
        step("acme.score")(lambda _: {})
    with pytest.raises(ValueError, match="is no plain function"):
        step("acme.score")(print)
    with pytest.raises(ValueError, match="of async ones"):
        step("acme.score")(asynchronous)  # type: ignore[arg-type]


def test_the_key_of_a_step_is_the_same_in_every_attempt() -> None:
    keys = {Call(org_id="o", instance_id="i", step_id="s", attempt=attempt).idempotency_key for attempt in (1, 2, 9)}
    assert keys == {"i:s"}


def test_a_call_travels_as_json() -> None:
    assert Call(**json.loads(json.dumps(CALL.document()))) == CALL


def test_noop_returns_its_params_and_fail_fails_for_good_with_its_message() -> None:
    assert run_here(CALLABLES["cmis.noop"], CALL) == Returned({"a": 1})
    call = Call(org_id="o", instance_id="i", step_id="s", params={"message": "no offer for this country"})
    failed = run_here(CALLABLES["cmis.fail"], call)
    assert isinstance(failed, Raised)
    assert (failed.code, failed.kind, failed.message) == ("PERMANENT", "permanent", "no offer for this country")


@pytest.mark.parametrize(
    ("error", "code", "kind"),
    [
        (PermanentError("x"), "PERMANENT", "permanent"),
        (TransientError("x"), "TRANSIENT", "transient"),
        (TimeoutError("x"), "TRANSIENT", "transient"),
        (ZeroDivisionError("x"), "INTERNAL_ERROR", "bug"),
    ],
)
def test_what_an_internal_callable_raises_is_told_by_who_must_act(error: Exception, code: str, kind: str) -> None:
    def function(_call: Call) -> None:
        raise error

    raised = run_here(internal(function), CALL)
    assert isinstance(raised, Raised)
    assert (raised.code, raised.kind, raised.name, raised.message) == (code, kind, type(error).__name__, "x")


@pytest.mark.parametrize("error", [OutOfTimeError("the task's time is up"), KeyboardInterrupt(), SystemExit(1)])
def test_what_ends_the_whole_task_is_not_taken_for_the_callables(error: BaseException) -> None:
    def function(_call: Call) -> None:
        raise error

    with pytest.raises(type(error)):
        run_here(internal(function), CALL)


def test_every_failure_has_what_a_retry_is_decided_by() -> None:
    told = [(one.code, one.kind, one.names) for one in (TimedOut(1.5), Died(exit=3))]
    assert told == [("TIMEOUT", "transient", ("TimeoutError",)), ("DIED", "transient", ("DiedError",))]
    assert TimedOut(1.5).message == "took longer than 1.5 s and was killed"
    assert Died(signal=64 + 1).message == "its process was killed by signal 65 before it returned"


@given(st.dictionaries(st.text(max_size=3), JSON, max_size=3))
def test_an_output_is_kept_as_it_is_or_refused_with_the_path(output: dict[str, Any]) -> None:
    found = checked(output)
    if isinstance(found, Unusable):
        assert found.code == "OUTPUT_INVALID"
        assert "output" in found.reason
    else:
        assert found == output
        json.dumps(found, allow_nan=False).encode()


def test_outputs_are_bounded_in_size_and_depth() -> None:
    def nested(levels: int) -> dict[str, Any]:
        return {"in": nested(levels - 1)} if levels else {}

    assert checked({"x": "y" * (LARGEST - 8)}) == {"x": "y" * (LARGEST - 8)}
    assert checked({"x": "y" * (LARGEST - 7)}) == Unusable(
        "OUTPUT_TOO_LARGE", "returned 262145 bytes of JSON (return at most 262144; keep the rest elsewhere)"
    )
    assert checked(nested(DEEPEST)) == nested(DEEPEST)
    assert isinstance(checked(nested(DEEPEST + 1)), Unusable)
    assert isinstance(checked(nested(900)), Unusable)


@given(st.lists(st.binary(max_size=12_000), max_size=8))
def test_of_what_is_said_the_beginning_and_the_end_are_kept(chunks: list[bytes]) -> None:
    said, whole = Said(), b"".join(chunks)
    for chunk in chunks:
        said.add(chunk)
    assert len(said.head) + said.left_out + len(said.tail) == len(whole)
    assert whole.startswith(bytes(said.head))
    assert whole.endswith(bytes(said.tail))
    assert (said.left_out == 0) == (len(whole) <= 16 * 1024)
