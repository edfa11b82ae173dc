from __future__ import annotations

import json
from collections import Counter
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.errors import PermanentError
from core.written import to_json
from engine.chunk import (
    MAX_ITEMS,
    MAX_ORGS,
    MAX_PAIRS,
    Due,
    Group,
    Item,
    Optimization,
    groups,
    halves,
    pack,
    payload,
    singles,
)

NOW = datetime(2026, 3, 1, 9, 30, tzinfo=UTC)
sizes = st.sampled_from([0, 1, 7, 150, 200, 201, 9_999, 20_000, 20_001, 500_000])
due_lists = st.lists(st.tuples(st.integers(0, 14), sizes), max_size=450)


def _due(specs: list[tuple[int, int]]) -> list[Due]:
    return [
        Due(UUID(int=org + 1), Item(UUID(int=n % 90), UUID(int=n), "schedule"), entities, 300, NOW)
        for n, (org, entities) in enumerate(specs)
    ]


@given(due_lists)
def test_every_item_is_in_exactly_one_chunk_under_its_own_org(specs: list[tuple[int, int]]) -> None:
    due = _due(specs)
    packed = [(group.org_id, item) for chunk in pack(due) for group in chunk for item in group.items]
    assert Counter(packed) == Counter((one.org_id, one.item) for one in due)


@given(due_lists)
def test_every_chunk_keeps_its_bounds_and_only_a_single_evaluation_may_be_larger(specs: list[tuple[int, int]]) -> None:
    due = _due(specs)
    entities = {one.item: one.entities for one in due}
    for chunk in pack(due):
        items = [item for group in chunk for item in group.items]
        assert 1 <= len(items) <= MAX_ITEMS
        assert len(items) == 1 or sum(entities[item] for item in items) <= MAX_PAIRS
        orgs = [group.org_id for group in chunk]
        assert len(orgs) == len(set(orgs)) <= MAX_ORGS
        assert orgs == sorted(orgs)


@given(due_lists)
def test_of_each_org_at_most_one_chunk_is_shared(specs: list[tuple[int, int]]) -> None:
    shared = [group.org_id for chunk in pack(_due(specs)) if len(chunk) > 1 for group in chunk]
    assert len(shared) == len(set(shared))


@given(st.lists(st.integers(1, 9), min_size=1, max_size=6).filter(lambda sizes: sum(sizes) > 1))
def test_a_chunk_is_cut_in_halves_or_singles_that_are_the_whole_in_its_order(sizes: list[int]) -> None:
    ids = iter(range(100))
    whole = [
        Group(UUID(int=org), tuple(Item(UUID(int=1), UUID(int=next(ids)), "manual") for _ in range(size)))
        for org, size in enumerate(sizes)
    ]
    flat = [(group.org_id, item) for group in whole for item in group.items]
    first, second = halves(whole)
    assert [(group.org_id, item) for part in (first, second) for group in part for item in group.items] == flat
    assert 0 <= sum(group.size for group in first) - sum(group.size for group in second) <= 1
    for part in (first, second):
        assert len({group.org_id for group in part}) == len(part)
    assert [(group.org_id, item) for part in singles(whole) for group in part for item in group.items] == flat
    assert all(len(part) == part[0].size == 1 for part in singles(whole))


@pytest.mark.parametrize(
    "garbage",
    [
        {},
        {"groups": None},
        {"groups": 7},
        {"groups": []},
        {"groups": ["x"]},
        {"groups": [{"org_id": "x", "items": []}]},
        {"groups": [{"org_id": str(UUID(int=1)), "items": []}]},
        {"groups": [{"org_id": str(UUID(int=1)), "items": [{}]}]},
        {"groups": [{"org_id": str(UUID(int=1)), "items": [{"optimize": 1, "execution_id": 2}]}]},
        {"groups": [{"org_id": str(UUID(int=1)), "items": {"rule_id": 1}}]},
    ],
)
def test_what_is_no_payload_is_refused(garbage: dict[str, object]) -> None:
    with pytest.raises(PermanentError, match="the task's payload"):
        groups(garbage)


def test_nothing_due_is_no_chunk() -> None:
    assert list(pack([])) == []


def _stored(document: dict[str, Any]) -> Any:
    return json.loads(to_json(document))


def test_a_payload_is_read_back_as_it_was_with_its_orgs_in_lock_order() -> None:
    by_hand = Item(UUID(int=5), UUID(int=6), "manual")
    planned = Item(UUID(int=7), UUID(int=8), "schedule", UUID(int=9), "schedule", NOW)
    alone = Item(UUID(int=5), UUID(int=6), "manual", campaign_id=UUID(int=3), context={"season": "spring"})
    made = (Group(UUID(int=2), (planned, by_hand, alone)), Group(UUID(int=1), (by_hand,)))
    assert groups(_stored(payload(made))) == (made[1], made[0])


@pytest.mark.parametrize("campaign_id", [None, UUID(int=3)])
def test_an_optimisation_is_read_back_as_it_was_and_is_alone(campaign_id: UUID | None) -> None:
    planned = (UUID(int=8), "schedule", UUID(int=9), "schedule", NOW, UUID(int=4), {"season": "spring"})
    made = Group(UUID(int=2), (), Optimization(*planned, campaign_id=campaign_id))
    assert groups(_stored(payload([made]))) == (made,)
    assert made.size == 1
