"""What `advance` decides, over random graphs: nothing too early, nothing twice, nothing for ever."""

from __future__ import annotations

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.errors import ConflictError
from engine.workflows.advance import Completed, Decided, Ended, Failed, Looked, Outcome, Skipped, Switched, advance
from engine.workflows.definition import ALL_BRANCHES, Definition
from engine.workflows.reading import parse_definition
from engine.workflows.state import State
from models.transitions import STEP_ENDS
from models.workflow_enums import InstanceStatus, StepStatus, StepType
from tests.effort import some
from tests.unit.rules.strategies import PATIENT
from tests.unit.workflows.graphs import definitions
from tests.unit.workflows.walking import UNDER_WAY, Walk, labels, leads_past, mend, outcomes

SEEDS = st.randoms(use_true_random=False)
MANY = settings(PATIENT, max_examples=some(150))


def walked(definition: Definition, rng: random.Random, *, failing: int = 4) -> Walk:
    """Walk through a run until it is over: a few pauses, retries, and one failure in `failing` outcomes (0 = none)."""
    walk = Walk(definition)
    pauses, retries = rng.randrange(3), rng.randrange(4)
    while not walk.is_over:
        if walk.state.status is InstanceStatus.RUNNING and pauses and rng.randrange(5):
            pauses -= 1
            walk.tell(Switched(InstanceStatus.PAUSED))
            continue
        found = outcomes(walk)
        if walk.state.status is InstanceStatus.PAUSED and not (found and rng.randrange(2)):
            retries -= 1
            mend(walk, retry=retries > 0, label=rng.randrange(3))
            continue
        assert found, f"stuck: {walk.state}"
        if not failing or rng.randrange(failing):
            found = [one for one in found if not isinstance(one, Failed)]
        walk.tell(rng.choice(found))
    return walk


@MANY
@given(definitions(), SEEDS)
def test_a_run_comes_to_its_end_whatever_becomes_of_its_steps(definition: Definition, rng: random.Random) -> None:
    walk = walked(definition, rng)
    assert all(walk.state.of(step_id).status in STEP_ENDS for step_id in definition.steps)
    assert walk.state.status in {InstanceStatus.COMPLETED, InstanceStatus.FAILED}


@MANY
@given(definitions(on_failure=["continue", "branch", "pause"]), SEEDS)
def test_a_run_none_of_whose_failures_ends_it_completes_with_all_steps_resolved(
    definition: Definition, rng: random.Random
) -> None:
    walk = walked(definition, rng)
    assert walk.state.status is InstanceStatus.COMPLETED
    assert all(walk.state.of(step_id).resolved for step_id in definition.steps)


@MANY
@given(definitions(), SEEDS)
def test_no_step_is_given_out_twice_and_each_ends_once(definition: Definition, rng: random.Random) -> None:
    walk = walked(definition, rng, failing=0)
    assert set(walk.begun.values()) == {1}
    assert walk.ended == dict.fromkeys(definition.steps, 1)
    executed = {one for one in definition.steps if walk.state.of(one).status is StepStatus.COMPLETED}
    assert executed <= walk.begun.keys()


@MANY
@given(definitions(modes=["all"], on_failure=["continue"]), SEEDS, st.integers(0, 2**32))
def test_where_all_are_waited_for_the_order_of_outcomes_makes_no_difference(
    definition: Definition, rng: random.Random, seed: int
) -> None:
    chance = random.Random(seed)  # noqa: S311 - a test's
    left_by = {step_id: chance.choice(labels(definition, step_id)) for step_id in definition.steps}
    walk = Walk(definition)
    while not walk.is_over:
        step_id = rng.choice(walk.active())
        walk.tell(Completed(step_id, left_by[step_id]))
    expected: dict[str, StepStatus] = {}
    for step_id in definition.order:
        ways = [one for one in definition.sources[step_id] if expected[one] is StepStatus.COMPLETED]
        led = any(step_id in definition.steps[one].taken(left_by[one]) for one in ways)
        expected[step_id] = StepStatus.COMPLETED if led or step_id == definition.start else StepStatus.SKIPPED
    assert {step_id: walk.state.of(step_id).status for step_id in definition.steps} == expected


