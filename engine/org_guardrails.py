"""What binds all rules of an org: its guardrails and its never-touch list, read and changed by its admins."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from core.errors import InputError
from engine.find import find_campaign
from engine.rules.guardrails import DEFAULTS, Guardrails, read, stored, strictest
from engine.rules.reading import Problems
from engine.store import orgs

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from uuid import UUID

    from sqlalchemy import Connection, Row

    from core.db import Context, Database


@dataclass(frozen=True, slots=True)
class Change:
    """A change of what binds an org: bounds by name (None takes one away); campaigns, by id or name, to leave alone."""

    bounds: Mapping[str, object] = field(default_factory=dict)
    never_touch: Sequence[str] = ()
    touch: Sequence[str] = ()
    """Campaigns that are on the list and shall not be any more."""


@dataclass(frozen=True, slots=True)
class Bounds:
    """What binds an org: its own bounds, what binds with the product's defaults, and campaigns that are left alone."""

    own: Mapping[str, object]
    binding: Mapping[str, object]
    never_touch: Sequence[UUID]


def show(database: Database, context: Context) -> Bounds:
    """Return what binds the context's org."""
    with database.transaction(context) as connection:
        return _bounds(orgs.get(connection, context.org_id))


def change(database: Database, context: Context, wanted: Change) -> Bounds:
    """Change what binds the context's org, as one of its admins, and return it; InputError has every problem."""
    with database.transaction(context) as connection:
        row = orgs.get(connection, context.org_id)
        guardrails = _changed(row.guardrails, wanted.bounds)
        orgs.set_guardrails(connection, guardrails.document(), _listed(connection, row, wanted))
        return _bounds(orgs.get(connection, context.org_id))


def _changed(document: Mapping[str, Any], bounds: Mapping[str, object]) -> Guardrails:
    problems = Problems()
    guardrails = read(stored(document).document() | dict(bounds), problems, "--set")
    _compare_with_default_floor(guardrails, bounds, problems)
    problems.raise_if_any()
    return guardrails


def _compare_with_default_floor(guardrails: Guardrails, bounds: Mapping[str, object], problems: Problems) -> None:
    """Refuse a ceiling below the floor that binds where none is given: no budget could be changed between the two."""
    ceiling, floor = guardrails.budget_ceiling, DEFAULTS.budget_floor
    if guardrails.budget_floor is not None or ceiling is None or floor is None or ceiling >= floor:
        return
    if not bounds.keys().isdisjoint({"budget_floor", "budget_ceiling"}):
        message = f"is below {floor}, the budget_floor where none is set"
        problems.add("--set.budget_ceiling", message, "set a budget_floor of at most the ceiling, too")


def _listed(connection: Connection, row: Row[Any], wanted: Change) -> list[UUID]:
    """Return the never-touch list after a change, in its order."""
    adding, taking = (
        [find_campaign(connection, row.org_id, reference, option).campaign_id for reference in references]
        for references, option in ((wanted.never_touch, "--never-touch"), (wanted.touch, "--touch"))
    )
    if both := set(adding) & set(taking):
        message = f"{min(both)} is under --never-touch, too"
        raise InputError.of("--touch", message, "give it under one of them")
    return [one for one in dict.fromkeys([*row.never_touch, *adding]) if one not in taking]


def _bounds(row: Row[Any]) -> Bounds:
    own = stored(row.guardrails)
    return Bounds(own.document(), strictest(own, Guardrails()).document(), row.never_touch)
