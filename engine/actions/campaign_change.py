"""What actions that change a campaign's columns share: the write."""

from __future__ import annotations

from typing import TYPE_CHECKING

from core.errors import TransientError
from engine.actions.base import Action
from engine.store import campaigns

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime
    from uuid import UUID

    from sqlalchemy import Connection

    from engine.actions.base import Effect


class CampaignChange(Action):
    """An action whose effect is new values in the campaign's row."""

    def apply(self, connection: Connection, org_id: UUID, effects: Sequence[Effect], *, now: datetime) -> None:  # noqa: ARG002 - the campaign's trigger dates the change
        """Write each effect's `after`; the rows are locked, so that all of them must be there."""
        rows = [{"campaign_id": effect.entity_id, "action_id": effect.action_id, **effect.after} for effect in effects]
        if campaigns.apply(connection, org_id, rows) != len(rows):
            message = "a campaign vanished between lock and write"
            raise TransientError(message)
