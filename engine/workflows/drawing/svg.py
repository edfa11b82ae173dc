"""A workflow as an SVG that stands alone: no script, no font, nothing from elsewhere.

Colours follow the viewer's light or dark scheme. What tenants wrote is text, never markup: the tree is serialised, not
put together from strings.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Final
from xml.etree import ElementTree as ET

from engine.workflows.drawing.layers import layered
from engine.workflows.drawing.ordering import untangle
from engine.workflows.drawing.shapes import SHAPES, STEP_HEIGHT, STYLE, fitting
from engine.workflows.drawing.spreading import BEND_WIDTH, STEP_WIDTH, spread
from engine.workflows.drawing.words import Line, about, cut, lines, name_of
from models.workflow_enums import StepStatus

if TYPE_CHECKING:
    from collections.abc import Mapping

    from engine.workflows.definition import Definition, Step
    from engine.workflows.drawing.layers import Layers

_GAP: Final = 60.0
_MARGIN: Final = 28.0
_HEAD: Final = 64.0
_PORT: Final = 22.0
"""Between the beginnings of ways out of one step, at the most."""
_LONGEST_TITLE: Final = 100
_LONGEST_NAME: Final = 22
_LONGEST_ABOUT: Final = 26
_LONGEST_LABEL: Final = 18
_LONGEST_HINT: Final = 300
_BROKEN_OFF: Final = 3
"""Ways that are told in words below a step, at the most."""
_ARROW: Final = 5.0


def svg(definition: Definition, statuses: Mapping[str, str] | None = None, title: str = "Workflow") -> str:
    """Return the SVG document; with `statuses` (by step, of one instance) the steps are in their colours."""
    layers = layered(definition)
    untangle(layers)
    return _Picture(definition, layers, statuses, cut(title, _LONGEST_TITLE)).draw()


class _Picture:
    """One drawing; x and y are pixels, layers go down."""

    def __init__(self, definition: Definition, layers: Layers, statuses: Mapping[str, str] | None, title: str) -> None:
        self._definition = definition
        self._layers = layers
        self._statuses = statuses
        self._title = title
        self._middles = [middle + _MARGIN for middle in spread(layers)]
        self._lines = list(lines(definition))

    def draw(self) -> str:
        """Draw all of it, steps last."""
        edges = [self._middles[node] + self._width(node) / 2 for node in range(len(self._middles))]
        width = max(max(edges) + _MARGIN, 360.0)
        height = self._top(len(self._layers.ranks)) - _GAP + _MARGIN
        root = ET.Element(
            "svg",
            {"xmlns": "http://www.w3.org/2000/svg", "viewBox": f"0 0 {width:.0f} {height:.0f}", "role": "img"}
            | {"width": f"{width:.0f}", "height": f"{height:.0f}"},
        )
        ET.SubElement(root, "title").text = self._title
        ET.SubElement(root, "style").text = STYLE
        paper = {"class": "paper", "width": f"{width:.0f}", "height": f"{height:.0f}"}
        ET.SubElement(root, "rect", paper)
        _text(root, _MARGIN, 34, self._title, "title")
        _text(root, _MARGIN, 52, self._subtitle(), "head muted")
        self._draw_ways(ET.SubElement(root, "g"))
        steps = ET.SubElement(root, "g")
        for node, step_id in enumerate(self._layers.steps):
            if step_id is not None:
                self._draw_step(steps, node, self._definition.steps[step_id])
        return ET.tostring(root, encoding="unicode") + "\n"

    def _subtitle(self) -> str:
        total = len(self._definition.steps)
        said = f"{total:,} step{'s' if total > 1 else ''}"
        if self._statuses is None:
            return said
        counts = Counter(self._status(step_id) for step_id in self._definition.steps)
        return ", ".join([said, *(f"{counts[status]:,} {status}" for status in StepStatus if counts[status])])

    def _status(self, step_id: str) -> str:
        return StepStatus.PENDING if self._statuses is None else self._statuses.get(step_id, StepStatus.PENDING)

    def _draw_step(self, parent: ET.Element, node: int, step: Step) -> None:
        classes, said = step.type.value, about(step)
        if self._statuses is not None:
            status = str(StepStatus(self._status(step.id)))
            classes, said = f"run {status} {classes}", f"{status}: {said}"
        left, top = self._middles[node] - STEP_WIDTH / 2, self._top(self._layers.rank[node])
        group = ET.SubElement(parent, "g", {"class": classes, "transform": f"translate({left:.1f} {top:.1f})"})
        hint = f"{step.id} ({step.type}): {said}"
        ET.SubElement(group, "title").text = cut(hint if step.name is None else f"{step.name}: {hint}", _LONGEST_HINT)
        ET.SubElement(group, "path", {"class": "shape", "d": SHAPES[step.type]})
        _text(group, STEP_WIDTH / 2, 23, fitting(name_of(step), _LONGEST_NAME), "name")
        _text(group, STEP_WIDTH / 2, 40, fitting(said, _LONGEST_ABOUT), "muted")

    def _draw_ways(self, parent: ET.Element) -> None:
        """Draw each line between two layers once: ways to one step share theirs."""
        ports = self._ports()
        for stretch, only_fails in self._stretches().items():
            self._draw_stretch(parent, stretch, ports, only_fails=only_fails)
        for line in self._lines:
            if line.text and (line.source, line.target) in self._layers.begins:
                self._draw_label(parent, line, ports)
        self._tell_broken_off(parent)

    def _stretches(self) -> dict[tuple[int, int], bool]:
        """Return the lines between layers, from above, and whether only failures take them."""
        layers = self._layers
        fails = {
            layers.begins[line.source, line.target]: line.fails
            for line in self._lines
            if (line.source, line.target) in layers.begins
        }
        for rank in layers.ranks:
            for bend in (node for node in rank if layers.steps[node] is None):
                [lower] = layers.below[bend]
                fails[bend, lower] = all(fails[upper, bend] for upper in layers.above[bend])
        return fails

    def _ports(self) -> dict[tuple[int, int], tuple[float, int]]:
        """Return for each stretch that leaves a step where it begins, and its place among them."""
        ports = {}
        for node, below in enumerate(self._layers.below):
            ordered = sorted(below, key=lambda lower: self._middles[lower])
            apart = min(_PORT, (STEP_WIDTH - 40) / len(ordered)) if self._layers.steps[node] and ordered else 0.0
            for place, lower in enumerate(ordered):
                ports[node, lower] = self._middles[node] + (place - (len(ordered) - 1) / 2) * apart, place
        return ports

    def _draw_stretch(
        self,
        parent: ET.Element,
        stretch: tuple[int, int],
        ports: Mapping[tuple[int, int], tuple[float, int]],
        *,
        only_fails: bool,
    ) -> None:
        upper, lower = stretch
        start, x = ports[stretch][0], self._middles[lower]
        top, bottom = self._top(self._layers.rank[upper]) + STEP_HEIGHT, self._top(self._layers.rank[lower])
        middle = (top + bottom) / 2
        ends_here = self._layers.steps[lower] is not None
        end = bottom - _ARROW if ends_here else bottom
        path = f"M{start:.1f} {top:.1f}C{start:.1f} {middle:.1f} {x:.1f} {middle:.1f} {x:.1f} {end:.1f}"
        if not ends_here:
            path += f"v{STEP_HEIGHT:g}"
        ET.SubElement(parent, "path", {"class": "way fails" if only_fails else "way", "d": path})
        if ends_here:
            tip = f"M{x:.1f} {bottom:.1f}l{-_ARROW:g} {-1.6 * _ARROW:g}h{2 * _ARROW:g}Z"
            ET.SubElement(parent, "path", {"class": "tip", "d": tip})

    def _draw_label(self, parent: ET.Element, line: Line, ports: Mapping[tuple[int, int], tuple[float, int]]) -> None:
        upper, lower = self._layers.begins[line.source, line.target]
        start, place = ports[upper, lower]
        # half way: ways that part are apart already, and ways that meet are apart still; by turns higher and lower
        x = (start + self._middles[lower]) / 2
        y = self._top(self._layers.rank[upper]) + STEP_HEIGHT + _GAP / 2 + (4 if place % 2 == 0 else -6)
        label = _text(parent, x, y, fitting(line.text, _LONGEST_LABEL), "label")
        ET.SubElement(label, "title").text = cut(line.text, _LONGEST_HINT)

    def _tell_broken_off(self, parent: ET.Element) -> None:
        told: Counter[str] = Counter()
        nodes = {step_id: node for node, step_id in enumerate(self._layers.steps) if step_id is not None}
        for line in self._lines:
            if (line.source, line.target) in self._layers.begins:
                continue
            told[line.source] += 1
            if told[line.source] > _BROKEN_OFF:
                continue
            node = nodes[line.source]
            y = self._top(self._layers.rank[node]) + STEP_HEIGHT + 13 * told[line.source]
            words = f"{line.text} → {name_of(self._definition.steps[line.target])}".strip()
            _text(parent, self._middles[node] - STEP_WIDTH / 4, y, fitting(words, _LONGEST_ABOUT), "label")

    def _top(self, rank: int) -> float:
        return _HEAD + rank * (STEP_HEIGHT + _GAP)

    def _width(self, node: int) -> float:
        return STEP_WIDTH if self._layers.steps[node] is not None else BEND_WIDTH


def _text(parent: ET.Element, x: float, y: float, told: str, kind: str) -> ET.Element:
    element = ET.SubElement(parent, "text", {"class": kind, "x": f"{x:.1f}", "y": f"{y:.1f}"})
    element.text = told
    return element
