"""Documents of steps: one of each form that there is, and small definitions made of them."""

from __future__ import annotations

import copy
from typing import Any, Final

LEAF: Final[dict[str, Any]] = {"field": "score", "operator": ">", "value": 5}

STEPS: Final[dict[str, dict[str, Any]]] = {
    "action": {
        "id": "a",
        "type": "action",
        "name": "Pause it",
        "config": {"action": "pause_campaign", "params": {}, "campaign": "{{ context.campaign }}"},
        "next": "b",
        "retry": {"max_retries": 5, "base_seconds": 1, "factor": 3, "cap_seconds": 60, "non_retryable": ["NOT_FOUND"]},
        "on_failure": {"next": "c"},
        "timeout_seconds": 30,
    },
    "callable": {"id": "a", "type": "action", "config": {"callable": "cmis.noop", "params": {"x": [1, {"y": None}]}}},
    "condition": {
        "id": "a",
        "type": "condition",
        "config": {"conditions": [LEAF], "true_next": "b", "false_next": "c", "unknown_next": "d"},
        "on_failure": "pause",
    },
    "cases": {
        "id": "a",
        "type": "condition",
        "config": {"cases": [{"when": LEAF, "next": "b"}, {"when": {"none": [LEAF]}}], "default": "c"},
    },
    "delay": {"id": "a", "type": "delay", "config": {"days": 2, "hours": 1.5, "next_business_hour": True}, "next": "b"},
    "until": {"id": "a", "type": "delay", "config": {"until": "{{ context.when }}"}, "on_failure": "continue"},
    "parallel": {"id": "a", "type": "split", "config": {"mode": "parallel", "branches": ["b", "c"]}},
    "weighted": {
        "id": "a",
        "type": "split",
        "config": {"mode": "weighted", "branches": [{"next": "b", "weight": 70}, {"weight": 30.5}]},
    },
    "merge": {"id": "a", "type": "merge", "next": "b"},
    "any": {"id": "a", "type": "merge", "config": {"mode": "any", "cancel_losers": False}},
    "n": {"id": "a", "type": "merge", "config": {"mode": "n", "n": 2}, "next": "b"},
    "event": {
        "id": "a",
        "type": "wait_for_event",
        "config": {
            "event_type": "lead.replied",
            "correlation": {"field": "lead.id", "value": "{{ context.lead.id }}"},
            "timeout": {"days": 3},
            "timeout_next": "c",
        },
        "next": "b",
        "on_failure": {"next": "d"},
    },
    "approval": {
        "id": "a",
        "type": "approval",
        "config": {
            "title": "Publish {{ context.title }}?",
            "message": "Please look.",
            "role": "admin",
            "timeout": {"hours": 12},
            "timeout_next": "c",
            "rejected_next": "d",
        },
        "next": "b",
    },
    "subworkflow": {
        "id": "a",
        "type": "subworkflow",
        "config": {"template": "Tell", "version": 2, "context": {"who": "{{ context.who }}"}, "wait": False},
        "next": "b",
        "retry": {"max_retries": 0},
    },
}
"""By what they show; the targets are `b`, `c` and `d`."""


def noop(step_id: str, following: str | None = None, **params: Any) -> dict[str, Any]:
    """Return a step that does nothing."""
    step = {"id": step_id, "type": "action", "config": {"callable": "cmis.noop", "params": params}}
    return step if following is None else {**step, "next": following}


def around(step: dict[str, Any]) -> dict[str, Any]:
    """Return a definition in which a step of STEPS stands, with the steps that it leads to."""
    if step["type"] != "merge":
        begins: list[dict[str, Any]] = []
    else:
        begins = [
            {"id": "s", "type": "split", "config": {"mode": "parallel", "branches": ["x", "y"]}},
            noop("x", "a"),
            noop("y", "a"),
        ]
    return {"steps": [*begins, copy.deepcopy(step), *(noop(target) for target in sorted(_targets(step)))]}


def chain(count: int) -> dict[str, Any]:
    """Return a definition of so many steps, one after another, each of which refers to the one before."""
    steps = [
        noop(f"s{n}", f"s{n + 1}", text=f"{{{{ steps.s{n - 1}.output.x }}}} {{{{ context.y }}}}") for n in range(count)
    ]
    steps[0] = noop("s0", "s1")
    del steps[-1]["next"]
    return {"steps": steps}


def _targets(node: Any) -> set[str]:
    if isinstance(node, dict):
        return set().union(*(_targets(value) for key, value in node.items() if key not in {"id", "params", "context"}))
    if isinstance(node, list):
        return set().union(*map(_targets, node))
    return {node} if node in {"b", "c", "d"} else set()
