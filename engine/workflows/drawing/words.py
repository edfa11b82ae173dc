"""What a picture says of a step and of the ways out of it, in a few words."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final

from engine.rules import conditions
from engine.rules.fields import PAYLOAD_FIELDS
from engine.rules.sentence import duration, sentence
from engine.workflows.definition import FAILURE, NEXT
from models.workflow_enums import StepType

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from engine.workflows.definition import Definition, Step

CUT: Final = "…"


@dataclass(frozen=True, slots=True)
class Line:
    """A way from one step to another; `text` is empty where it goes without saying."""

    source: str
    target: str
    text: str
    fails: bool = False
    """Whether it is taken where the step fails, and only then."""


def name_of(step: Step) -> str:
    """Return what a person calls a step."""
    return step.name or step.id


def about(step: Step) -> str:
    """Return what a step does, as far as a few words can say it."""
    return _ABOUT[step.type](step.config)


def lines(definition: Definition) -> Iterator[Line]:
    """Yield the ways between steps in the order of the document: one from a step to another, whatever leads there."""
    for step in definition.steps.values():
        for target in step.targets:
            labels = [label for label, leads_to in step.edges.items() if leads_to == target]
            texts = [text for label in labels if (text := _label(step, label))]
            yield Line(step.id, target, ", ".join(texts), fails=labels == [FAILURE])


def cut(text: str, longest: int) -> str:
    """Return a text on one line, its end replaced by … where it is longer."""
    shown = " ".join("".join(mark if mark.isprintable() or mark.isspace() else "\ufffd" for mark in text).split())
    return shown if len(shown) <= longest else f"{shown[: longest - 1].rstrip()}{CUT}"


def _label(step: Step, label: str) -> str:
    if label == NEXT:
        return ""
    if step.type is StepType.SPLIT:
        return _share(step.config["weights"], label)
    if step.type is StepType.CONDITION and label.startswith("case:"):
        return next((_condition(case["when"]) for case in step.config["cases"] if case["label"] == label), label)
    return label


def _share(weights: Mapping[str, float] | None, label: str) -> str:
    if weights is None:  # all branches are taken
        return ""
    return f"{100 * weights[label] / sum(weights.values()):.3g} %"


def _condition(when: object) -> str:
    return sentence(conditions.parse(when, known_fields=PAYLOAD_FIELDS, path="when"))


def _action(config: Mapping[str, Any]) -> str:
    return str(config["action"] if "action" in config else config["callable"])


def _cases(config: Mapping[str, Any]) -> str:
    cases = config["cases"]
    return f"if {_condition(cases[0]['when'])}" if config["default"] == "false" else f"{len(cases)} cases"


def _delay(config: Mapping[str, Any]) -> str:
    said = [] if config["until"] is None else [f"until {config['until']}"]
    if config["seconds"]:
        said.append(_span(config["seconds"]))
    if config["business_hours"]:
        said.append("next business hour")
    return "wait " + ", then ".join(said) if said else "wait"


def _split(config: Mapping[str, Any]) -> str:
    return "all branches" if config["mode"] == "parallel" else "one branch, by weight"


def _merge(config: Mapping[str, Any]) -> str:
    waited = f"{config['n']}" if config["mode"] == "n" else config["mode"]
    return f"wait for {waited}{', cancel the rest' if config['cancel_losers'] else ''}"


def _event(config: Mapping[str, Any]) -> str:
    return f"event {config['event_type']}{_within(config)}"


def _approval(config: Mapping[str, Any]) -> str:
    return f"approval by {config['role']}{_within(config)}"


def _subworkflow(config: Mapping[str, Any]) -> str:
    return f"run {config['template']}"


def _within(config: Mapping[str, Any]) -> str:
    seconds = config["timeout_seconds"]
    return "" if seconds is None else f", within {_span(seconds)}"


def _span(seconds: float) -> str:
    return duration(timedelta(seconds=seconds)) if seconds >= 1 else f"{seconds:g} seconds"


_ABOUT: Final[Mapping[StepType, Callable[[Mapping[str, Any]], str]]] = {
    StepType.ACTION: _action,
    StepType.CONDITION: _cases,
    StepType.DELAY: _delay,
    StepType.SPLIT: _split,
    StepType.MERGE: _merge,
    StepType.WAIT_FOR_EVENT: _event,
    StepType.APPROVAL: _approval,
    StepType.SUBWORKFLOW: _subworkflow,
}
