"""Connectors: a campaign's change, pushed to the URL of the org's own connection to an ad platform, and signed.

A message is the push, `{connector_id, campaign, change, version}`, with the connector's `{url, signing_secret,
verifies}`. A connector that `verifies` can be asked whether what has a key arrived.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Final
from urllib.parse import urlencode

import orjson

from core.errors import CmisError, PermanentError
from engine.deliver.answers import Refused
from engine.deliver.courier import Courier
from engine.deliver.couriers.calls import post, text_of
from engine.deliver.couriers.excerpts import of_url
from engine.deliver.couriers.signing import signed
from engine.deliver.couriers.verdicts import HUNDREDS, PASSING, Table
from engine.egress import urls
from models.enums import Channel

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from engine.deliver.answers import Answer
    from engine.deliver.courier import Message
    from engine.egress.client import Egress

TABLE: Final = Table(HUNDREDS, PASSING, {410: "it wants no more of them; archive the connector or mend its URL"})
TYPE: Final = "campaign.changed"
_DATA: Final = ("connector_id", "campaign", "change", "version")
_ARRIVED: Final = {200: True, 404: False}


class ConnectorCourier(Courier):
    """The way of campaign changes."""

    channel: ClassVar[Channel] = Channel.CONNECTOR
    keyed: ClassVar[bool] = True

    def __init__(self, egress: Egress) -> None:
        self._egress = egress

    def destination(self, message: Message) -> str:
        """Return the server that the connector's URL names. Raises PermanentError."""
        return urls.read(text_of(message, "url")).origin

    def account(self, message: Message) -> str | None:
        """Return the connector's own bucket. Raises PermanentError."""
        return f"connector:{text_of(message, 'connector_id')}"

    def deliver(self, messages: Sequence[Message], *, key: str, now: datetime) -> Answer:
        """Post one change."""
        [message] = messages
        try:
            url, secret = text_of(message, "url"), text_of(message, "signing_secret")
            body = orjson.dumps({"type": TYPE, "data": {name: message.get(name) for name in _DATA}})
            headers = {"content-type": "application/json", **signed(secret, body.decode(), key=key, now=now)}
        except PermanentError as error:
            return Refused(str(error))
        except orjson.JSONEncodeError:
            return Refused("the change is no JSON that others could read")
        confidential = [*of_url(url), secret, secret.removeprefix("whsec_")]
        return post(self._egress, TABLE, url, body, headers, confidential=confidential, now=now)

    def find(self, message: Message, *, key: str) -> bool | None:
        """Ask the connector, if it can be asked: 200 = it has the key, 404 = it has not; anything else says nothing."""
        if not message.get("verifies"):
            return None
        try:
            url = text_of(message, "url")
            asked = f"{url}{'&' if '?' in url else '?'}{urlencode({'idempotency_key': key})}"
            response = self._egress.get(asked, headers={"idempotency-key": key})
        except CmisError:
            return None  # what the contract says of a receiver that cannot be asked
        return _ARRIVED.get(response.status)
