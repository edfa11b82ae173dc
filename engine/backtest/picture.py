"""A backtest as a picture: an SVG that stands alone, without scripts, fonts or anything from elsewhere.

Colours follow the viewer's light or dark scheme. What tenants wrote is text, never markup: the tree is serialised, not
put together from strings.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final
from xml.etree import ElementTree as ET

from engine.backtest.axes import number_label, number_ticks, time_ticks
from engine.rules.sentence import number_text

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from datetime import datetime
    from decimal import Decimal
    from zoneinfo import ZoneInfo

    from engine.backtest.curve import Curve, Curves, Mark, Marker

_WIDTH: Final = 1000
_MARGIN: Final = 28
_HEAD: Final = 92
_GAP: Final = 26
_PLOT: Final = (54, 34, 14, 28)
"""Room around a plot within its panel: left, top, right, bottom."""
_LONGEST_NAME: Final = {1: 100, 2: 52}
_LONGEST_TITLE: Final = 80
_HEADROOM: Final = 1.06
_RADIUS: Final = 4.5
_TOLD_APART: Final = 0.5
_LEGEND: Final[tuple[tuple[Mark, str], ...]] = (("fired", "acted"), ("held", "held for approval"), ("failed", "failed"))
_STYLE: Final = """
text{font:12px system-ui,-apple-system,"Segoe UI",Roboto,Helvetica,Arial,sans-serif;fill:#1f2328}
.title{font-size:19px;font-weight:600}.name{font-size:13px;font-weight:600}.muted{fill:#59636e}
.paper{fill:#ffffff}.plot{fill:#f6f8fa}.grid{stroke:#d8dee4;stroke-width:1}
.area{fill:#0969da;fill-opacity:.09}.line{fill:none;stroke:#0969da;stroke-width:2;stroke-linejoin:round}
.point{fill:#0969da}.threshold{stroke:#8250df;stroke-width:1.5;stroke-dasharray:5 4}
.limit{fill:#8250df;paint-order:stroke;stroke:#f6f8fa;stroke-width:3}
.fired{fill:#cf222e;stroke:#ffffff;stroke-width:1.5}.held{fill:#ffffff;stroke:#bf6a02;stroke-width:2}
.failed{fill:none;stroke:#59636e;stroke-width:2.5}
@media (prefers-color-scheme:dark){text{fill:#e6edf3}.muted{fill:#9198a1}.paper{fill:#0d1117}.plot{fill:#151b23}
.grid{stroke:#30363d}.area{fill:#58a6ff;fill-opacity:.13}.line{stroke:#58a6ff}.point{fill:#58a6ff}
.threshold{stroke:#be8fff}.limit{fill:#be8fff;stroke:#151b23}.fired{fill:#ff7b72;stroke:#0d1117}
.held{fill:#0d1117;stroke:#f0a94a}.failed{stroke:#9198a1}}
"""


@dataclass(frozen=True, slots=True)
class Heading:
    """What stands above the panels, and the span and zone of their time axes."""

    title: str
    subtitle: str
    start: datetime
    end: datetime
    zone: ZoneInfo


def draw(heading: Heading, curves: Curves) -> str:
    """Return the SVG document: a panel for each curve, at most two in a row, all on the same scales."""
    columns = 1 if len(curves.curves) <= 1 else 2
    width = (_WIDTH - 2 * _MARGIN - (columns - 1) * _GAP) / columns
    height = 330.0 if columns == 1 else 230.0
    rows = max(1, -(-len(curves.curves) // columns))
    total = _HEAD + rows * height + (rows - 1) * _GAP + _MARGIN
    root = ET.Element(
        "svg",
        {"xmlns": "http://www.w3.org/2000/svg", "viewBox": f"0 0 {_WIDTH} {total:g}", "role": "img"}
        | {"width": str(_WIDTH), "height": f"{total:g}"},
    )
    ET.SubElement(root, "title").text = _clean(heading.title, _LONGEST_TITLE)
    ET.SubElement(root, "desc").text = _clean(heading.subtitle, 500)
    ET.SubElement(root, "style").text = _STYLE
    _rect(root, "paper", 0, 0, _WIDTH, total)
    _head(root, heading, curves)
    scale_top = _top(curves)
    for index, curve in enumerate(curves.curves):
        left = _MARGIN + index % columns * (width + _GAP)
        top = _HEAD + index // columns * (height + _GAP)
        panel = _Panel(left, top, width, height, heading, scale_top)
        panel.draw(root, curve, curves.thresholds, _LONGEST_NAME[columns])
    if not curves.curves:
        _text(root, _MARGIN, _HEAD + 20, "There is no campaign to show.", "muted")
    return ET.tostring(root, encoding="unicode") + "\n"


def _head(root: ET.Element, heading: Heading, curves: Curves) -> None:
    _text(root, _MARGIN, 36, _clean(heading.title, _LONGEST_TITLE), "title")
    _text(root, _MARGIN, 57, _clean(heading.subtitle, 160), "muted")
    window = "" if curves.operand.window is None else f" ({curves.operand.window.value})"
    x = float(_MARGIN)
    ET.SubElement(root, "path", {"class": "line", "d": f"M{x:g} 76h16"})
    x = _legend_text(root, x + 22, f"{curves.operand.field}{window}")
    if curves.thresholds:
        ET.SubElement(root, "path", {"class": "threshold", "d": f"M{x:g} 76h18"})
        x = _legend_text(root, x + 24, "threshold")
    used = {marker.mark for curve in curves.curves for marker in curve.markers} | {"fired"}
    for mark, told in _LEGEND:
        if mark in used:
            _mark(root, mark, x + 5, 76)
            x = _legend_text(root, x + 16, told)


def _legend_text(root: ET.Element, x: float, told: str) -> float:
    """Write an entry of the legend and return where the next one begins: widths of letters are not known here."""
    _text(root, x, 80, told, "muted")
    return x + 7.0 * len(told) + 18


def _top(curves: Curves) -> float:
    """Return the largest number that is shown; 1 where there is none above 0."""
    values = [float(value) for curve in curves.curves for _, value in curve.points if value is not None]
    return max([*values, *(float(one) for one in curves.thresholds), 0.0]) * _HEADROOM or 1.0


class _Panel:
    """One campaign's chart; x is time from start to end, y is the metric from 0 up."""

    def __init__(self, left: float, top: float, width: float, height: float, heading: Heading, high: float) -> None:
        before, above, after, below = _PLOT
        self._left, self._right = left + before, left + width - after
        self._top, self._bottom = top + above, top + height - below
        self._name_at = left, top + 18
        self._heading = heading
        self._ticks = number_ticks(high, 5 if height > 300 else 4)  # noqa: PLR2004 - as the room allows
        self._high = self._ticks[-1]

    def draw(self, root: ET.Element, curve: Curve, thresholds: tuple[Decimal, ...], longest: int) -> None:
        """Draw all of it, what matters most last."""
        group = ET.SubElement(root, "g")
        _text(group, *self._name_at, _clean(curve.campaign, longest), "name")
        _rect(group, "plot", self._left, self._top, self._right - self._left, self._bottom - self._top)
        self._axes(group)
        for stretch in _stretches(curve):
            self._line(group, stretch)
        for value in thresholds:
            self._threshold(group, value)
        for marker in curve.markers:
            self._marker(group, marker)

    def _axes(self, group: ET.Element) -> None:
        step = self._ticks[1] - self._ticks[0]
        for tick in self._ticks:
            y = self._y(tick)
            ET.SubElement(group, "path", {"class": "grid", "d": f"M{self._left:.1f} {y:.1f}H{self._right:.1f}"})
            _text(group, self._left - 7, y + 4, number_label(tick, step), "muted", anchor="end")
        heading = self._heading
        most = int((self._right - self._left) // 62)
        for at, label in time_ticks(heading.start, heading.end, heading.zone, most):
            x = self._x(at)
            ET.SubElement(group, "path", {"class": "grid", "d": f"M{x:.1f} {self._bottom:.1f}v5"})
            _text(group, x, self._bottom + 19, label, "muted", anchor="middle")

    def _line(self, group: ET.Element, stretch: list[tuple[datetime, Decimal]]) -> None:
        places = list(_thinned((self._x(at), self._y(float(value))) for at, value in stretch))
        if len(places) == 1:
            [(x, y)] = places
            ET.SubElement(group, "circle", {"class": "point", "cx": f"{x:.1f}", "cy": f"{y:.1f}", "r": "2"})
            return
        path = "L".join(f"{x:.1f} {y:.1f}" for x, y in places)
        closed = f"M{places[0][0]:.1f} {self._bottom:.1f}L{path}L{places[-1][0]:.1f} {self._bottom:.1f}Z"
        ET.SubElement(group, "path", {"class": "area", "d": closed})
        ET.SubElement(group, "path", {"class": "line", "d": f"M{path}"})

    def _threshold(self, group: ET.Element, value: Decimal) -> None:
        y = self._y(float(value))
        if not self._top <= y <= self._bottom:
            return
        ET.SubElement(group, "path", {"class": "threshold", "d": f"M{self._left:.1f} {y:.1f}H{self._right:.1f}"})
        _text(group, self._right - 4, y - 5, number_text(value), "limit", anchor="end")

    def _marker(self, group: ET.Element, marker: Marker) -> None:
        """Put the marker on the curve, or where its value is unknown on the time axis; its words show on pointing."""
        y = self._bottom if marker.value is None else self._y(float(marker.value))
        drawn = _mark(group, marker.mark, self._x(marker.at), y)
        when = f"{marker.at.astimezone(self._heading.zone):%Y-%m-%d %H:%M}"
        shown = "unknown" if marker.value is None else f"{float(marker.value):.6g}"
        ET.SubElement(drawn, "title").text = _clean(f"{when}: {shown}; {marker.told}", 300)

    def _x(self, at: datetime) -> float:
        part = (at - self._heading.start) / (self._heading.end - self._heading.start)
        return self._left + part * (self._right - self._left)

    def _y(self, value: float) -> float:
        return self._bottom - value / self._high * (self._bottom - self._top)


def _stretches(curve: Curve) -> Iterator[list[tuple[datetime, Decimal]]]:
    """Yield the points that a line joins: it ends where the metric becomes unknown."""
    stretch: list[tuple[datetime, Decimal]] = []
    for at, value in curve.points:
        if value is not None:
            stretch.append((at, value))
        elif stretch:
            yield stretch
            stretch = []
    if stretch:
        yield stretch


def _thinned(places: Iterable[tuple[float, float]]) -> Iterator[tuple[float, float]]:
    """Leave out places that nobody could tell from the one before: a year of hours has more of them than pixels."""
    last = kept = None
    for place in places:
        if kept is None or abs(place[0] - kept[0]) >= _TOLD_APART or abs(place[1] - kept[1]) >= 2 * _TOLD_APART:
            kept = place
            yield place
        last = place
    if last is not None and last is not kept:
        yield last


def _mark(parent: ET.Element, mark: Mark, x: float, y: float) -> ET.Element:
    """Tell marks apart by shape as well as by colour: a disc, a diamond, a cross."""
    size = _RADIUS + 1
    match mark:
        case "fired":
            place = {"cx": f"{x:.1f}", "cy": f"{y:.1f}", "r": f"{_RADIUS:g}"}
            return ET.SubElement(parent, "circle", {"class": mark} | place)
        case "held":
            path = f"M{x:.1f} {y - size:.1f}l{size:g} {size:g}l{-size:g} {size:g}l{-size:g} {-size:g}Z"
        case "failed":
            arm = _RADIUS
            path = f"M{x - arm:.1f} {y - arm:.1f}l{2 * arm:g} {2 * arm:g}m0 {-2 * arm:g}l{-2 * arm:g} {2 * arm:g}"
    return ET.SubElement(parent, "path", {"class": mark, "d": path})


def _rect(parent: ET.Element, kind: str, x: float, y: float, width: float, height: float) -> None:
    place = {"x": f"{x:g}", "y": f"{y:g}", "width": f"{width:g}", "height": f"{height:g}"}
    ET.SubElement(parent, "rect", {"class": kind} | place)


def _text(parent: ET.Element, x: float, y: float, told: str, kind: str, *, anchor: str = "start") -> None:
    place = {"x": f"{x:.1f}", "y": f"{y:.1f}", "text-anchor": anchor}
    ET.SubElement(parent, "text", {"class": kind} | place).text = told


def _clean(text: str, longest: int) -> str:
    """Return text that XML can hold, cut to a length."""
    shown = "".join(mark if mark.isprintable() else "\N{REPLACEMENT CHARACTER}" for mark in text)
    return shown if len(shown) <= longest else f"{shown[: longest - 1]}…"
