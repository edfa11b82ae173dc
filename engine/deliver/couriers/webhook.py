"""Webhooks: a JSON body of the rule's own making, posted to a URL and signed.

A message is `{url, headers, body, signing_secret}`. Receivers do what has one `webhook-id` once, as the standard asks
of them: a message whose fate is unknown is sent again.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Final

import orjson

from core.errors import PermanentError
from engine.deliver.answers import Refused
from engine.deliver.courier import Courier
from engine.deliver.couriers.calls import post, text_of
from engine.deliver.couriers.excerpts import of_headers, of_url
from engine.deliver.couriers.signing import NAMES, signed
from engine.deliver.couriers.verdicts import HUNDREDS, PASSING, Table
from engine.egress import urls
from models.enums import Channel

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime

    from engine.deliver.answers import Answer
    from engine.deliver.courier import Message
    from engine.egress.client import Egress

TABLE: Final = Table(HUNDREDS, PASSING, {410: "it wants no more of them; pause the rule or mend the URL"})


class WebhookCourier(Courier):
    """The way of webhooks."""

    channel: ClassVar[Channel] = Channel.WEBHOOK
    keyed: ClassVar[bool] = True

    def __init__(self, egress: Egress) -> None:
        self._egress = egress

    def destination(self, message: Message) -> str:
        """Return the server that the URL names. Raises PermanentError."""
        return urls.read(text_of(message, "url")).origin

    def account(self, message: Message) -> str | None:
        """Return None: only the org's own limit binds."""
        del message
        return None

    def deliver(self, messages: Sequence[Message], *, key: str, now: datetime) -> Answer:
        """Post one message."""
        [message] = messages
        try:
            url, secret = text_of(message, "url"), text_of(message, "signing_secret")
            given = _headers(message)
            body = orjson.dumps(message.get("body"))
            vouching = signed(secret, body.decode(), key=key, now=now)
        except PermanentError as error:
            return Refused(str(error))
        except orjson.JSONEncodeError:
            return Refused("the body is no JSON that others could read")
        confidential = [*of_url(url), *of_headers(given), secret, secret.removeprefix("whsec_")]
        headers = {"content-type": "application/json", **given, **vouching}
        return post(self._egress, TABLE, url, body, headers, confidential=confidential, now=now)


def _headers(message: Message) -> Mapping[str, str]:
    """Return the message's own headers, names in small letters. Raises PermanentError where they would forge ours."""
    given = message.get("headers") or {}
    if not isinstance(given, dict) or not all(isinstance(value, str) for value in given.values()):
        raise PermanentError("the headers are no object of texts")
    headers = {str(name).lower(): value for name, value in given.items()}
    if forged := sorted(set(headers) & set(NAMES)):
        raise PermanentError(f"the header {forged[0]} is set by the product; leave it out")
    return headers
