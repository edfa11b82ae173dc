"""A tree in words: each comparison by example, and the logic by reading the words back."""

from __future__ import annotations

import itertools
import re
from datetime import timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.rules.conditions import parse
from engine.rules.evaluate import evaluate
from engine.rules.sentence import OPPOSITE, Terms, duration, number_text, rule_sentence, sentence
from engine.rules.tree import Leaf, Operator, leaves
from tests.unit.rules.strategies import FACTS, LEAVES, PATIENT, TREES, groups

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.mark.parametrize(
    ("leaf", "words"),
    [
        (
            {"field": "cpa", "window": "last_7d", "operator": ">", "value": 50},
            "cost per acquisition over the last 7 days is above 50",
        ),
        ({"field": "cpa", "operator": ">", "value": 50}, "cost per acquisition over the last 7 days is above 50"),
        ({"field": "spend", "window": "today", "operator": ">=", "value": 1000}, "spend today is at least 1,000"),
        (
            {"field": "roas", "window": "yesterday", "operator": "<", "value": 1.50},
            "return on ad spend yesterday is below 1.5",
        ),
        (
            {"field": "cpm", "window": "lifetime", "operator": "<=", "value": 2},
            "cost per 1,000 impressions over the lifetime is at most 2",
        ),
        ({"field": "clicks", "window": "last_30d", "operator": "=", "value": 0}, "clicks over the last 30 days are 0"),
        (
            {"field": "ctr", "window": "last_3d", "operator": "<", "value": 0.02},
            "click-through rate over the last 3 days is below 0.02 (2 %)",
        ),
        (
            {"field": "conversion_rate", "operator": "between", "value": [0, 0.015]},
            "conversion rate over the last 7 days is from 0 to 0.015 (1.5 %)",
        ),
        ({"field": "days_running", "operator": "in", "value": [7, 1400]}, "days running are one of 7, 1,400"),
        ({"field": "budget", "operator": "not_in", "value": [7]}, "budget is none of 7"),
        ({"field": "status", "operator": "==", "value": "active"}, 'status is "active"'),
        ({"field": "status", "operator": "!=", "value": 'a"b'}, r'status is not "a\"b"'),
        ({"field": "name", "operator": "=", "value": "\n\x9b\u202e"}, r'name is "\n\u009b\u202e"'),
        ({"field": "platform", "operator": "in", "value": ["meta", "google"]}, 'platform is one of "meta", "google"'),
        ({"field": "tags", "operator": "in", "value": ["a", "b"]}, 'tags include one of "a", "b"'),
        ({"field": "tags", "operator": "not_in", "value": ["a"]}, 'tags include none of "a"'),
        ({"field": "tags", "operator": "contains", "value": "a"}, 'tags contain "a"'),
        ({"field": "name", "operator": "not_contains", "value": "a"}, 'name does not contain "a"'),
        ({"field": "name", "operator": "starts_with", "value": "Ü"}, 'name starts with "Ü"'),
        ({"field": "objective", "operator": "ends_with", "value": "x"}, 'objective ends with "x"'),
        ({"field": "bid_amount", "operator": "is_null"}, "bid amount has no value"),
        ({"field": "tags", "operator": "is_not_null"}, "tags have a value"),
        (
            {
                "field": "cpa",
                "window": "last_3d",
                "operator": ">",
                "value": {"field": "cpa", "window": "last_14d", "times": 1.2},
            },
            "cost per acquisition over the last 3 days is above 1.2 times its value over the last 14 days",
        ),
        (
            {"field": "spend_pct_of_budget", "operator": "<", "value": {"field": "days_running"}},
            "percent of the budget spent is below days running",
        ),
        (
            {"field": "spend", "operator": "changed_pct", "value": 20},
            "spend over the last 7 days rose by at least 20 % against the 7 days before",
        ),
        (
            {"field": "clicks", "window": "today", "operator": "changed_pct", "value": -12.5},
            "clicks today fell by at least 12.5 % against yesterday",
        ),
        (
            {"field": "order.total", "operator": "changed_pct", "value": 5},
            "order.total rose by at least 5 % against the period before",
        ),
        ({"field": "order.paid", "operator": "=", "value": True}, "order.paid is true"),
        (
            {"field": "x", "operator": "in", "value": list(range(23))},
            f"x is one of {', '.join(map(str, range(20)))} … (3 more)",
        ),
    ],
)
def test_a_comparison_in_words(leaf: dict[str, Any], words: str) -> None:
    assert sentence(parse(leaf, known_fields=None)) == words


def test_a_group_within_a_group_stands_in_brackets() -> None:
    a, b, c, d = ({"field": name, "operator": ">", "value": 1} for name in "abcd")
    tree = {"all": [a, {"any": [b, {"all": [c, d]}]}, {"none": [{"any": [a, b]}, c]}, {"any": [d]}]}
    assert sentence(parse(tree, known_fields=None)) == (
        "a is above 1, and (b is above 1, or (c is above 1, and d is above 1)), "
        "and none of (a is above 1, or b is above 1; c is above 1), and d is above 1"
    )


