"""Correlation: an event's payload and a waiting step come to the same text exactly where the value is equal."""

from __future__ import annotations

from decimal import Decimal
from typing import Any, Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.errors import PermanentError
from engine.rules.payload import value_at
from engine.workflows.correlation import LONGEST_VALUE, MOST_KEYS, key, keys

SCALARS: Final = st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text()
PAYLOADS: Final = st.dictionaries(
    st.text(alphabet="ab_-", min_size=1, max_size=3),
    st.recursive(
        st.none() | SCALARS,
        lambda some: st.lists(some, max_size=3) | st.dictionaries(st.text(alphabet="ab", min_size=1), some, max_size=3),
        max_leaves=12,
    ),
    max_size=4,
)


def places(value: object, path: tuple[str, ...] = ()) -> list[str]:
    """Every path at which a scalar stands."""
    if isinstance(value, dict):
        return [place for name, item in value.items() for place in places(item, (*path, name))]
    if isinstance(value, list):
        return [place for index, item in enumerate(value) for place in places(item, (*path, str(index)))]
    return [] if value is None else [".".join(path)]


@given(PAYLOADS)
def test_a_payload_has_the_key_of_each_of_its_scalars_and_no_other(payload: dict[str, Any]) -> None:
    assert sorted(keys(payload)) == sorted(key(place, value_at(payload, place)) for place in places(payload))


@given(SCALARS, SCALARS)
def test_keys_are_equal_exactly_where_values_are(one: Any, other: Any) -> None:
    alike = isinstance(one, str) is isinstance(other, str) and isinstance(one, bool) is isinstance(other, bool)
    exact = Decimal(repr(one)) == Decimal(repr(other)) if alike and not isinstance(one, str | bool) else one == other
    assert (key("id", one) == key("id", other)) is (alike and exact)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (42, "id=42"),
        (42.0, "id=42"),
        (Decimal("42.00"), "id=42"),
        (-0.0, "id=0"),
        (100, "id=100"),
        (1e21, "id=1000000000000000000000"),
        (0.1, "id=0.1"),
        (-2.50, "id=-2.5"),
        ("42", 'id="42"'),
        ("", 'id=""'),
        ('ü"', 'id="ü\\""'),
        (True, "id=true"),
        ("true", 'id="true"'),
    ],
)
def test_a_value_has_one_spelling(value: object, text: str) -> None:
    assert key("id", value) == text


@pytest.mark.parametrize("value", [None, {}, [], [1], {"a": 1}, float("nan"), float("inf")])
def test_what_no_scalar_equals_cannot_be_waited_for(value: object) -> None:
    with pytest.raises(PermanentError, match=r"lead\.id"):
        key("lead.id", value)


def test_a_long_value_is_told_by_its_hash_so_that_an_index_can_hold_it() -> None:
    long = "x" * 10_000
    assert key("id", long) == keys({"id": long})[0] != key("id", long + "x")
    assert len(key("id", long)) < LONGEST_VALUE
    assert key("id", key("id", long).removeprefix("id=")) != key("id", long)


def test_the_outer_levels_come_first_and_a_thousand_at_most() -> None:
    payload = {"deep": {"deeper": {"n": 1}, "m": 2}, "items": [{"sku": number} for number in range(5_000)], "last": 3}
    found = keys(payload)
    assert len(found) == MOST_KEYS
    assert found[:3] == ["last=3", "deep.m=2", "deep.deeper.n=1"]
    assert found[3] == "items.0.sku=0"


def test_what_no_path_can_name_is_left_out() -> None:
    assert keys({"a.b": 1, "c d": 2, "": 3, "ok": {"x y": 4, "z": 5}, "long" * 100: 6, "none": None}) == ["ok.z=5"]
