"""The config of the steps that act, decide and lead on: as a person writes it to its canonical form. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from core.errors import InputError
from engine.rules import conditions
from engine.rules.document import to_document
from engine.rules.fields import PAYLOAD_FIELDS
from engine.rules.reading import listed, shown
from engine.rules.tree import operands
from engine.workflows.definition import NEXT
from engine.workflows.drafts import MAX_SECONDS, added, object_reader, refers

if TYPE_CHECKING:
    from engine.workflows.drafts import Draft

MAX_NAME: Final = 200
MAX_TIME: Final = 1_000
_MAX_CASES: Final = 100
_UNITS: Final = ("seconds", "minutes", "hours", "days")
_MODES: Final = ("parallel", "weighted")
_MERGES: Final = ("all", "any", "n")
_MAX_WEIGHT: Final = 1_000_000_000
_CONTEXT: Final = "context"
_STEPS: Final = "steps"


def action(draft: Draft) -> dict[str, Any]:
    """Read what is done: an action of rules, or a registered Python callable, with its parameters."""
    config = draft.config
    kind, called = config.get("action"), config.get("callable")
    if (kind is None) == (called is None):
        said = "needs an action or a callable" if kind is None else "has an action and a callable"
        draft.problems.add(config.at("action"), said, "give exactly one of them")
        return {}
    params = config.get("params")
    if params is not None and not isinstance(params, dict):
        draft.problems.add(config.at("params"), f"must be an object, not {shown(params)}", "write {name: value}")
        params = None
    draft.refer(params, config.at("params"), secrets=called is None)
    params = {} if params is None else params
    if called is not None:
        if config.get("campaign") is not None:
            draft.problems.add(config.at("campaign"), "is for actions, not for callables", "make it one of its params")
        return {"callable": config.text("callable", "", MAX_NAME), "params": params}
    campaign = config.optional_text("campaign", MAX_NAME)
    draft.refer(campaign, config.at("campaign"))
    return {"action": config.text("action", "", MAX_NAME), "params": params, "campaign": campaign}


def condition(draft: Draft) -> dict[str, Any]:
    """Read a tree with its two ways, or cases that are tried one after another."""
    config = draft.config
    if config.get("unknown_next") is not None:
        draft.lead("unknown", config, "unknown_next")
    if (config.get("conditions") is None) == (config.get("cases") is None):
        said = "needs conditions or cases" if config.get("cases") is None else "has conditions and cases"
        draft.problems.add(config.at("conditions"), said, "give exactly one of them")
        return {}
    by_cases = config.get("cases") is not None
    for key in ("true_next", "false_next") if by_cases else ("default",):
        if config.get(key) is not None:
            remedy = "use cases[].next and default" if by_cases else "use false_next"
            draft.problems.add(config.at(key), f"means nothing beside {'cases' if by_cases else 'conditions'}", remedy)
    if by_cases:
        cases = _cases(draft)
        draft.lead("default", config, "default")
        return {"cases": cases, "default": "default"}
    draft.lead("true", config, "true_next")
    draft.lead("false", config, "false_next")
    tree = _tree(draft, config.get("conditions"), config.at("conditions"))
    return {"cases": [{"label": "true", "when": tree}], "default": "false"}


def delay(draft: Draft) -> dict[str, Any]:
    """Read how long is waited, or until when, and whether for the org's next business hour."""
    config = draft.config
    timed = any(config.get(unit) is not None for unit in _UNITS)
    until = config.optional_text("until", MAX_TIME)
    draft.refer(until, config.at("until"))
    business = config.boolean("next_business_hour", default=False)
    if timed and until is not None:
        draft.problems.add(config.at("until"), "stands beside a duration", "give one of them")
    if not timed and until is None and not business:
        remedy = f"give some of {listed(_UNITS)}, or until, or next_business_hour: true"
        draft.problems.add(config.at("seconds"), "or another time to wait for is required", remedy)
    seconds = added(config)
    if seconds > MAX_SECONDS:
        draft.problems.add(config.at("seconds"), f"{seconds:g} in all", f"give at most {MAX_SECONDS:,}: ten years")
    return {"seconds": float(seconds), "until": until, "business_hours": business}


def split(draft: Draft) -> dict[str, Any]:
    """Read the branches: all of them are taken, or one by its weight."""
    config = draft.config
    mode = _one_of(draft, "mode", _MODES)
    branches = config.required("branches")
    if branches is None or mode is None:
        return {}
    if not isinstance(branches, list) or not branches:
        draft.problems.add(config.at("branches"), "must be a list of at least one branch", _forms(mode))
        return {}
    if mode == "weighted":
        return {"mode": mode, "weights": _weighted(draft, branches)}
    for index, target in enumerate(branches):
        place = f"{config.at('branches')}[{index}]"
        if not isinstance(target, str):
            draft.problems.add(place, f"must be the id of a step, not {shown(target)}", _forms(mode))
        draft.lead_to(f"branch:{index}", target if isinstance(target, str) else None, place)
    _refuse_twice(draft)
    return {"mode": mode, "weights": None}


