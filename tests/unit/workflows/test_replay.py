"""A run that is gone through again comes to where it was; a version like its own can take it over, wherever it is."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

from hypothesis import given
from hypothesis import strategies as st

from engine.workflows.migrating import plan
from engine.workflows.progress import progress
from engine.workflows.replay import replay
from models.transitions import STEP_ACTIVE
from models.workflow_enums import InstanceStatus, StepStatus
from tests.unit.workflows.graphs import definitions
from tests.unit.workflows.walking import Walk, outcomes

if TYPE_CHECKING:
    from engine.workflows.definition import Definition

SEEDS = st.integers(0, 2**32).map(random.Random)
GRAPHS = definitions(on_failure=["continue", "branch", "pause"])


def walked(definition: Definition, rng: random.Random, length: int) -> tuple[Walk, list[str]]:
    """Walk so far as chance will have it; returns the run, and its steps in the order in which they ended."""
    walk, order = Walk(definition), []
    for _ in range(length):
        possible = outcomes(walk)
        if walk.is_over or not possible:
            break
        before = {one for one in definition.steps if walk.state.of(one).resolved}
        walk.tell(rng.choice(possible))
        order += [one for one in definition.steps if walk.state.of(one).resolved and one not in before]
    return walk, order


@given(GRAPHS, SEEDS, st.integers(0, 20))
def test_a_replay_comes_to_where_the_run_was(definition: Definition, rng: random.Random, length: int) -> None:
    walk, order = walked(definition, rng, length)
    state, _ = replay(definition, {one: walk.state.of(one) for one in order})
    for step_id in definition.steps:
        now, then = walk.state.of(step_id), state.of(step_id)
        if now.status in STEP_ACTIVE or (now.status is StepStatus.FAILED and not now.resolved):
            assert then.status is StepStatus.QUEUED
        else:
            assert then == now


@given(definitions(on_failure=["continue", "branch"], modes=["all"]), SEEDS, st.integers(0, 20), SEEDS)
def test_a_replay_does_not_mind_the_order_of_what_ended_together(
    definition: Definition, rng: random.Random, length: int, other: random.Random
) -> None:
    walk, order = walked(definition, rng, length)
    ended = {one: walk.state.of(one) for one in order}
    shuffled = {one: ended[one] for one in other.sample(order, len(order))}
    assert replay(definition, ended)[0].steps == replay(definition, shuffled)[0].steps


@given(GRAPHS, SEEDS, st.integers(0, 20))
def test_a_run_can_always_move_to_a_version_like_its_own(
    definition: Definition, rng: random.Random, length: int
) -> None:
    walk, order = walked(definition, rng, length)
    planned = plan(definition, definition, walk.state, order)
    assert (planned.reasons, planned.left_out, planned.decided.steps, planned.decided.ready) == ([], [], {}, [])


@given(st.sampled_from(InstanceStatus), st.integers(1, 2_000), st.data())
def test_only_what_is_completed_has_come_all_the_way(status: InstanceStatus, total: int, data: st.DataObject) -> None:
    completed = data.draw(st.integers(0, total))
    skipped = data.draw(st.integers(0, total - completed))
    shown = progress(status, total=total, completed=completed, skipped=skipped)
    assert (shown == 100) == (status is InstanceStatus.COMPLETED)
    assert 0 <= shown <= 100
    if status is not InstanceStatus.COMPLETED:
        assert shown == min(99, 100 * (completed + skipped) // total)
