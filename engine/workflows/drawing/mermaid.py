"""A workflow as a Mermaid flowchart: text that documents and code hosts draw.

Nodes have numbers for names, since ids may be words of Mermaid's own (`end`). In labels all but letters, digits, blanks
and marks within words is written as its code: what tenants wrote is neither Mermaid, nor Markdown, nor HTML.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from engine.workflows.drawing.words import about, cut, lines, name_of
from models.workflow_enums import StepStatus, StepType

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from engine.workflows.definition import Definition, Step

_LONGEST_NAME: Final = 60
_LONGEST_LABEL: Final = 40
# `-` and `_` within a word are left to be read: Markdown makes nothing of them there.
_SPECIAL: Final = re.compile(r"(?<![^\W_])[-_]|[-_](?![^\W_])|[^\w ,-]")
_SHAPES: Final[Mapping[StepType, tuple[str, str]]] = {
    StepType.ACTION: ("[", "]"),
    StepType.CONDITION: ("{", "}"),
    StepType.DELAY: ("(", ")"),
    StepType.SPLIT: ("[/", "\\]"),
    StepType.MERGE: ("[\\", "/]"),
    StepType.WAIT_FOR_EVENT: (">", "]"),
    StepType.APPROVAL: ("{{", "}}"),
    StepType.SUBWORKFLOW: ("[[", "]]"),
}
_COLOURS: Final[Mapping[StepStatus, str]] = {
    StepStatus.PENDING: "fill:#f6f8fa,stroke:#8c959f,color:#1f2328",
    StepStatus.QUEUED: "fill:#ddf4ff,stroke:#54aeff,color:#1f2328",
    StepStatus.RUNNING: "fill:#b6e3ff,stroke:#0969da,stroke-width:3px,color:#1f2328",
    StepStatus.WAITING: "fill:#fff8c5,stroke:#bf8700,color:#1f2328",
    StepStatus.RETRYING: "fill:#ffd8b5,stroke:#bc4c00,color:#1f2328",
    StepStatus.COMPLETED: "fill:#dafbe1,stroke:#1a7f37,color:#1f2328",
    StepStatus.FAILED: "fill:#ffebe9,stroke:#cf222e,stroke-width:3px,color:#1f2328",
    StepStatus.SKIPPED: "fill:#ffffff,stroke:#8c959f,stroke-dasharray:4 3,color:#59636e",
    StepStatus.CANCELLED: "fill:#eaeef2,stroke:#59636e,stroke-dasharray:4 3,color:#59636e",
}


def mermaid(definition: Definition, statuses: Mapping[str, str] | None = None) -> str:
    """Return the flowchart, from top to bottom; with `statuses` (by step, of one instance) in their colours."""
    numbers = {step_id: f"s{index}" for index, step_id in enumerate(definition.steps)}
    drawn = ["flowchart TD"]
    drawn += [f"    {numbers[step.id]}{_node(step)}" for step in definition.steps.values()]
    for line in lines(definition):
        arrow = "-.->" if line.fails else "-->"
        label = f'|"{escaped(cut(line.text, _LONGEST_LABEL))}"|' if line.text else ""
        drawn.append(f"    {numbers[line.source]} {arrow}{label} {numbers[line.target]}")
    if statuses is not None:
        drawn += _coloured(numbers, statuses)
    return "\n".join(drawn) + "\n"


def escaped(text: str) -> str:
    """Return a label that Mermaid shows as the text is."""
    return _SPECIAL.sub(lambda found: f"#{ord(found[0])};", text)


def _node(step: Step) -> str:
    opening, closing = _SHAPES[step.type]
    said = [escaped(cut(text, _LONGEST_NAME)) for text in (name_of(step), about(step))]
    return f'{opening}"{"<br/>".join(said)}"{closing}'


def _coloured(numbers: Mapping[str, str], statuses: Mapping[str, str]) -> Iterator[str]:
    for status, colours in _COLOURS.items():
        alike = [number for step_id, number in numbers.items() if statuses.get(step_id, StepStatus.PENDING) == status]
        if alike:
            yield f"    classDef {status.value} {colours}"
            yield f"    class {','.join(alike)} {status.value}"