NUMBERED = st.recursive(st.just({"field": "f", "operator": "=", "value": 1}), groups, max_leaves=6)


@PATIENT
@given(NUMBERED)
def test_the_words_read_by_their_brackets_alone_mean_what_the_tree_means(tree: dict[str, Any]) -> None:
    numbers = itertools.count()
    condition = parse(renamed(tree, numbers), known_fields=None)
    words = sentence(condition)
    count = next(numbers)
    for values in itertools.product([False, True], repeat=count):
        facts = {f"f{index}": int(value) for index, value in enumerate(values)}
        assert read_back(words, values) is evaluate(condition, facts)


@PATIENT
@given(LEAVES, LEAVES)
def test_comparisons_of_the_same_words_are_the_same(one: dict[str, Any], other: dict[str, Any]) -> None:
    """Generated fields have no noun of their own, so that only spellings of one value may share their words."""
    left, right = parse(one, known_fields=None), parse(other, known_fields=None)
    assert (sentence(left) == sentence(right)) is (left == right)


@PATIENT
@given(TREES)
def test_any_tree_can_be_said_in_one_line(tree: dict[str, Any]) -> None:
    words = sentence(parse(tree, known_fields=None))
    assert words.isprintable()
    assert words.count("(") == words.count(")")


@PATIENT
@given(LEAVES, FACTS)
def test_the_opposite_of_an_operator_is_its_negation(document: dict[str, Any], facts: dict[str, Any]) -> None:
    for leaf in leaves(parse(document, known_fields=None)):
        if leaf.operator in OPPOSITE:
            result = evaluate(leaf, facts)
            opposite = evaluate(Leaf(leaf.operand, OPPOSITE[leaf.operator], leaf.value), facts)
            assert opposite is (None if result is None else not result)


def test_every_operator_has_an_opposite_but_those_without_one() -> None:
    assert set(Operator) - set(OPPOSITE) == {
        Operator.BETWEEN,
        Operator.STARTS_WITH,
        Operator.ENDS_WITH,
        Operator.CHANGED_PCT,
    }


@pytest.mark.parametrize(
    ("number", "text"),
    [
        ("0", "0"),
        ("-0.00", "0"),
        ("1E+4", "10,000"),
        ("50.10", "50.1"),
        ("-1234567.5", "-1,234,567.5"),
        ("0.000001", "0.000001"),
        ("1E-999999", "1E-999999"),
    ],
)
def test_a_number_is_exact_and_readable(number: str, text: str) -> None:
    assert number_text(Decimal(number)) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(1, "1 second"), (90, "90 seconds"), (3600, "1 hour"), (5400, "90 minutes"), (86400, "1 day"), (604800, "7 days")],
)
def test_a_duration_is_told_in_its_largest_unit(seconds: int, text: str) -> None:
    assert duration(timedelta(seconds=seconds)) == text


def test_a_whole_rule_in_words() -> None:
    condition = parse({"field": "status", "operator": "=", "value": "active"})
    terms = Terms(
        cooldown=timedelta(hours=2),
        max_executions_per_day=1,
        delay=timedelta(seconds=90),
        min_sample={"impressions": Decimal(1000), "clicks": Decimal(10)},
        max_data_age=timedelta(hours=26),
    )
    assert rule_sentence(condition, ["pause it", "tell me"], terms) == (
        'For each campaign: if status is "active", then pause it, then after 90 seconds tell me. '
        "What comes from fewer than 1,000 impressions or fewer than 10 clicks or data older than 26 hours "
        "(but for the lifetime) counts as unknown. "
        "After it acted on a campaign it leaves that one alone for 2 hours. It acts at most 1 time a day."
    )
    bare = rule_sentence(condition, ["go", "stay"], Terms(one_entity=True))
    assert bare == 'For its one campaign: if status is "active", then go, then stay.'


def renamed(tree: dict[str, Any], numbers: Iterator[int]) -> dict[str, Any]:
    """Give each leaf a field of its own: f0, f1, …"""
    for logic in ("all", "any", "none"):
        if logic in tree:
            return {logic: [renamed(node, numbers) for node in tree[logic]]}
    return {**tree, "field": f"f{next(numbers)}"}


def read_back(words: str, values: tuple[bool, ...]) -> bool:
    """Read the words as a person does who takes the joints for Python's: brackets decide, `;` separates."""
    told = re.sub(r"f(\d+) is 1", lambda found: str(values[int(found[1])]), words)
    assert not re.search(
        r"[(;][^();]*, and [^();]*, or |[(;][^();]*, or [^();]*, and ", told
    )  # a joint never needs precedence
    for said, meant in {", and ": " and ", ", or ": " or ", "none of (": "not any_of(", "; ": ", "}.items():
        told = told.replace(said, meant)
    return bool(eval(told, {"any_of": lambda *nodes: any(nodes)}))  # noqa: S307 - the words of this test's own tree
