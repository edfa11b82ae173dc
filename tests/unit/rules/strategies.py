"""Generated condition trees as JSON documents, and facts that often are near the boundaries they compare with."""

from __future__ import annotations

from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

# Machines that run the suite are busy: the time of an example says nothing about the code.
PATIENT = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])

NUMBERS = st.one_of(st.integers(-3, 3), st.sampled_from([0.1, 0.2, 0.3, 1.1, -0.5, 49.99, 50, 50.01]))
STRINGS = st.sampled_from(["", "a", "A", "ab", "abc", "bc", "active", "1"])
FIELDS = st.sampled_from(["x", "y", "order.total"])
WINDOWS = st.sampled_from(["today", "last_7d"])
VALUES = st.one_of(st.none(), NUMBERS, STRINGS, st.booleans(), st.lists(st.one_of(NUMBERS, STRINGS), max_size=3))

SUBJECTS: st.SearchStrategy[dict[str, Any]] = st.fixed_dictionaries({"field": FIELDS}, optional={"window": WINDOWS})
OTHERS = st.fixed_dictionaries({"field": FIELDS}, optional={"window": WINDOWS, "times": NUMBERS})
LITERAL = st.one_of(NUMBERS, STRINGS)
RANGES = st.lists(NUMBERS, min_size=2, max_size=2).map(sorted)

OPERATIONS: st.SearchStrategy[dict[str, Any]] = st.one_of(
    st.fixed_dictionaries({"operator": st.sampled_from([">", ">=", "<", "<="]), "value": NUMBERS | OTHERS}),
    st.fixed_dictionaries({"operator": st.sampled_from(["=", "!="]), "value": LITERAL | st.booleans() | OTHERS}),
    st.fixed_dictionaries(
        {
            "operator": st.just("between"),
            "value": RANGES | RANGES.map(lambda ends: {"min": ends[0], "max": ends[1]}),
        }
    ),
    st.fixed_dictionaries(
        {
            "operator": st.sampled_from(["in", "not_in"]),
            "value": st.lists(NUMBERS, min_size=1, max_size=3) | st.lists(STRINGS, min_size=1, max_size=3),
        }
    ),
    st.fixed_dictionaries({"operator": st.sampled_from(["contains", "not_contains"]), "value": LITERAL}),
    st.fixed_dictionaries({"operator": st.sampled_from(["starts_with", "ends_with"]), "value": STRINGS}),
    st.fixed_dictionaries({"operator": st.sampled_from(["is_null", "is_not_null"])}),
    st.fixed_dictionaries({"operator": st.just("changed_pct"), "value": st.sampled_from([50, 100, -50, 10.5])}),
)
LEAVES = st.builds(lambda subject, operation: {**subject, **operation}, SUBJECTS, OPERATIONS)


def groups(nodes: st.SearchStrategy[dict[str, Any]]) -> st.SearchStrategy[dict[str, Any]]:
    return st.builds(
        lambda logic, members: {logic: members},
        st.sampled_from(["all", "any", "none"]),
        st.lists(nodes, min_size=1, max_size=3),
    )


TREES = st.recursive(LEAVES, groups, max_leaves=8).filter(lambda tree: depth(tree) <= 6)

KEYS = [
    f"{field}{window}{previous}"
    for field in ("x", "y", "order.total")
    for window in ("", "@today", "@last_7d")
    for previous in ("", ":previous")
]
FACTS: st.SearchStrategy[dict[str, Any]] = st.dictionaries(st.sampled_from(KEYS), VALUES, min_size=6)
# Facts that nearly every generated comparison can decide.
NUMERIC_FACTS: st.SearchStrategy[dict[str, Any]] = st.fixed_dictionaries(dict.fromkeys(KEYS, NUMBERS))


def depth(node: dict[str, Any]) -> int:
    """Count the nested groups of a tree."""
    nested = next((node[logic] for logic in ("all", "any", "none") if logic in node), None)
    return 0 if nested is None else 1 + max(depth(child) for child in nested)
