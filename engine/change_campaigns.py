"""Change a campaign by hand: what an import does not bring, such as a budget, and what a person decides."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from decimal import Decimal, InvalidOperation
from typing import TYPE_CHECKING, Any, Final

from core import clock
from core.db import repeat_on_conflict
from core.errors import InputError
from engine import push
from engine.find import find_campaign
from engine.rules.document import json_number
from engine.rules.reading import Problems, shown
from engine.store import actions, campaigns
from models.enums import Role

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping
    from uuid import UUID

    from sqlalchemy import Connection, Row

    from core.db import Context, Database
    from models.enums import BudgetType, CampaignStatus

_CENT: Final = Decimal("0.01")
_TOO_MUCH: Final = Decimal(10) ** 12
"""The columns are numeric(14,2)."""


@dataclass(frozen=True, slots=True)
class Change:
    """What is to be different; None leaves a value as it is. Amounts are texts, in the campaign's currency."""

    status: CampaignStatus | None = None
    budget: str | None = None
    budget_type: BudgetType | None = None
    bid_amount: str | None = None


def change_campaign(database: Database, context: Context, reference: UUID | str, wanted: Change) -> Row[Any]:
    """Change a campaign of this id or exact name, as the context's user (an operator or more); returns its row.

    The guardrails of the org bind as they bind any writer, and the audit log has the change. What is the same changes
    nothing. Raises NotFoundError, and InputError with every problem.
    """
    columns = _columns(wanted)

    def body() -> Row[Any]:
        with database.transaction(context) as connection:
            actions.require_role(connection, Role.OPERATOR)
            campaign = find_campaign(connection, context.org_id, reference, "CAMPAIGN")
            campaigns.lock(connection, context.org_id, [campaign.campaign_id])
            before = find_campaign(connection, context.org_id, campaign.campaign_id, "CAMPAIGN")
            campaigns.change(connection, context.org_id, campaign.campaign_id, columns)
            after = find_campaign(connection, context.org_id, campaign.campaign_id, "CAMPAIGN")
            _push(connection, before, after, columns)
            return after

    return repeat_on_conflict(body)


def _push(connection: Connection, before: Row[Any], after: Row[Any], columns: Collection[str]) -> None:
    """Queue what tells the org's connectors of the columns that are different now."""
    pairs = {column: (_json(before, column), _json(after, column)) for column in columns}
    differing = {column: pair for column, pair in pairs.items() if pair[0] != pair[1]}
    now = clock.now(connection)
    was, is_now = ({column: pair[side] for column, pair in differing.items()} for side in (0, 1))
    changed = push.Applied.by_hand(after.campaign_id, was, is_now, now=now)
    push.pushes(connection, after.org_id, [changed], now=now)


def _json(row: Row[Any], column: str) -> Any:
    value = getattr(row, column)
    return json_number(value) if isinstance(value, Decimal) else value


def _columns(wanted: Change) -> Mapping[str, object]:
    given: dict[str, Any] = {column: value for column, value in asdict(wanted).items() if value is not None}
    if not given:
        message = "one of --status, --budget, --budget-type, --bid is required"
        raise InputError.of("", message, "say what is to be different")
    problems = Problems()
    for column, option in (("budget", "--budget"), ("bid_amount", "--bid")):
        if column in given:
            given[column] = _amount(given[column], option, problems)
    problems.raise_if_any()
    return given


def _amount(text: str, option: str, problems: Problems) -> Decimal | None:
    """Read an amount of money; the cents are the last that the columns hold."""
    try:
        amount = Decimal(text)
    except InvalidOperation:
        amount = Decimal("NaN")
    if not amount.is_finite() or not 0 <= amount < _TOO_MUCH or amount != amount.quantize(_CENT):
        problems.add(option, f"{shown(text)} is no amount in whole cents below 10^12", "write a number such as 120.50")
        return None
    return amount
