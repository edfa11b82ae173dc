"""What two documents differ by, each value at its path."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.rules.difference import differences

JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-3, 3) | st.text("ab", max_size=2),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from("xyz"), inner, max_size=3),
    max_leaves=8,
)
OBJECTS = st.dictionaries(st.sampled_from("abc"), JSON, max_size=3)


@pytest.mark.parametrize(
    ("before", "after", "found"),
    [
        ({"a": 1}, {"a": 1.0}, []),
        ({"a": 1}, {"a": True}, [("a", 1, True)]),
        ({"a": 0, "b": 1}, {"b": 2, "c": None}, [("a", 0, None), ("b", 1, 2), ("c", None, None)]),
        ({"a": {"b": {"c": 1}}}, {"a": {"b": {"c": 2}}}, [("a.b.c", 1, 2)]),
        ({"a": [1, {"b": 2}]}, {"a": [1, {"b": 3}]}, [("a[1].b", 2, 3)]),
        ({"a": [1]}, {"a": [1, 2]}, [("a", [1], [1, 2])]),
        ({"a": [1]}, {"a": {"b": 1}}, [("a", [1], {"b": 1})]),
    ],
)
def test_differences_stand_at_their_paths(
    before: dict[str, Any], after: dict[str, Any], found: list[tuple[str, Any, Any]]
) -> None:
    assert [(one.path, one.before, one.after) for one in differences(before, after)] == found


@given(OBJECTS, OBJECTS)
def test_there_are_none_exactly_where_the_documents_are_the_same(before: dict[str, Any], after: dict[str, Any]) -> None:
    assert (not differences(before, after)) == (repr(_sorted(before)) == repr(_sorted(after)))


def _sorted(value: Any) -> Any:
    """Order keys, so that equal documents print alike; true and 1 do not."""
    if isinstance(value, dict):
        return {key: _sorted(value[key]) for key in sorted(value)}
    return [_sorted(item) for item in value] if isinstance(value, list) else value
