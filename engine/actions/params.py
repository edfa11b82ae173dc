"""Reading the parameters of actions: every problem at once, each at its path."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from core.errors import InputError, Problem
from engine.rules.document import json_number
from engine.rules.reading import exact_number

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping
    from decimal import Decimal


_SHOWN: Final = 200


def unknown_keys(params: Mapping[str, Any], allowed: Collection[str], path: str) -> list[Problem]:
    """Return a problem for each parameter that the action does not know."""
    remedy = f"allowed: {', '.join(allowed)}" if allowed else "this action has no parameters"
    return [Problem(f"{path}.{key}", "unknown parameter", remedy) for key in params if key not in allowed]


def refuse_unknown(params: Mapping[str, Any], allowed: Collection[str], path: str) -> dict[str, Any]:
    """Return the parameters if the action knows them all and each is a text."""
    problems = unknown_keys(params, allowed, path)
    for key in allowed:
        if key in params and not (isinstance(params[key], str) and params[key].strip()):
            problems.append(Problem(f"{path}.{key}", "must be a text that is not blank", "or leave it out"))
    if problems:
        raise InputError(problems)
    return dict(params)


def amount(
    params: Mapping[str, Any], key: str, path: str, problems: list[Problem], *, low: Decimal, high: Decimal
) -> Decimal | None:
    """Return a number between `low` and `high`; None, with the problem noted, if it is none; None if it is absent."""
    if params.get(key) is None:
        return None
    value = exact_number(params[key])
    if value is not None and low <= value <= high:
        return value
    said = "must be a number, not" if value is None else "is out of range:"
    remedy = f"allowed: {json_number(low)} to {json_number(high)}"
    problems.append(Problem(f"{path}.{key}", f"{said} {params[key]!r}"[:_SHOWN], remedy))
    return None
