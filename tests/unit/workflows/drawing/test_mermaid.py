"""Mermaid: nodes, ways and labels; nothing that a tenant wrote is read as Mermaid, Markdown or HTML."""

from __future__ import annotations

import html
import re
from typing import TYPE_CHECKING, Final

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.workflows.drawing.mermaid import escaped, mermaid
from models.workflow_enums import StepStatus
from tests.unit.workflows.drawing.graphs import every_type, fan, graphs

if TYPE_CHECKING:
    from engine.workflows.definition import Definition


EXPECTED: Final = r"""flowchart TD
    s0{"rate<br/>2 cases"}
    s1["call<br/>notify"]
    s2[/"both<br/>all branches"\]
    s3("wait<br/>wait 2 days, then next business hour")
    s4>"reply<br/>event lead#46;replied, within 1 hour"]
    s5[\"join<br/>wait for 2, cancel the rest"/]
    s6[/"ab<br/>one branch, by weight"\]
    s7[["child<br/>run Nurture"]]
    s8{{"ask<br/>approval by editor"}}
    s9["mend<br/>crm#46;mend"]
    s10("end<br/>wait until #123;#123; context#46;at #125;#125;, then 0#46;5 seconds")
    s0 -->|"lead#46;score is above 80"| s1
    s0 -->|"lead#46;country is one of #34;DE#34;, #34;AT#34;"| s2
    s0 -->|"default"| s6
    s0 -->|"unknown"| s8
    s1 --> s10
    s1 -.->|"failure"| s9
    s2 --> s3
    s2 --> s4
    s3 --> s5
    s4 --> s5
    s4 -->|"timeout"| s9
    s5 --> s10
    s6 -->|"25 #37;"| s1
    s6 -->|"75 #37;"| s7
    s7 --> s10
    s8 --> s10
    s8 -->|"rejected"| s9
"""


def shown(label: str) -> str:
    """What Mermaid shows of a label: codes are decoded as it decodes them."""
    return html.unescape(re.sub(r"#(\d+);", r"&#\1;", label))


def test_every_type_is_a_shape_and_every_way_an_arrow_with_its_label() -> None:
    assert mermaid(every_type()) == EXPECTED


@settings(deadline=None)
@given(graphs())
def test_every_step_and_way_is_told_once(definition: Definition) -> None:
    drawn = mermaid(definition).splitlines()
    numbers = {step_id: f"s{index}" for index, step_id in enumerate(definition.steps)}
    assert drawn[0] == "flowchart TD"
    assert [line.split("[")[0].strip() for line in drawn[1 : len(numbers) + 1]] == list(numbers.values())
    ways = {(numbers[step.id], numbers[target]) for step in definition.steps.values() for target in step.targets}
    assert {tuple(re.split(r" -[.]?->\S* ", line.strip())) for line in drawn[len(numbers) + 1 :]} == ways


@given(st.text())
def test_a_label_is_shown_as_it_was_written_and_no_mark_of_any_syntax_is_left_in_it(text: str) -> None:
    label = escaped(text)
    assert shown(label) == shown("".join(f"#{ord(mark)};" for mark in text))
    assert re.fullmatch(r"(?:\w|[ ,]|(?<=\w)-(?=\w)|#\d+;)*", label)


@pytest.mark.parametrize(
    "text",
    [
        '"] --> x[',
        "</div><script>",
        "a|b",
        "%% comment",
        "`**bold**`",
        "- item",
        "1. item",
        "_x_",
        "style a:#f00;",
        "&quot;",
        "#quot;",
        "[link](javascript:x)",
        "www.example.com",
    ],
)
def test_marks_of_mermaid_markdown_and_html_are_codes(text: str) -> None:
    label = escaped(text)
    assert shown(label) == text
    assert not re.search(r"[^\w ,#;-]|\b_|_\b|(?<!\d);|#(?!\d)", label)


def test_names_stay_on_one_line_and_are_cut() -> None:
    drawn = mermaid(every_type("line one\nline two\t" + "x" * 100))
    assert f'"line one line two {"x" * 41}…<br/>' in drawn.replace("#8230;", "…")


def test_statuses_are_classes() -> None:
    statuses = dict.fromkeys(("rate", "call"), StepStatus.COMPLETED) | {"both": StepStatus.FAILED}
    drawn = mermaid(every_type(), statuses).splitlines()
    assert "    class s0,s1 completed" in drawn
    assert "    class s2 failed" in drawn
    assert "    class s3,s4,s5,s6,s7,s8,s9,s10 pending" in drawn
    assert sum(line.startswith("    classDef ") for line in drawn) == 3


def test_two_thousand_steps_are_two_thousand_nodes() -> None:
    assert mermaid(fan(2_000)).count("\n") == 1 + 2_000 + 2 * 1_998