def merge(draft: Draft) -> dict[str, Any]:
    """Read how many of the branches that were taken are waited for."""
    config = draft.config
    mode = "all" if config.get("mode") is None else _one_of(draft, "mode", _MERGES)
    number = None
    if mode == "n":
        number = config.integer("n", 1, 1, 2_000) if config.required("n") is not None else 1
    elif config.get("n") is not None:
        draft.problems.add(config.at("n"), f"means nothing where mode is {mode}", "leave it out, or make mode n")
    if mode == "all" and config.get("cancel_losers") is not None:
        message = "means nothing where all are waited for"
        draft.problems.add(config.at("cancel_losers"), message, "leave it out, or make mode any or n")
    cancels = mode != "all" and config.boolean("cancel_losers", default=mode == "any")
    return {"mode": mode, "n": number, "cancel_losers": cancels}


def _cases(draft: Draft) -> list[dict[str, Any]]:
    cases, place = draft.config.get("cases"), draft.config.at("cases")
    if not isinstance(cases, list) or not 1 <= len(cases) <= _MAX_CASES:
        draft.problems.add(place, f"must be a list of 1 to {_MAX_CASES} cases", "write [{when, next}]")
        return []
    read = []
    for index, case in enumerate(cases):
        at, label = f"{place}[{index}]", f"case:{index}"
        if not isinstance(case, dict):
            draft.problems.add(at, f"must be an object, not {shown(case)}", "write {when, next}")
            continue
        draft.problems.refuse_unknown_keys(case, ("when", NEXT), at)
        reader = object_reader(case, draft.problems, at)
        draft.lead(label, reader, NEXT)
        when = reader.required("when")
        if when is not None:
            read.append({"label": label, "when": _tree(draft, when, f"{at}.when")})
    return read


def _tree(draft: Draft, document: object, place: str) -> dict[str, object]:
    """Read a condition tree over dotted paths: `context.x`, `steps.ID.output.y`, or any other path in the context."""
    try:
        tree = conditions.parse(document, known_fields=PAYLOAD_FIELDS, path=place)
    except InputError as error:
        draft.problems.extend(error)
        return {}
    for operand in sorted(operands(tree), key=lambda one: one.field):
        path = tuple(operand.field.split("."))
        explicit = path[0] in {_CONTEXT, _STEPS} and len(path) > 1
        draft.references.append((place, path if explicit else (_CONTEXT, *path)))
    read = to_document(tree)
    if refers(read):
        remedy = 'compare with a field: {"field": "context.least"}'
        draft.problems.add(place, "has a reference in double braces, which is not filled in conditions", remedy)
    return read


def _weighted(draft: Draft, branches: list[Any]) -> dict[str, float]:
    weights: dict[str, float] = {}
    place = draft.config.at("branches")
    for index, branch in enumerate(branches):
        at, label = f"{place}[{index}]", f"branch:{index}"
        if not isinstance(branch, dict):
            draft.problems.add(at, f"must be an object, not {shown(branch)}", _forms("weighted"))
            continue
        draft.problems.refuse_unknown_keys(branch, (NEXT, "weight"), at)
        reader = object_reader(branch, draft.problems, at)
        draft.lead(label, reader, NEXT)
        if reader.required("weight") is not None:
            # a weight that is wrong counts as one, so that the sum is not said to be wrong, too
            weights[label] = reader.number("weight", 1, 0, _MAX_WEIGHT)
    if len(weights) == len(branches) and not any(weights.values()):
        draft.problems.add(place, "have weights whose sum is 0", "give at least one branch a weight above 0")
    return weights


def _refuse_twice(draft: Draft) -> None:
    first: dict[str, str] = {}
    for label, target in draft.edges.items():
        if target is not None and first.setdefault(target, label) != label:
            message = f"is {target!r} once more"
            draft.problems.add(draft.places[label], message, "name each step once: it is executed once only")


def _one_of(draft: Draft, key: str, allowed: tuple[str, ...]) -> str | None:
    value = draft.config.required(key)
    if value is None:
        return None
    if isinstance(value, str) and value in allowed:
        return value
    draft.problems.add(draft.config.at(key), f"cannot be {shown(value)}", f"allowed: {listed(allowed)}")
    return None


def _forms(mode: str) -> str:
    return "write [{next, weight}]" if mode == "weighted" else 'write ["ID", "ID"]'
