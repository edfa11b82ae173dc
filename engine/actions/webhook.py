"""`trigger_webhook`: post what the rule found, and a payload of its own, to a URL."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from core.errors import InputError
from engine.actions import payloads
from engine.actions.delivered import WEBHOOK_PARAMS, Delivered, webhook, webhook_params
from engine.actions.params import unknown_keys
from engine.actions.texts import values

if TYPE_CHECKING:
    from collections.abc import Mapping

    from engine.actions.base import Campaign, Params, Plan, Scope


class TriggerWebhook(Delivered):
    """Post the campaign, the rule and a payload to a URL, signed."""

    name = "trigger_webhook"
    aliases = ("webhook",)
    for_events = True
    texts: ClassVar[Mapping[str, int | None]] = {"payload": None}

    def validate(self, params: Mapping[str, Any], *, spelling: str, path: str) -> Params:
        """Require `url` (or `value`); accept `headers`, `signing_secret` and `payload`, whose texts may refer."""
        del spelling
        given = dict(params)
        if "value" in given and "url" not in given:
            given["url"] = given.pop("value")
        found = unknown_keys(given, (*WEBHOOK_PARAMS, "payload"), path)
        where = webhook_params(given, path, found)
        payload = {} if given.get("payload") is None else given["payload"]
        found += payloads.problems(payload, f"{path}.payload")
        if found:
            raise InputError(found)
        return {**where, "payload": payload}

    def plan(self, params: Params, campaign: Campaign, scope: Scope) -> Plan:
        """Compose the message."""
        payload = payloads.composed(params["payload"], values(campaign, scope))
        return webhook("matched" if scope.step is None else "step", params, campaign, scope, payload)
