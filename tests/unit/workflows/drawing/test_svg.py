"""The SVG: well-formed whatever tenants write, all steps and ways in it, statuses in colour, large ones in time."""

from __future__ import annotations

import re
import time
from typing import TYPE_CHECKING, Final
from xml.etree import ElementTree as ET

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.workflows.drawing import layers as module
from engine.workflows.drawing.svg import svg
from models.workflow_enums import StepStatus, StepType
from tests.unit.workflows.drawing.graphs import chain_with_handler, every_type, fan, graph, graphs, nested

if TYPE_CHECKING:
    from collections.abc import Callable

    from engine.workflows.definition import Definition

NS: Final = "{http://www.w3.org/2000/svg}"
NASTY: Final = "<script>alert('x')</script> & \"]]>\" \x00\x1b\ud800\ufffe {{ context.x }} &lt; <!--"


def read(picture: str) -> ET.Element:
    return ET.fromstring(picture)  # noqa: S314 - ours


def words(root: ET.Element) -> list[str]:
    return [element.text or "" for element in root.iter(f"{NS}text")]


def steps_of(root: ET.Element) -> list[ET.Element]:
    return [group for group in root.iter(f"{NS}g") if "transform" in group.attrib]


def test_every_type_has_a_shape_of_its_own_words_and_labelled_ways() -> None:
    root = read(svg(every_type(), title="Lead nurture"))
    assert {group.attrib["class"] for group in steps_of(root)} == {each.value for each in StepType}
    outlines = {group.attrib["class"]: group[1].attrib["d"] for group in steps_of(root)}
    assert len(set(outlines.values())) == len(StepType)
    said = words(root)
    assert said[:2] == ["Lead nurture", "11 steps"]
    expected = ["2 cases", "notify", "all branches", "one branch, by weight", "run Nurture", "approval by editor"]
    labels = ["default", "unknown", "25 %", "75 %", "timeout", "rejected", "failure"]
    assert not {*expected, *labels} - {*said}
    assert "wait 2 days, then next bu…" in said
    assert any(text.startswith("lead.score is") for text in said)


@settings(deadline=None)
@given(graphs())
def test_every_step_is_drawn_once_and_within_the_paper(definition: Definition) -> None:
    root = read(svg(definition))
    width, height = (float(root.attrib[name]) for name in ("width", "height"))
    drawn = steps_of(root)
    assert len(drawn) == len(definition.steps)
    for group in drawn:
        x, y = map(float, re.findall(r"[\d.]+", group.attrib["transform"]))
        assert 0 <= x <= width - 190
        assert 0 <= y <= height - 52


@settings(deadline=None)
@given(st.text(max_size=40) | st.just(NASTY))
def test_what_tenants_wrote_is_text_and_never_markup(name: str) -> None:
    root = read(svg(every_type(name), title=name))
    known = {"svg", "title", "style", "rect", "text", "g", "path"}
    assert {element.tag.removeprefix(NS) for element in root.iter()} <= known
    assert len(steps_of(root)) == 11
    assert all(attribute[:2] != "on" for element in root.iter() for attribute in element.attrib)


def test_long_names_are_cut_and_whole_where_one_points_at_them() -> None:
    name = "Ask the regional manager whether this influencer fits"
    root = read(svg(every_type(name)))
    assert "Ask the regional mana…" in words(root)
    assert any((group[0].text or "").startswith(f"{name}: ask (approval)") for group in steps_of(root))
    assert "変種Bは長い名前を持…" in words(read(svg(every_type("変種Bは長い名前を持っていますから切られます"))))


def test_statuses_are_colours_and_words_and_counted() -> None:
    statuses = dict(zip(every_type().steps, StepStatus, strict=False))
    root = read(svg(every_type(), statuses))
    classes = {group.attrib["class"].split()[1] for group in steps_of(root)}
    assert classes == {each.value for each in StepStatus}
    assert words(root)[1].startswith("11 steps, 3 pending, 1 queued, 1 running")
    assert any(text.startswith("completed: ") for text in words(root))
    assert "run" not in {group.attrib["class"].split()[0] for group in steps_of(read(svg(every_type())))}


def test_ways_that_only_failures_take_are_told_apart() -> None:
    ways = [element.attrib["class"] for element in read(svg(chain_with_handler(8))).iter(f"{NS}path")]
    assert ways.count("way fails") == 7 + 6
    assert ways.count("way") == 6


def test_ways_that_are_broken_off_are_told_where_they_begin(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MOST_BENDS", 0)
    said = words(read(svg(nested(12))))
    assert "failure → s11" in said
    many = graph([{1, *range(10, 20)}, *({index + 1} for index in range(1, 19)), set()])
    assert sum("→" in text for text in words(read(svg(many)))) == 3


def test_one_step_alone_is_a_picture_too() -> None:
    assert len(steps_of(read(svg(graph([set()]))))) == 1


def test_a_picture_needs_nothing_from_elsewhere_and_is_the_same_each_time() -> None:
    picture = svg(every_type())
    assert not re.search(r"url\(|href|@import|<script|<image|http(?!://www\.w3\.org/2000/svg)", picture)
    assert picture == svg(every_type())


@pytest.mark.parametrize("made", [chain_with_handler, nested, fan])
def test_two_thousand_steps_are_drawn_within_five_seconds(made: Callable[[int], Definition]) -> None:
    definition = made(2_000)
    begun = time.process_time()
    picture = svg(definition, {})
    assert time.process_time() - begun < 5
    assert len(steps_of(read(picture))) == 2_000
