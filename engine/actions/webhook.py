"""`trigger_webhook`: post what the rule found, and a payload of its own, to a URL."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final

from core.errors import InputError, Problem
from engine import references
from engine.actions.delivered import WEBHOOK_PARAMS, Delivered, webhook, webhook_params
from engine.actions.params import unknown_keys
from engine.actions.texts import composed, problems, values

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from engine.actions.base import Campaign, Params, Plan, Scope

MAX_PAYLOAD: Final = 32 * 1024
"""Bytes of JSON, as it is written in the rule."""
MAX_REFERENCES: Final = 100
"""In the payload as a whole."""
TYPE: Final = "rule.matched"


class TriggerWebhook(Delivered):
    """Post the campaign, the rule and a payload to a URL, signed."""

    name = "trigger_webhook"
    aliases = ("webhook",)
    for_events = True

    def validate(self, params: Mapping[str, Any], *, spelling: str, path: str) -> Params:
        """Require `url` (or `value`); accept `headers`, `signing_secret` and `payload`, whose texts may refer."""
        del spelling
        given = dict(params)
        if "value" in given and "url" not in given:
            given["url"] = given.pop("value")
        found = unknown_keys(given, (*WEBHOOK_PARAMS, "payload"), path)
        where = webhook_params(given, path, found)
        payload = {} if given.get("payload") is None else given["payload"]
        found += _problems(payload, f"{path}.payload")
        if found:
            raise InputError(found)
        return {**where, "payload": payload}

    def plan(self, params: Params, campaign: Campaign, scope: Scope) -> Plan:
        """Compose the message."""
        payload = _composed(params["payload"], values(campaign, scope))
        return webhook(TYPE, params, campaign, scope, payload)


def _problems(payload: object, path: str) -> list[Problem]:
    if not isinstance(payload, dict):
        return [Problem(path, "must be an object", 'such as {"text": "{{ campaign.name }}"}')]
    size = _size(payload)
    if size is None:
        return [Problem(path, "is no JSON", "write texts, numbers, booleans, null, lists and objects")]
    if size > MAX_PAYLOAD:
        return [Problem(path, f"has {size:,} bytes", f"give at most {MAX_PAYLOAD:,}")]
    texts = list(_texts(payload, path))
    found = [problem for where, text in texts for problem in problems(text, where, longest=MAX_PAYLOAD)]
    count = sum(len(references.read(text).references) for _, text in texts)
    if count > MAX_REFERENCES:
        found.append(Problem(path, f"has {count} references", f"use at most {MAX_REFERENCES}"))
    return found


def _size(payload: object) -> int | None:
    try:
        return len(json.dumps(payload, ensure_ascii=False, allow_nan=False).encode())
    except (TypeError, ValueError, RecursionError):
        return None


def _texts(node: object, path: str) -> Iterator[tuple[str, str]]:
    """Yield the texts that are not empty, each with its path."""
    if isinstance(node, str):
        yield from [(path, node)] if node else []
    elif isinstance(node, dict):
        for key, value in node.items():
            yield from _texts(value, f"{path}.{key}")
    elif isinstance(node, list):
        for index, value in enumerate(node):
            yield from _texts(value, f"{path}[{index}]")


def _composed(node: Any, known: Mapping[str, Any]) -> Any:
    if isinstance(node, str):
        return composed(node, known)
    if isinstance(node, dict):
        return {key: _composed(value, known) for key, value in node.items()}
    return [_composed(value, known) for value in node] if isinstance(node, list) else node
