"""Whether an event starts a workflow: its conditions, over the event's payload and nothing else."""

from __future__ import annotations

from typing import TYPE_CHECKING

from engine.rules.conditions import parse
from engine.rules.evaluate import evaluate
from engine.rules.fields import PAYLOAD_FIELDS
from engine.rules.payload import value_at
from engine.rules.tree import operands

if TYPE_CHECKING:
    from collections.abc import Mapping


def holds(conditions: object, payload: Mapping[str, object]) -> bool:
    """Say whether conditions (a tree, or a list of nodes that all hold) are true of a payload; None = of every one.

    What is unknown starts nothing. Raises InputError for conditions that cannot be read.
    """
    if conditions is None:
        return True
    tree = parse(conditions, known_fields=PAYLOAD_FIELDS, path="event_conditions")
    return evaluate(tree, {operand.key: value_at(payload, operand.field) for operand in operands(tree)}) is True
