"""Weighted splits: stable, as the weights say, and only ever growing into the branch that is given more."""

from __future__ import annotations

from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.workflows.weights import chosen, point_of

some_weights = (
    st.lists(st.floats(0, 1e6), min_size=2, max_size=8)
    .filter(any)
    .map(lambda weights: {f"branch:{index}": weight for index, weight in enumerate(weights)})
)


@pytest.mark.parametrize(
    ("instance", "step", "point"),
    [
        ("01890a5d-ac96-774b-bcce-b302099a8057", "ab", 0.3781972506289988),
        ("01890a5d-ac96-774b-bcce-b302099a8057", "b", 0.7981278423774127),
        ("00000000-0000-0000-0000-000000000000", "ab", 0.37224946531880454),
    ],
)
def test_a_point_is_the_same_on_every_machine_for_ever(instance: str, step: str, point: float) -> None:
    assert point_of(UUID(instance), step) == point


@given(some_weights, st.uuids(), st.text(min_size=1))
def test_a_branch_is_one_of_those_with_a_weight_and_always_the_same(
    weights: dict[str, float], instance: UUID, step: str
) -> None:
    branch = chosen(weights, instance, step)
    assert weights[branch] > 0
    assert chosen(dict(weights), UUID(str(instance)), step) == branch


@given(some_weights, st.uuids(), st.floats(0, 1e6))
def test_more_weight_for_the_first_branch_moves_instances_into_it_and_none_out(
    weights: dict[str, float], instance: UUID, more: float
) -> None:
    raised = weights | {"branch:0": weights["branch:0"] + more}
    if chosen(weights, instance, "ab") == "branch:0":
        assert chosen(raised, instance, "ab") == "branch:0"


@given(some_weights, st.uuids(), st.uuids())
def test_branches_follow_their_order_as_points_grow(weights: dict[str, float], one: UUID, other: UUID) -> None:
    low, high = sorted((one, other), key=lambda instance: point_of(instance, "ab"))
    order = list(weights)
    assert order.index(chosen(weights, low, "ab")) <= order.index(chosen(weights, high, "ab"))


@pytest.mark.parametrize("step", ["ab", "subject-line"])
def test_twenty_thousand_instances_are_spread_as_the_weights_say(step: str) -> None:
    weights = {"branch:0": 10.0, "branch:1": 25.0, "branch:2": 0.0, "branch:3": 65.0}
    instances = 20_000
    counts = dict.fromkeys(weights, 0)
    # Ids as they are made: one after another, the time in front.
    for index in range(instances):
        counts[chosen(weights, UUID(int=0x01890A5DAC96774BBCCEB30200000000 + index), step)] += 1
    assert counts.pop("branch:2") == 0
    expected = {label: instances * weights[label] / 100 for label in counts}
    chi_square = sum((counts[label] - expected[label]) ** 2 / expected[label] for label in counts)
    assert chi_square < 13.8  # 2 degrees of freedom: above it in one of a thousand


def test_splits_of_different_steps_are_independent() -> None:
    halves = {"branch:0": 1.0, "branch:1": 1.0}
    same = sum(chosen(halves, UUID(int=index), "a") == chosen(halves, UUID(int=index), "b") for index in range(10_000))
    assert 4_800 < same < 5_200
