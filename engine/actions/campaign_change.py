"""What actions that change a campaign's columns share: writing them, looking at them, and putting them back."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from core.errors import TransientError
from engine.actions.base import Action
from engine.store import campaigns

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime
    from uuid import UUID

    from sqlalchemy import Connection

    from engine.actions.base import Effect, Found


class CampaignChange(Action):
    """An action whose effect is new values in the campaign's row."""

    def apply(self, connection: Connection, org_id: UUID, effects: Sequence[Effect], *, now: datetime) -> None:  # noqa: ARG002 - the campaign's trigger dates the change
        """Write each effect's `after`; the rows are locked, so that all of them must be there."""
        _write(
            connection,
            org_id,
            [{"campaign_id": e.entity_id, "action_id": e.action_id, "columns": e.after} for e in effects],
        )

    def verify(self, connection: Connection, org_id: UUID, effects: Sequence[Effect]) -> Mapping[UUID, Found]:
        """Compare each campaign's columns with the effect's `after`."""
        rows = campaigns.changeable(connection, org_id, [effect.entity_id for effect in effects])
        found = [(effect, {key: rows[effect.entity_id][key] for key in effect.after}) for effect in effects]
        return {effect.action_id: there for effect, there in found if there != effect.after}

    def revert(self, connection: Connection, org_id: UUID, effects: Sequence[Effect], *, now: datetime) -> None:  # noqa: ARG002 - as in apply
        """Write each effect's `before`."""
        _write(
            connection,
            org_id,
            [{"campaign_id": e.entity_id, "action_id": None, "columns": e.before} for e in effects],
        )


def _write(connection: Connection, org_id: UUID, rows: Sequence[Mapping[str, Any]]) -> None:
    if campaigns.apply(connection, org_id, rows) != len(rows):
        message = "a campaign vanished between lock and write"
        raise TransientError(message)
