"""`adjust_budget` and its aliases."""

from __future__ import annotations

from engine.actions.amounts import AdjustAmount
from engine.rules.conflicts import EffectKind


class AdjustBudget(AdjustAmount):
    """Change a campaign's budget: by percent, by an amount, or to a value."""

    name = "adjust_budget"
    aliases = ("increase_budget", "decrease_budget")
    column = "budget"
    noun = "budget"
    lowering = "decrease_budget"
    up, down = EffectKind.BUDGET_UP, EffectKind.BUDGET_DOWN
