"""`send_notification` and its aliases, on the channel `in_app`: the product's own list."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from core.errors import InputError, PermanentError, Problem
from core.ids import uuid7
from engine.actions.base import Action, Change
from engine.actions.params import unknown_keys
from engine.store import executions

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime
    from uuid import UUID

    from sqlalchemy import Connection

    from engine.actions.base import Campaign, Effect, Found, Params, Plan, Scope

_LONGEST: Final = {"title": 200, "message": 2_000}
_CHANNELS: Final = ("in_app",)


class SendNotification(Action):
    """Tell the people of the org that the rule matched a campaign."""

    name = "send_notification"
    aliases = ("notify", "send_alert", "create_alert")
    reversible = False
    for_events = True

    def validate(self, params: Mapping[str, Any], *, spelling: str, path: str) -> Params:
        """Accept `channel` (in_app), `title` and `message` (or `value`); texts have bounded lengths."""
        del spelling
        given = dict(params)
        if "value" in given and "message" not in given:
            given["message"] = given.pop("value")
        problems = unknown_keys(given, ("channel", *_LONGEST), path)
        if given.get("channel", "in_app") not in _CHANNELS:
            shown = repr(given["channel"])[:60]
            problems.append(Problem(f"{path}.channel", f"unknown channel {shown}", f"allowed: {', '.join(_CHANNELS)}"))
        for key, longest in _LONGEST.items():
            if given.get(key) is not None and not (isinstance(given[key], str) and 0 < len(given[key]) <= longest):
                problems.append(
                    Problem(f"{path}.{key}", f"must be a text of 1 to {longest} characters", "or leave it out")
                )
        if problems:
            raise InputError(problems)
        return {"channel": "in_app", **{key: given[key] for key in _LONGEST if given.get(key) is not None}}

    def plan(self, params: Params, campaign: Campaign, scope: Scope) -> Plan:
        """Compose the notification; what is recorded as `after` is what people will read."""
        title = params.get("title", scope.rule_name)
        body = params.get("message", f"Rule “{scope.rule_name}” matched {campaign.entity_type} “{campaign.name}”.")
        return Change({}, {"notification": {"channel": params["channel"], "title": title, "body": body}})

    def apply(self, connection: Connection, org_id: UUID, effects: Sequence[Effect], *, now: datetime) -> None:
        """Insert the notifications."""
        rows = [
            {
                "notification_id": uuid7(now),
                **effect.after["notification"],
                "rule_id": effect.rule_id,
                "execution_id": effect.execution_id,
                "action_id": effect.action_id,
                "entity_id": effect.entity_id,
            }
            for effect in effects
        ]
        executions.insert_notifications(connection, org_id, rows, now=now)

    def verify(self, connection: Connection, org_id: UUID, effects: Sequence[Effect]) -> Mapping[UUID, Found]:
        """Look for each notification in the org's list."""
        there = executions.notified(connection, org_id, [effect.action_id for effect in effects])
        return {effect.action_id: {"notification": None} for effect in effects if effect.action_id not in there}

    def revert(self, connection: Connection, org_id: UUID, effects: Sequence[Effect], *, now: datetime) -> None:
        """Refuse: who was told cannot be untold."""
        del connection, org_id, effects, now
        raise PermanentError("a notification cannot be taken back")
