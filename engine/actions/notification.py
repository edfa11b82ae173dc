"""`send_notification` and its aliases: in the product's own list, or out by mail, a webhook or Slack."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING, Any, ClassVar, Final

from core.errors import InputError, PermanentError, Problem
from core.ids import uuid7
from engine.actions import receivers, storms
from engine.actions.base import Action, Change, Delivery
from engine.actions.delivered import WEBHOOK_PARAMS, webhook, webhook_params
from engine.actions.params import unknown_keys
from engine.actions.texts import composed, problems, values
from engine.store import campaigns, executions
from models.enums import Channel

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from datetime import datetime
    from uuid import UUID

    from sqlalchemy import Connection

    from engine.actions.base import Campaign, Effect, Found, Params, Plan, Scope

IN_APP: Final = "in_app"
_LONGEST: Final = {"title": 200, "message": 2_000}
_SHOWN: Final = {"title": 300, "message": 4_000}
"""Characters of a text whose references are filled; what is longer is cut off."""
_OWN: Final[Mapping[str, tuple[str, ...]]] = {
    IN_APP: (),
    Channel.EMAIL.value: ("to",),
    Channel.WEBHOOK.value: WEBHOOK_PARAMS,
    Channel.SLACK.value: ("url",),
}
"""The channels, and the parameters that each has of its own."""


class SendNotification(Action):
    """Tell the people of the org that the rule matched a campaign."""

    name = "send_notification"
    aliases = ("notify", "send_alert", "create_alert")
    reversible = False
    for_events = True
    texts: ClassVar[Mapping[str, int | None]] = {**_LONGEST, "value": _LONGEST["message"]}

    def validate(self, params: Mapping[str, Any], *, spelling: str, path: str) -> Params:
        """Accept `channel`, `title` and `message` (or `value`), which may refer, and what the channel needs.

        That is `to` for email, `url`, `headers` and `signing_secret` for webhook, `url` for slack.
        """
        del spelling
        given = dict(params)
        if "value" in given and "message" not in given:
            given["message"] = given.pop("value")
        channel = given.get("channel", IN_APP)
        if not isinstance(channel, str) or channel not in _OWN:
            message = f"unknown channel {channel!r}"[:80]
            raise InputError.of(f"{path}.channel", message, f"allowed: {', '.join(_OWN)}")
        found = unknown_keys(given, ("channel", *_LONGEST, *_OWN[channel]), path)
        for key, longest in _LONGEST.items():
            if given.get(key) is not None:
                found += problems(given[key], f"{path}.{key}", longest=longest)
        where = _where(channel, given, path, found)
        if found:
            raise InputError(found)
        return {"channel": channel, **where, **{key: given[key] for key in _LONGEST if given.get(key) is not None}}

    def plan(self, params: Params, campaign: Campaign, scope: Scope) -> Plan:
        """Compose the notification; what is recorded as `after` is what people will read."""
        title, body = _texts(params, campaign, scope)
        match params["channel"]:
            case Channel.EMAIL:
                message = {"to": params["to"], "subject": " ".join(title.split()), "text": body}
                return Delivery(Channel.EMAIL, message)
            case Channel.SLACK:
                return Delivery(Channel.SLACK, {"url": params["url"], "text": f"{title}: {body}"})
            case Channel.WEBHOOK:
                return webhook("notification", params, campaign, scope, {"title": title, "message": body})
            case channel:
                return Change({}, {"notification": {"channel": channel, "title": title, "body": body}})

    def apply(self, connection: Connection, org_id: UUID, effects: Sequence[Effect], *, now: datetime) -> None:
        """Insert the notifications; of more than 20 campaigns that one execution tells of at one place, one in all."""
        places = _places(effects)
        stormy = [effect.entity_id for one in places if storms.is_storm(one) for effect in one[: storms.NAMED]]
        names = campaigns.names(connection, org_id, stormy) if stormy else {}
        rows = [row for of_place in places for row in _rows(of_place, names, now)]
        executions.insert_notifications(connection, org_id, rows, now=now)

    def verify(self, connection: Connection, org_id: UUID, effects: Sequence[Effect]) -> Mapping[UUID, Found]:
        """Look for each notification in the org's list, its own or the one that stands for it."""
        ids, of = ([getattr(one, key) for one in effects] for key in ("action_id", "execution_id"))
        rows = executions.notified(connection, org_id, ids, of)
        own = {row.action_id for row in rows}
        common = {(row.execution_id, row.position) for row in rows if row.action_id is None}
        return {
            effect.action_id: {"notification": None}
            for effect in effects
            if effect.action_id not in own and (effect.execution_id, effect.position) not in common
        }

    def revert(self, connection: Connection, org_id: UUID, effects: Sequence[Effect], *, now: datetime) -> None:
        """Refuse: who was told cannot be untold."""
        del connection, org_id, effects, now
        raise PermanentError("a notification cannot be taken back")


def _where(channel: str, given: Mapping[str, Any], path: str, found: list[Problem]) -> dict[str, Any]:
    match channel:
        case Channel.EMAIL:
            return {"to": receivers.recipients(given, path, found)}
        case Channel.WEBHOOK:
            return webhook_params(given, path, found)
        case Channel.SLACK:
            return {"url": receivers.url(given, path, found)}
        case _:
            return {}


def _texts(params: Params, campaign: Campaign, scope: Scope) -> tuple[str, str]:
    """Return title and message; what is not given is said in words of ours."""
    title, message = params.get("title"), params.get("message")
    refers = "{{" in (title or "") or "{{" in (message or "")
    known = values(campaign, scope) if refers else {}
    usual = f"Rule “{scope.rule_name}” matched {campaign.entity_type} “{campaign.name}”."
    if scope.step is not None:
        about = f" for campaign “{campaign.name}”" if campaign.entity_type == "campaign" else ""
        usual = f"Workflow “{scope.rule_name}” has come to its step “{scope.step.step_id}”{about}."
    return (
        scope.rule_name if title is None else composed(title, known, longest=_SHOWN["title"]),
        usual if message is None else composed(message, known, longest=_SHOWN["message"]),
    )


def _places(effects: Sequence[Effect]) -> Sequence[Sequence[Effect]]:
    """Return the effects by execution and place in its rule's list."""
    places: dict[tuple[UUID | None, int], list[Effect]] = defaultdict(list)
    for effect in effects:
        places[effect.execution_id, effect.position].append(effect)
    return list(places.values())


def _rows(effects: Sequence[Effect], names: Mapping[UUID, str], now: datetime) -> Iterator[dict[str, Any]]:
    """Yield the rows that tell of the effects of one place."""
    if storms.is_storm(effects):
        yield _row(effects[0], now) | storms.told_together(effects, names) | {"action_id": None, "entity_id": None}
    else:
        yield from (_row(effect, now) for effect in effects)


def _row(effect: Effect, now: datetime) -> dict[str, Any]:
    """Return an effect's notification; what a step tells has no place in a rule's list, and stands for itself."""
    return {
        "notification_id": uuid7(now),
        **effect.after["notification"],
        "rule_id": effect.rule_id,
        "execution_id": effect.execution_id,
        "action_id": effect.action_id,
        "position": None if effect.rule_id is None else effect.position,
        "entity_id": effect.entity_id,
    }
