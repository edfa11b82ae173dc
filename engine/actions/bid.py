"""`adjust_bid` and its aliases."""

from __future__ import annotations

from engine.actions.amounts import AdjustAmount
from engine.rules.conflicts import EffectKind


class AdjustBid(AdjustAmount):
    """Change a campaign's bid: by percent, by an amount, or to a value."""

    name = "adjust_bid"
    aliases = ("increase_bid", "decrease_bid")
    column = "bid_amount"
    noun = "bid"
    lowering = "decrease_bid"
    up, down = EffectKind.BID_UP, EffectKind.BID_DOWN
