"""Rules of an org that work against each other, told at every save; the decision itself is `engine.rules.conflicts`.

A conflict is a warning: two rules may be meant to pull both ways. Only who asks for strictness is refused.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from core.errors import ConflictError, InputError, Problem
from engine.actions.registry import parse_actions
from engine.find import find_rule
from engine.rules.conditions import parse
from engine.rules.conflicts import OPPOSITE_OF, EffectKind, Side, conflict
from engine.store import rules
from models.enums import TriggerType

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from uuid import UUID

    from sqlalchemy import Connection, Row

    from core.db import Context, Database
    from engine.rule_document import WantedRule

MOST_TOLD: Final = 20
"""So many conflicts of one rule are told; who has more knows enough."""
_STRICT_REMEDY: Final = "change one of them, or leave out --strict"


@dataclass(frozen=True, slots=True)
class Party:
    """A rule as far as it can work against another."""

    rule_id: UUID
    name: str
    side: Side


@dataclass(frozen=True, slots=True)
class Clash:
    """A rule, the one that works against it (the same one, if its own actions do), and when both would act."""

    rule: Party
    other: Party
    document: Mapping[str, Any]
    """`kinds`, `example` (fact → value), `sentence`."""

    def told(self) -> dict[str, Any]:
        """Return the conflict as who saved the rule is told of it: `rule_id` and `rule` are the other one's."""
        return {"rule_id": self.other.rule_id, "rule": self.other.name, **self.document}


@dataclass(frozen=True, slots=True)
class Saved:
    """A stored rule, and what works against it."""

    row: Row[Any]
    clashes: Sequence[Clash]


def of_row(row: Row[Any]) -> Party | None:
    """Return a stored rule as a party; None if no other can undo what it does, or if it cannot be read (any more).

    So is one that events trigger: its conditions read payloads, of which nothing is known.
    """
    if row.trigger_type == TriggerType.EVENT:
        return None
    try:
        effects = frozenset(_directions(parse_actions(row.actions, "actions")))
        if not effects:
            return None
        condition = parse(row.conditions, row.condition_logic)
    except InputError:
        return None  # it fails when it runs, and says why
    return Party(row.rule_id, row.name, Side(condition, effects, row.entity_id))


def of_wanted(rule_id: UUID, wanted: WantedRule) -> Party | None:
    """Return a rule that is about to be stored as a party; None if no other can undo what it does."""
    definition = wanted.definition
    if definition.event_type is not None:
        return None
    effects = frozenset(_directions(definition.actions))
    side = Side(definition.conditions, effects, definition.entity_id)
    return Party(rule_id, definition.name, side) if effects else None


def active(connection: Connection, org_id: UUID) -> list[Party]:
    """Return the org's active rules that any other could work against."""
    found = (of_row(row) for row in rules.effects_of_active(connection, org_id))
    return [party for party in found if party is not None]


def clashes(parties: Iterable[Party | None], others: Sequence[Party]) -> list[Clash]:
    """Return how each party works against itself, the later parties, and the others; at most 20 of each.

    Nothing is locked and no transaction need be open: it may take a while.
    """
    new = [party for party in parties if party is not None]
    ids = {party.rule_id for party in new}
    beside = [party for party in others if party.rule_id not in ids]
    return [clash for index, party in enumerate(new) for clash in _of_party(party, [*new[index + 1 :], *beside])]


def standing(database: Database, context: Context, reference: UUID | str | None = None) -> list[Clash]:
    """Return the conflicts among the org's active rules, each pair once; or of one rule of any status with them.

    Raises NotFoundError on RULE.
    """
    with database.transaction(context) as connection:
        others = active(connection, context.org_id)
        rule = None if reference is None else find_rule(connection, context.org_id, reference, "RULE")
    return clashes(others, []) if rule is None else clashes([of_row(rule)], others)


def refuse(found: Sequence[Clash]) -> None:
    """Raise ConflictError with every conflict; return if there is none."""
    if found:
        raise ConflictError([Problem("conflicts", str(clash.document["sentence"]), _STRICT_REMEDY) for clash in found])


def of_rule(found: Sequence[Clash], rule_id: UUID) -> list[Clash]:
    """Return the conflicts of one rule."""
    return [clash for clash in found if clash.rule.rule_id == rule_id]


def _directions(actions: Iterable[Any]) -> Iterator[EffectKind]:
    return (direction for action in actions if (direction := action.direction) is not None)


def _of_party(party: Party, others: Iterable[Party]) -> Iterator[Clash]:
    told = 0
    for clash in (_own(party), *(_between(party, other) for other in others)):
        if clash is not None:
            yield clash
            told += 1
            if told == MOST_TOLD:
                return


def _own(party: Party) -> Clash | None:
    """Tell of a rule whose own actions undo each other: whenever it acts, whatever the status that they act on."""
    pair = next(
        ((kind, OPPOSITE_OF[kind]) for kind in party.side.effects if OPPOSITE_OF[kind] in party.side.effects), None
    )
    if pair is None:
        return None
    first, second = sorted(pair, key=list(EffectKind).index)
    sentence = f"{_quoted(party)} does both {first} and {second} to the same campaign"
    return Clash(party, party, {"kinds": [first.value, second.value], "example": {}, "sentence": sentence})


def _between(party: Party, other: Party) -> Clash | None:
    found = conflict(party.side, other.side)
    if found is None:
        return None
    told = found.document()
    sentence = f"{_quoted(party)} works against {_quoted(other)}: {told['text']}"
    return Clash(party, other, {"kinds": told["effects"], "example": told["example"], "sentence": sentence})


def _quoted(party: Party) -> str:
    return f"“{party.name}”"
