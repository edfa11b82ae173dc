"""Generated workflows as documents: random acyclic graphs, every step of which can be reached."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from hypothesis import strategies as st

from engine.workflows.reading import parse_definition

if TYPE_CHECKING:
    from collections.abc import Sequence

    from hypothesis.strategies import DrawFn

    from engine.workflows.definition import Definition

ON_FAILURE: Final = ("fail", "continue", "pause", "branch")
KINDS: Final = ("call", "condition", "parallel", "weighted", "merge")
_WITHOUT_BRANCH: Final = {"branch": "continue"}
_FAIL_SOMEWHERE: Final = {"action", "approval", "wait_for_event"}
"""Types whose failure may lead on by a way of its own."""
_REACH: Final = 4
"""How far ahead a step may lead: near ones meet again."""


@st.composite
def documents(
    draw: DrawFn,
    *,
    least: int = 1,
    most: int = 9,
    kinds: Sequence[str] = KINDS,
    modes: Sequence[str] = ("all", "any", "n"),
    on_failure: Sequence[str] = ON_FAILURE,
    calls: Sequence[str] = ("cmis.noop",),
) -> dict[str, Any]:
    """Draw the document of a workflow of up to `most` steps, `s0` first; no step is there that nothing leads to.

    Its conditions read what the context says of the step; its callables are among `calls`.
    """
    size = draw(st.integers(least, most))
    shapes = [_draw_step(_Drawing(draw, number, size, calls), kinds, modes, on_failure) for number in range(size)]
    return {"steps": _reachable(shapes)}


def definitions(**given: Any) -> st.SearchStrategy[Definition]:
    """Draw a workflow that has been read."""
    return documents(**given).map(parse_definition)


@dataclass(frozen=True)
class _Drawing:
    """One step that is being drawn."""

    draw: DrawFn
    number: int
    size: int
    calls: Sequence[str]

    def lead(self) -> str | None:
        """Draw where a way leads: to a step further on, or nowhere."""
        target = self.number + self.draw(st.integers(0, _REACH))
        return None if target == self.number or target >= self.size else f"s{target}"

    def condition(self) -> dict[str, Any]:
        tree = [{"field": f"context.s{self.number}", "operator": "=", "value": "yes"}]
        ways = {key: self.lead() for key in ("true_next", "false_next", "unknown_next")}
        return {"type": "condition", "config": {"conditions": tree, **ways}}

    def split(self, kind: str) -> dict[str, Any] | None:
        led = [self.lead() for _ in range(self.draw(st.integers(2, 3)))]
        branches: list[Any] = [target for target in dict.fromkeys(led) if target]
        if kind == "weighted":
            branches = [{"next": target, "weight": 1} for target in branches]
        return {"type": "split", "config": {"mode": kind, "branches": branches}} if len(branches) > 1 else None

    def merge(self, modes: Sequence[str]) -> dict[str, Any]:
        config: dict[str, Any] = {"mode": self.draw(st.sampled_from(modes))}
        if config["mode"] != "all":
            config["cancel_losers"] = self.draw(st.booleans())
        return {"type": "merge", "config": config, "next": self.lead()}

    def delay(self) -> dict[str, Any]:
        return {"type": "delay", "config": {"minutes": self.draw(st.integers(1, 3))}, "next": self.lead()}

    def approval(self) -> dict[str, Any]:
        asked = {"title": "May it?", "timeout": {"minutes": 2}}
        ways = {key: self.lead() for key in ("rejected_next", "timeout_next")}
        return {"type": "approval", "config": asked | ways, "next": self.lead()}

    def event(self) -> dict[str, Any]:
        awaited = {"event_type": "thing.happened", "timeout": {"minutes": 3}, "timeout_next": self.lead()}
        return {"type": "wait_for_event", "config": awaited, "next": self.lead()}

    def call(self) -> dict[str, Any]:
        retry = {"max_retries": self.draw(st.integers(0, 2)), "base_seconds": 1, "cap_seconds": 10}
        called = {"callable": self.draw(st.sampled_from(self.calls))}
        return {"type": "action", "config": called, "next": self.lead(), "retry": retry}


def _draw_step(
    drawing: _Drawing, kinds: Sequence[str], modes: Sequence[str], on_failure: Sequence[str]
) -> dict[str, Any]:
    kind = drawing.draw(st.sampled_from(kinds))
    rule = drawing.draw(st.sampled_from(on_failure))
    if kind in {"parallel", "weighted"}:
        step = drawing.split(kind) or drawing.call()
    elif kind == "merge":
        step = drawing.merge(modes)
    else:
        step = getattr(drawing, kind)()
    branch = drawing.lead() if rule == "branch" and step["type"] in _FAIL_SOMEWHERE else None
    follows: object = {"next": branch} if branch else _WITHOUT_BRANCH.get(rule, rule)
    if step["type"] in {"condition", "split"}:
        follows = "fail" if rule == "fail" else "pause"
    return {"id": f"s{drawing.number}", "on_failure": follows, **step}


def _reachable(shapes: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Keep what the first step leads to, and merges that merge something."""
    inputs: dict[str, set[str]] = {"s0": set()}
    steps = []
    for shape in shapes:
        if shape["id"] not in inputs:
            continue
        led = len(inputs[shape["id"]])
        if shape["type"] == "merge":
            if led < 2:
                shape |= {"type": "action", "config": {"callable": "cmis.noop"}}
            elif shape["config"]["mode"] == "n":
                shape["config"]["n"] = 2
        for target in _targets(shape):
            inputs.setdefault(target, set()).add(shape["id"])
        steps.append(shape)
    return steps


def _targets(step: dict[str, Any]) -> set[str]:
    config, follows = step["config"], step.get("on_failure")
    named = {step.get("next"), follows["next"] if isinstance(follows, dict) else None}
    named |= {value for key, value in config.items() if key.endswith("_next")}
    named |= {one["next"] if isinstance(one, dict) else one for one in config.get("branches", ())}
    return {one for one in named if one}
