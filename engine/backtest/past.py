"""Campaigns as they were at an earlier time: today's rows, with what the audit log says changed since then undone."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass, fields, replace
from itertools import groupby
from operator import attrgetter
from typing import TYPE_CHECKING, Any, Final

from engine.run_rules.state import column_value

if TYPE_CHECKING:
    import datetime as dt
    from collections.abc import Iterable, Iterator, Sequence
    from decimal import Decimal
    from uuid import UUID

    from sqlalchemy import Row

_AMOUNTS: Final = frozenset({"budget", "bid_amount"})


@dataclass(frozen=True, slots=True)
class PastCampaign:
    """A campaign's columns that rules read and change, as they were at one time."""

    campaign_id: UUID
    name: str
    platform: str
    objective: str | None
    status: str
    budget: Decimal | None
    budget_type: str
    currency: str | None
    bid_amount: Decimal | None
    tags: Sequence[str]
    external_id: str | None
    start_date: dt.date | None
    end_date: dt.date | None


_NAMES: Final = frozenset(field.name for field in fields(PastCampaign)) - {"campaign_id"}


def rolled_back(rows: Iterable[Row[Any]], changes: Iterable[Row[Any]]) -> dict[UUID, PastCampaign]:
    """Return campaigns by id as they were before `changes` (newest first: created_at, entity_id, before, after).

    A campaign that is younger than that is as it was when it was made. An amount that was given where there was none
    stands from the start: imported campaigns have no budget until somebody gives them one, and no rule about budgets
    could be tried on the time before.
    """
    campaigns = {row.campaign_id: PastCampaign(**row._asdict()) for row in rows}
    for _, at_once in groupby(changes, key=attrgetter("created_at")):
        for entity_id, column, value in _befores(list(at_once)):
            if entity_id in campaigns and not (value is None and column in _AMOUNTS):
                campaigns[entity_id] = replace(campaigns[entity_id], **{column: value})
    return campaigns


def _befores(changes: Sequence[Row[Any]]) -> Iterator[tuple[UUID, str, Any]]:
    """Yield what each column was before changes of one instant, whose order the log does not tell.

    They are a path of values: where it begins is left once more often than it is come to. A path that begins nowhere
    ends where it began, and changes nothing.
    """
    steps: dict[tuple[UUID, str], list[tuple[object, object]]] = {}
    for change in changes:
        for column in _NAMES & change.before.keys():
            ends = (column_value(column, change.before[column]), column_value(column, (change.after or {}).get(column)))
            steps.setdefault((change.entity_id, column), []).append(ends)
    for (entity_id, column), path in steps.items():
        left = Counter(_key(before) for before, _ in path)
        left.subtract(_key(after) for _, after in path)
        begins = [before for before, _ in path if left[_key(before)] > 0]
        if begins:
            yield entity_id, column, begins[0]


def _key(value: object) -> str:
    return json.dumps(value, default=str, sort_keys=True)
