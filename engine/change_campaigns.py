"""Change a campaign by hand: what an import does not bring, such as a budget, and what a person decides."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from decimal import Decimal, InvalidOperation
from typing import TYPE_CHECKING, Any, Final

from core.db import repeat_on_conflict
from core.errors import InputError
from engine.find import find_campaign
from engine.rules.reading import Problems, shown
from engine.store import actions, campaigns
from models.enums import Role

if TYPE_CHECKING:
    from collections.abc import Mapping
    from uuid import UUID

    from sqlalchemy import Row

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
            campaigns.change(connection, context.org_id, campaign.campaign_id, columns)
            return find_campaign(connection, context.org_id, campaign.campaign_id, "CAMPAIGN")

    return repeat_on_conflict(body)


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
