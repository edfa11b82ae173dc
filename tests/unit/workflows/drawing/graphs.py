"""Workflows to draw: small ones of every type, random ones, and some that are large."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from hypothesis import strategies as st

from engine.workflows.definition import Definition, Step
from models.workflow_enums import StepType

if TYPE_CHECKING:
    from collections.abc import Mapping

HOT: Final = {"field": "lead.score", "operator": ">", "value": 80}
EVERY_TYPE: Final[Mapping[str, tuple[StepType, dict[str, Any], dict[str, str | None]]]] = {
    "rate": (
        StepType.CONDITION,
        {
            "cases": [
                {"label": "case:0", "when": {"all": [HOT]}},
                {"label": "case:1", "when": {"field": "lead.country", "operator": "in", "value": ["DE", "AT"]}},
            ],
            "default": "default",
        },
        {"case:0": "call", "case:1": "both", "default": "ab", "unknown": "ask"},
    ),
    "call": (
        StepType.ACTION,
        {"action": "notify", "params": {}, "campaign": None},
        {"next": "end", "failure": "mend"},
    ),
    "both": (StepType.SPLIT, {"mode": "parallel", "weights": None}, {"branch:0": "wait", "branch:1": "reply"}),
    "wait": (StepType.DELAY, {"seconds": 172800.0, "until": None, "business_hours": True}, {"next": "join"}),
    "reply": (
        StepType.WAIT_FOR_EVENT,
        {"event_type": "lead.replied", "field": "id", "value": "1", "timeout_seconds": 3600.0},
        {"next": "join", "timeout": "mend"},
    ),
    "join": (StepType.MERGE, {"mode": "n", "n": 2, "cancel_losers": True}, {"next": "end"}),
    "ab": (
        StepType.SPLIT,
        {"mode": "weighted", "weights": {"branch:0": 1.0, "branch:1": 3.0}},
        {"branch:0": "call", "branch:1": "child"},
    ),
    "child": (
        StepType.SUBWORKFLOW,
        {"template": "Nurture", "version": None, "context": {}, "wait": True},
        {"next": "end"},
    ),
    "ask": (
        StepType.APPROVAL,
        {"title": "Look", "message": "", "role": "editor", "timeout_seconds": None},
        {"next": "end", "rejected": "mend"},
    ),
    "mend": (StepType.ACTION, {"callable": "crm.mend", "params": {}}, {}),
    "end": (StepType.DELAY, {"seconds": 0.5, "until": "{{ context.at }}", "business_hours": False}, {"next": None}),
}


def every_type(name: str | None = None) -> Definition:
    """One step of each type at least, each with this name."""
    steps = {key: Step(key, *made, name=name) for key, made in EVERY_TYPE.items()}
    return Definition(steps, "rate")


def act(step_id: str, **edges: str | None) -> Step:
    return Step(step_id, StepType.ACTION, {"action": "notify", "params": {}, "campaign": None}, edges)


def splitting(step_id: str, targets: list[str]) -> Step:
    edges = {f"branch:{index}": target for index, target in enumerate(targets)}
    return Step(step_id, StepType.SPLIT, {"mode": "parallel", "weights": None}, edges)


def of(*steps: Step) -> Definition:
    return Definition({step.id: step for step in steps}, steps[0].id)


def graph(ways: list[set[int]]) -> Definition:
    """A graph whose step i leads to the steps named."""
    return of(*(splitting(f"s{index}", [f"s{target}" for target in sorted(found)]) for index, found in enumerate(ways)))


@st.composite
def graphs(draw: st.DrawFn, largest: int = 14) -> Definition:
    """Draw a graph in which each step is reachable and none leads back."""
    size = draw(st.integers(1, largest))
    ways: list[set[int]] = [set() for _ in range(size)]
    for target in range(1, size):
        for source in draw(st.sets(st.integers(0, target - 1), min_size=1, max_size=3)):
            ways[source].add(target)
    return graph(ways)


def chain_with_handler(size: int) -> Definition:
    """A chain each of whose steps leads to its last one if it fails."""
    last = f"s{size - 1}"
    steps = [act(f"s{index}", next=f"s{index + 1}", failure=last) for index in range(size - 2)]
    return of(*steps, act(f"s{size - 2}", next=None, failure=last), act(last))


def nested(size: int) -> Definition:
    """A chain whose first half leads to its second, the first step to the last: hardly two ways can share a line."""
    half = size // 2 - 1
    return of(
        *(
            act(
                f"s{index}",
                next=f"s{index + 1}" if index < size - 1 else None,
                failure=f"s{size - 1 - index}" if index < half else None,
            )
            for index in range(size)
        )
    )


def fan(size: int) -> Definition:
    """A split into many branches that meet again."""
    names = [f"s{index}" for index in range(size - 2)]
    merge = Step("m", StepType.MERGE, {"mode": "all", "n": None, "cancel_losers": False}, {"next": None})
    return of(splitting("f", names), *(act(name, next="m") for name in names), merge)