@MANY
@given(definitions(), SEEDS)
def test_an_end_from_outside_leaves_nothing_under_way_and_changes_nothing_that_was_over(
    definition: Definition, rng: random.Random
) -> None:
    walk = Walk(definition)
    for _ in range(rng.randrange(6)):
        found = [] if walk.is_over else outcomes(walk)
        if found:
            walk.tell(rng.choice(found))
    if walk.is_over:
        return
    before = {step_id: walk.state.of(step_id) for step_id in definition.steps}
    walk.tell(Ended(rng.choice([InstanceStatus.CANCELLED, InstanceStatus.FAILED])))
    for step_id, was in before.items():
        now = walk.state.of(step_id)
        assert now == was if was.status in STEP_ENDS else now.status is StepStatus.CANCELLED
    assert not walk.active()


@MANY
@given(definitions())
def test_who_loses_against_a_merge_is_just_who_leads_nowhere_else(definition: Definition) -> None:
    for merge in definition.steps.values():
        if merge.type is StepType.MERGE:
            alone = {one for one in definition.before(merge.id) if not leads_past(definition, one, merge.id)}
            assert definition.losers(merge.id) == alone


@MANY
@given(definitions(), SEEDS)
def test_what_is_over_takes_no_outcome_any_more(definition: Definition, rng: random.Random) -> None:
    walk = walked(definition, rng)
    step_id = rng.choice(list(definition.steps))
    ends: list[Outcome] = [Ended(InstanceStatus.CANCELLED), Switched(InstanceStatus.PAUSED)]
    for outcome in ends:
        with pytest.raises(ConflictError):
            advance(definition, walk.state, outcome)
    if walk.state.of(step_id).status is not StepStatus.FAILED:
        with pytest.raises(ConflictError):
            advance(definition, walk.state, Completed(step_id))
    assert advance(definition, walk.state, Looked()).status is None


def _definition(*steps: dict[str, object]) -> Definition:
    return parse_definition({"steps": list(steps)})


def _told(definition: Definition, *told: Outcome) -> tuple[State, Decided]:
    """Return the state after these outcomes, and what followed from the last."""
    state, decided = State.initial(definition), Decided()
    for outcome in told:
        decided = advance(definition, state, outcome)
        state.apply(decided.steps, decided.status)
    return state, decided


def test_a_merge_that_has_fired_stops_only_those_who_lead_nowhere_else() -> None:
    noop = {"type": "action", "config": {"callable": "cmis.noop"}}
    definition = _definition(
        {"id": "all", "type": "split", "config": {"mode": "parallel", "branches": ["quick", "late", "elsewhere"]}},
        {"id": "quick", **noop, "next": "first"},
        {"id": "late", **noop, "next": "first"},
        {"id": "elsewhere", "type": "split", "config": {"mode": "parallel", "branches": ["first", "side"]}},
        {"id": "side", **noop},
        {"id": "first", "type": "merge", "config": {"mode": "any"}},
    )
    state, decided = _told(
        definition, Switched(InstanceStatus.RUNNING), Completed("all", ALL_BRANCHES), Completed("quick")
    )
    assert decided.ready == ["first"]
    assert state.of("late").status is StepStatus.CANCELLED
    assert state.of("elsewhere").status in UNDER_WAY


def test_a_paused_run_completes_once_it_goes_on() -> None:
    definition = _definition({"id": "only", "type": "action", "config": {"callable": "cmis.noop"}})
    runs, waits = Switched(InstanceStatus.RUNNING), Switched(InstanceStatus.PAUSED)
    state, _ = _told(definition, runs, waits, Completed("only"), runs)
    assert state.status is InstanceStatus.RUNNING
    assert advance(definition, state, Looked()).status is InstanceStatus.COMPLETED


def test_a_step_that_a_person_lets_be_skipped_leads_on_as_if_it_were_done() -> None:
    noop = {"type": "action", "config": {"callable": "cmis.noop"}}
    definition = _definition({"id": "one", **noop, "next": "two", "on_failure": "pause"}, {"id": "two", **noop})
    state, _ = _told(definition, Switched(InstanceStatus.RUNNING), Failed("one"))
    assert state.status is InstanceStatus.PAUSED
    assert advance(definition, state, Skipped("one")).ready == ["two"]
