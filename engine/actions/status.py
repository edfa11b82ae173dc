"""`pause_campaign` and `resume_campaign`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from engine.actions.base import Change, Impossible, Nothing
from engine.actions.campaign_change import CampaignChange
from engine.actions.params import refuse_unknown
from engine.rules.conflicts import EffectKind

if TYPE_CHECKING:
    from collections.abc import Mapping

    from engine.actions.base import Campaign, Params, Plan, Scope


class _SetStatus(CampaignChange):
    target: ClassVar[str]
    source: ClassVar[str]
    effect: ClassVar[EffectKind]

    def validate(self, params: Mapping[str, Any], *, spelling: str, path: str) -> Params:
        """Accept no parameter but a free-text `reason`."""
        del spelling
        return refuse_unknown(params, ("reason",), path)

    def plan(self, params: Params, campaign: Campaign, scope: Scope) -> Plan:
        """Move the campaign from one status to the other; any third status cannot be moved from."""
        del params, scope
        if campaign.status == self.target:
            return Nothing()
        if campaign.status != self.source:
            return Impossible(f"a campaign that is {campaign.status} cannot become {self.target}")
        return Change({"status": campaign.status}, {"status": self.target})

    def direction(self, params: Params) -> EffectKind:
        """Pause, or resume."""
        del params
        return self.effect


class PauseCampaign(_SetStatus):
    """Stop an active campaign from spending."""

    name = "pause_campaign"
    aliases = ("pause_underperforming", "pause")
    source = "active"
    target = "paused"
    effect = EffectKind.PAUSE


class ResumeCampaign(_SetStatus):
    """Let a paused campaign spend again."""

    name = "resume_campaign"
    source = "paused"
    target = "active"
    effect = EffectKind.RESUME
