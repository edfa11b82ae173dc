"""Whether the secrets that a rule names are there: looked at when it is stored, so that no delivery has to find out."""

from __future__ import annotations

from typing import TYPE_CHECKING

from core.errors import InputError, Problem
from engine.secrets.references import SCHEME, found
from engine.store import secrets

if TYPE_CHECKING:
    from collections.abc import Sequence
    from uuid import UUID

    from sqlalchemy import Connection

    from engine.actions.registry import ActionSpec


def refuse_unknown(connection: Connection, org_id: UUID, actions: Sequence[ActionSpec], path: str) -> None:
    """Raise InputError with every reference in parameters that names no secret of the org with a value."""
    named = [
        reference
        for index, action in enumerate(actions)
        for reference in found(action.params, f"{path}[{index}].params")
    ]
    problems = unknown(connection, org_id, named)
    if problems:
        raise InputError(problems)


def unknown(connection: Connection, org_id: UUID, named: Sequence[tuple[str, str | None]]) -> list[Problem]:
    """Return a problem for each reference, given by its path, that names no secret of the org with a value."""
    if not named:
        return []
    there = secrets.there(connection, org_id, {name for _, name in named if name is not None})
    return [_problem(at, name) for at, name in dict.fromkeys(named) if name not in there]


def _problem(path: str, name: str | None) -> Problem:
    if name is None:
        remedy = "a name has at most 63 of a-z, 0-9, _ and -, and begins with a letter"
        return Problem(path, f"has {SCHEME} without the name of a secret", remedy)
    remedy = f"`cmis secrets set {name}`, or `cmis secrets generate {name}` where it signs webhooks"
    return Problem(path, f"there is no secret {name!r} in this org", remedy)
