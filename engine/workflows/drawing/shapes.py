"""How steps look in an SVG: a shape for each type, colours for types and statuses, texts as long as there is room."""

from __future__ import annotations

import unicodedata
from typing import TYPE_CHECKING, Final

from engine.workflows.drawing.spreading import STEP_WIDTH
from engine.workflows.drawing.words import CUT, cut
from models.workflow_enums import StepType

if TYPE_CHECKING:
    from collections.abc import Mapping

STEP_HEIGHT: Final = 52.0
STYLE: Final = """
text{font:11px system-ui,-apple-system,"Segoe UI",Roboto,Helvetica,Arial,sans-serif;fill:#1f2328;text-anchor:middle}
.title{font-size:18px;font-weight:600;text-anchor:start}.head{text-anchor:start}.name{font-size:13px;font-weight:600}
.muted{fill:#59636e}.paper{fill:#ffffff}.shape{fill:#f6f8fa;stroke:#8c959f;stroke-width:1.5}
.way{fill:none;stroke:#59636e;stroke-width:1.5}.fails{stroke:#cf222e;stroke-dasharray:5 4}.tip{fill:#59636e}
.label{fill:#59636e;paint-order:stroke;stroke:#ffffff;stroke-width:6;stroke-linejoin:round}
.condition .shape{fill:#fbefff;stroke:#8250df}.delay .shape,.wait_for_event .shape{fill:#fff8c5;stroke:#bf8700}
.approval .shape{fill:#fff1e5;stroke:#bc4c00}.split .shape,.merge .shape{fill:#ddf4ff;stroke:#54aeff}
.run .shape{fill:#f6f8fa;stroke:#8c959f}
.run.queued .shape{fill:#ddf4ff;stroke:#54aeff}.run.running .shape{fill:#b6e3ff;stroke:#0969da;stroke-width:3}
.run.waiting .shape{fill:#fff8c5;stroke:#bf8700}.run.retrying .shape{fill:#ffd8b5;stroke:#bc4c00}
.run.completed .shape{fill:#dafbe1;stroke:#1a7f37}.run.failed .shape{fill:#ffebe9;stroke:#cf222e;stroke-width:3}
.run.skipped .shape,.run.cancelled .shape{stroke-dasharray:4 3}.run.cancelled .shape{fill:#eaeef2}
@media (prefers-color-scheme:dark){.paper{fill:#0d1117}.title,.head{fill:#e6edf3}.way{stroke:#9198a1}.tip{fill:#9198a1}
.fails{stroke:#ff7b72}.label{fill:#9198a1;stroke:#0d1117}.head.muted{fill:#9198a1}}
"""


def fitting(text: str, room: int) -> str:
    """Return a text cut to the room of so many Latin letters; those of East Asia take two."""
    shown, used = cut(text, room), 0
    for place, mark in enumerate(shown):
        used += 1 + (unicodedata.east_asian_width(mark) in {"W", "F"})
        if used > room:
            return f"{shown[: place - 1].rstrip()}{CUT}"
    return shown


_W: Final = STEP_WIDTH
_H: Final = STEP_HEIGHT
_SLANT: Final = 14.0
_ARC: Final = f"a{_H / 2} {_H / 2} 0 0 1 0"
_BOX: Final = f"M0 0H{_W}V{_H}H0Z"

SHAPES: Final[Mapping[StepType, str]] = {
    StepType.ACTION: _BOX,
    StepType.CONDITION: f"M{_SLANT} 0H{_W - _SLANT}L{_W} {_H / 2}L{_W - _SLANT} {_H}H{_SLANT}L0 {_H / 2}Z",
    StepType.DELAY: f"M{_H / 2} 0H{_W - _H / 2}{_ARC} {_H}H{_H / 2}{_ARC} {-_H}Z",
    StepType.SPLIT: f"M{_SLANT} 0H{_W - _SLANT}L{_W} {_H}H0Z",
    StepType.MERGE: f"M0 0H{_W}L{_W - _SLANT} {_H}H{_SLANT}Z",
    StepType.WAIT_FOR_EVENT: f"M0 0H{_W}V{_H}H0L{_SLANT} {_H / 2}Z",
    StepType.APPROVAL: f"M{_SLANT} 0H{_W - _SLANT}L{_W} {_SLANT}V{_H - _SLANT}L{_W - _SLANT} {_H}H{_SLANT}"
    f"L0 {_H - _SLANT}V{_SLANT}Z",
    StepType.SUBWORKFLOW: f"{_BOX}M8 0V{_H}M{_W - 8} 0V{_H}",
}
"""By type, the outline, from the upper left corner of the step's room."""
