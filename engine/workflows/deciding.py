"""By which label a condition is left: its cases are tried in their order, and what was found is told.

A field is a dotted path. One that begins with `context` or `steps` says where it looks (`steps.score.output.value`);
any other is looked up in the context. Three-valued as rules are: what is missing, or cannot be compared, is unknown.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final

from core.errors import InputError
from engine.rules import conditions, evaluate
from engine.rules.fields import PAYLOAD_FIELDS
from engine.rules.payload import value_at
from engine.rules.tree import operands

if TYPE_CHECKING:
    from collections.abc import Mapping

    from engine.rules.reading import Problems
    from engine.rules.tree import Condition

CONTEXT: Final = "context"
STEPS: Final = "steps"
UNKNOWN: Final = "unknown"
LONGEST_TRACE: Final = 65_536
"""Characters of all cases' traces as JSON; of a case beyond them the result alone is told."""


def branch(config: Mapping[str, Any], values: Mapping[str, Any], *, has_unknown: bool) -> tuple[str, dict[str, Any]]:
    """Return the label that a condition is left by, and why, JSON-ready.

    The first case that is true is taken; an unknown one is left by `unknown` where the step has that edge
    (`has_unknown`), and is passed over as a false one is where it has not. `values` is plain JSON, as
    `resolving.resolved` takes it. Why: `{"cases": [{"label", "result", "when"}]}` of the cases tried, `when` as
    `engine.rules.evaluate.trace` writes it.
    """
    tried: list[dict[str, Any]] = []
    for case in config["cases"]:
        tree = conditions.parse(case["when"], known_fields=PAYLOAD_FIELDS, path="when")
        facts = {operand.key: value_at(values, ".".join(path_of(operand.field))) for operand in operands(tree)}
        told = evaluate.trace(tree, facts)
        tried.append({"label": case["label"], "result": told["result"], "when": told})
        if told["result"] is True:
            return case["label"], _why(tried)
        if told["result"] is None and has_unknown:
            return UNKNOWN, _why(tried)
    return config["default"], _why(tried)


def parse_when(document: object, path: str, problems: Problems) -> Condition | None:
    """Read the tree of a case, or a list of conditions that all must hold; None with every problem noted."""
    try:
        return conditions.parse(document, known_fields=PAYLOAD_FIELDS, path=path)
    except InputError as error:
        problems.extend(error)
        return None


def fields_read(tree: Condition) -> tuple[tuple[str, ...], ...]:
    """Return the paths that a tree reads, each from its root: `("context", "lead", "score")`, `("steps", "a", …)`."""
    return tuple(sorted({path_of(operand.field) for operand in operands(tree)}))


def path_of(field: str) -> tuple[str, ...]:
    """Return the path of a condition's field, from its root."""
    parts = tuple(field.split("."))
    return parts if parts[0] in {CONTEXT, STEPS} and len(parts) > 1 else (CONTEXT, *parts)


def _why(tried: list[dict[str, Any]]) -> dict[str, Any]:
    left = LONGEST_TRACE
    for case in tried:
        left -= len(json.dumps(case["when"]))
        if left < 0:
            case["when"] = None
    return {"cases": tried}
