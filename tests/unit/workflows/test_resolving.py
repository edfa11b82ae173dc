"""References in a step's config: values of their own type, or text; bounded, and never read again."""

from __future__ import annotations

from typing import Any, Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.errors import PermanentError
from engine.workflows.resolving import LONGEST_VALUE, MOST, references_in, resolved

JSON: Final = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda some: st.lists(some, max_size=4) | st.dictionaries(st.text(), some, max_size=4),
    max_leaves=20,
)
VALUES: Final[dict[str, Any]] = {
    "context": {"lead": {"id": 42, "name": "Ana", "vip": True, "tags": ["a", "b"]}, "budget": 12.5, "none": None},
    "steps": {"draft": {"output": {"url": "https://x.example", "n": 3}}, "odd-one_2": {"output": None}},
    "instance": {"id": "i-1", "template": "Lead nurture", "version": 3},
}


@pytest.mark.parametrize(
    ("node", "expected"),
    [
        ("{{ context.lead.id }}", 42),
        ("{{context.lead}}", VALUES["context"]["lead"]),
        ("{{ context.lead.tags }}", ["a", "b"]),
        ("{{ context.lead.tags.1 }}", "b"),
        ("{{ context.lead.vip }}", True),
        ("{{ context.budget }}", 12.5),
        ("{{ context.none }}", None),
        ("{{ context.missing.deeper }}", None),
        ("{{ steps.odd-one_2.output.url }}", None),
        ("{{ instance.version }}", 3),
        (" {{ context.lead.id }}", " 42"),
        ("{{ context.lead.id }}{{ steps.draft.output.n }}", "423"),
        ("Hi {{ context.lead.name }}: {{ steps.draft.output.url }}", "Hi Ana: https://x.example"),
        ("{{ context.lead.vip }}, {{ context.lead.tags }}, {{ context.none }}.", 'true, ["a","b"], .'),
        (r"\{{ context.lead.id }}", "{{ context.lead.id }}"),
        ("no braces { here }", "no braces { here }"),
    ],
)
def test_a_reference_becomes_its_value(node: str, expected: Any) -> None:
    found = resolved(node, VALUES)
    assert found == expected
    assert type(found) is type(expected)


@given(JSON)
def test_a_value_arrives_as_it_is_wherever_its_reference_stands(value: Any) -> None:
    values = {"context": {"it": value}}
    node = {"a": ["{{ context.it }}", 1], "b": {"c": "{{context.it}}"}}
    assert resolved(node, values) == {"a": [value, 1], "b": {"c": value}}


def test_names_of_members_are_no_references() -> None:
    node = {"{{ context.lead.id }}": ["{{ context.lead.id }}", {"a": "{{ context.budget }}"}]}
    assert resolved(node, VALUES) == {"{{ context.lead.id }}": [42, {"a": 12.5}]}


@given(JSON)
def test_what_refers_to_nothing_is_left_as_it_is(node: Any) -> None:
    if not references_in(node) and "{{" not in str(node):
        assert resolved(node, {}) == node


@pytest.mark.parametrize("value", ["{{ context.secret }}", r"\{{ context.secret }}", "{{", "}}"])
def test_braces_within_a_value_are_not_read_again(value: str) -> None:
    values = {"context": {"it": value, "secret": "hidden"}}
    assert resolved(["{{ context.it }}", "<{{ context.it }}>"], values) == [value, f"<{value}>"]


def test_the_node_and_the_values_are_not_changed() -> None:
    node, values = {"a": ["{{ context.it }}"]}, {"context": {"it": {"b": 1}}}
    resolved(node, values)
    assert (node, values) == ({"a": ["{{ context.it }}"]}, {"context": {"it": {"b": 1}}})


def test_a_long_value_is_whole_up_to_sixteen_kibibytes_of_a_text() -> None:
    values = {"context": {"long": "x" * LONGEST_VALUE, "longer": "x" * (LONGEST_VALUE + 1)}}
    assert resolved("<{{ context.long }}>", values) == f"<{'x' * LONGEST_VALUE}>"
    assert resolved("<{{ context.longer }}>", values) == f"<{'x' * (LONGEST_VALUE - 1)}…>"
    assert resolved("{{ context.longer }}", values) == "x" * (LONGEST_VALUE + 1)


@pytest.mark.parametrize("text", ["{{ context.long }}", "<{{ context.long }}>"])
def test_many_references_to_much_are_refused_rather_than_written_out(text: str) -> None:
    with pytest.raises(PermanentError, match=str(MOST)):
        resolved([text] * 50_000, {"context": {"long": ["x" * 10_000]}})


def test_paths_are_found_in_the_order_of_the_document_each_once() -> None:
    node = {
        "a": "{{ context.b.c }} {{ steps.x.output }}",
        "d": ["{{context.b.c}}", 1, None, {"e": "{{ instance.id }}"}],
    }
    assert references_in(node) == (("context", "b", "c"), ("steps", "x", "output"), ("instance", "id"))
    assert references_in(r"\{{ context.a }}") == ()
