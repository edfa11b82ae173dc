"""References in texts: looked up once, unknown ones refused where they stand, values cut and escaped."""

from __future__ import annotations

import html.parser
import re
from decimal import Decimal
from typing import Any, Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.errors import InputError
from engine import references
from engine.references import MAX_REFERENCES, MAX_VALUE, literal, parse, read

KNOWN: Final = {"campaign": ("id", "name"), "rule": ("name",), "event": ("type", "payload.*")}
VALUES: Final = {
    "campaign": {"id": "1", "name": "Spring"},
    "rule": {"name": "Cut"},
    "event": {"type": "lead", "payload": {"score": 7, "who": {"name": "Ana"}, "all": [1, {"b": True}], "no": None}},
}
JSON: Final = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda some: st.lists(some) | st.dictionaries(st.text(), some),
)


def said(text: str, values: Any = VALUES) -> str:
    return parse(text, "params.title", KNOWN).render(values)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("plain", "plain"),
        ("{{ campaign.name }}", "Spring"),
        ("{{campaign.name}}/{{\trule.name\n}}", "Spring/Cut"),
        ("{{ event.type }} {{ event.payload.who.name }}", "lead Ana"),
        ("{{ event.payload.score }} {{ event.payload.all.1.b }}", "7 true"),
        ("{{ event.payload.who }}", '{"name":"Ana"}'),
        ("[{{ event.payload.no }}{{ event.payload.none.there }}{{ event.payload.all.7 }}]", "[]"),
        ("[{{ event.payload.score.deeper }}{{ event.payload.all.x }}]", "[]"),
        (r"\{{ campaign.name }}", "{{ campaign.name }}"),
        (r"\\{{ campaign.name }}", "\\Spring"),
        (r"\\\{{ x }}", r"\{{ x }}"),
        (r"\{{ a {{ campaign.name }}", "{{ a Spring"),
        (r"C:\rules\{x} \{{ not closed", r"C:\rules\{x} \{{ not closed"),
        ("{ campaign.name } {{ not closed, and }", "{ campaign.name } {{ not closed, and }"),
    ],
)
def test_a_reference_becomes_its_value(text: str, expected: str) -> None:
    assert said(text) == expected


def test_an_event_that_is_not_there_is_empty() -> None:
    assert said("[{{ event.type }}{{ event.payload.a }}]", {**VALUES, "event": None}) == "[]"


def test_an_amount_is_written_out() -> None:
    assert said("{{ campaign.id }}", {"campaign": {"id": Decimal("1E+3")}}) == "1000"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{{ campaign.nam }}", "there is no 'campaign.nam' to refer to"),
        ("{{ campaign }}", "there is no 'campaign' to refer to"),
        ("{{ campaign.name.first }}", "there is no 'campaign.name.first'"),
        ("{{ event.payloads.x }}", "there is no 'event.payloads.x'"),
        ("{{ event.type.x }}", "there is no 'event.type.x'"),
        ("{{ secret.key }}", "begins with one of campaign, rule, event"),
        ("{{ 1 + 1 }}", "is no reference"),
        ("{{ campaign.name | upper }}", "is no reference"),
        ("{{ campaign.__class__ }}", "there is no 'campaign.__class__'"),
        ("{{}}", "is no reference"),
        ("{{ {{ campaign.name }} }}", "is no reference"),
        ("{{ campaign.name }}" * (MAX_REFERENCES + 1), "has 51 references"),
    ],
)
def test_what_leads_nowhere_is_refused_where_it_stands(text: str, message: str) -> None:
    with pytest.raises(InputError) as refused:
        parse(text, "params.title", KNOWN)
    assert {problem.field for problem in refused.value.problems} == {"params.title"}
    assert message in str(refused.value)


def test_every_wrong_reference_is_told() -> None:
    with pytest.raises(InputError) as refused:
        parse("{{ a.b }} {{ campaign.name }} {{ rule.x }}", "params.title", KNOWN)
    assert len(refused.value.problems) == 2


@given(st.text(), st.text(), st.text())
def test_values_are_not_read_again(before: str, value: str, after: str) -> None:
    before, after = before.replace("{", "").rstrip("\\"), after.replace("{", "")
    braced = f"{value}{{{{ rule.name }}}}"[:MAX_VALUE]
    text = f"{before}{{{{ campaign.name }}}}{after}"
    assert said(text, {"campaign": {"name": braced}, "rule": {"name": "X"}}) == f"{before}{braced}{after}"


@given(st.text().filter(lambda text: "}}" not in text or "{{" not in text))
def test_all_else_is_literal(text: str) -> None:
    assert said(text) == text


@given(st.text(alphabet="{}\\ .ab"))
def test_any_text_can_be_said_literally(text: str) -> None:
    meant = re.sub(r"(\\*)\{\{(?=.*\}\})", lambda found: f"{found[1] * 2}\\{{{{", text, flags=re.DOTALL)
    assert said(meant) == text


@given(JSON)
def test_whatever_an_event_holds_becomes_a_bounded_text(value: Any) -> None:
    told = said("{{ event.payload.x }}", {"event": {"payload": {"x": value}}})
    assert len(told) <= MAX_VALUE


class _Markup(html.parser.HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.text = ""

    def handle_starttag(self, tag: str, attrs: object) -> None:
        del attrs
        self.tags.append(tag)

    def handle_data(self, data: str) -> None:
        self.text += data


@given(
    st.text(alphabet="<>&\"'ab/;#! ={}").filter(lambda text: "}}" not in text),
    st.text(alphabet="<>&\"'ab/;#!- =") | st.text(),
)
def test_nothing_in_html_is_markup(literal: str, value: str) -> None:
    template = read(f"{literal} {{{{campaign.name}}}}" if "{{" not in literal else literal)
    values = {"campaign": {"name": value}}
    plain = template.render(values)
    markup = _Markup()
    markup.feed(f"<p>{template.render(values, references.html)}</p>")
    markup.close()
    assert markup.tags == ["p"]
    if not any(mark in plain for mark in "\r\0"):  # which a parser of HTML reads as others
        assert markup.text == plain


@given(st.text(), st.integers(1, 50))
def test_a_text_is_cut_before_it_is_escaped(value: str, longest: int) -> None:
    template = read("{{campaign.name}}")
    values = {"campaign": {"name": value}}
    made = template.render(values, longest=longest)
    assert len(made) <= longest
    assert template.render(values, references.html, longest=longest) == references.html(made)


@given(st.lists(st.sampled_from(["{{", "}}", "\\", "{", "}", "campaign.name", " ", "x"])).map("".join) | st.text())
def test_a_text_that_is_meant_as_it_is_reads_as_it_is(text: str) -> None:
    read_again = read(literal(text))
    assert read_again.references == []
    assert read_again.render({}) == text
