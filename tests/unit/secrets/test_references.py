"""References to secrets in documents."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from engine.secrets.references import fill, names, redact

NAMES = st.from_regex(r"[a-z][a-z0-9_-]{0,8}", fullmatch=True)
DOCUMENTS = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.text(), NAMES.map(lambda name: f"secret://{name}")),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=12,
)


def test_names_are_found_wherever_they_stand() -> None:
    document = {"url": "secret://slack", "headers": {"A": "Bearer secret://token", "B": ["secret://token-2", 1, None]}}
    assert names(document) == {"slack", "token", "token-2"}
    filled = fill(document, {"slack": "https://x", "token": "t", "token-2": "u"})
    assert filled == {"url": "https://x", "headers": {"A": "Bearer t", "B": ["u", 1, None]}}


def test_a_value_is_not_read_as_a_reference() -> None:
    assert fill(["secret://a"], {"a": "secret://b"}) == ["secret://b"]


@given(DOCUMENTS)
def test_filling_needs_the_names_that_are_found_and_no_others(document: object) -> None:
    found = names(document)
    filled = fill(document, dict.fromkeys(found, "VALUE"))
    assert names(filled) == set()
    assert fill(document, {name: f"secret://{name}" for name in found}) == document


@given(st.text(min_size=4, max_size=20), st.text(max_size=30), st.text(max_size=30))
def test_what_is_redacted_is_not_there_any_more(value: str, before: str, after: str) -> None:
    shown = redact(f"{before}{value}{after}", [value])
    assert value not in shown or value in "***"


def test_a_longer_value_is_hidden_before_one_that_it_holds() -> None:
    assert redact("abcdef abcd", ["abcd", "abcdef"]) == "*** ***"
