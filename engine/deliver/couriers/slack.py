"""Slack's incoming webhooks: text to a URL that is itself the secret.

A message is `{url, text}`. Slack knows no keys: a message that broke off may be there, and is not sent again by itself.
"""

from __future__ import annotations

from hashlib import sha256
from typing import TYPE_CHECKING, ClassVar, Final

import orjson

from core.errors import PermanentError
from engine.deliver.answers import Refused
from engine.deliver.courier import Courier
from engine.deliver.couriers.calls import post, text_of
from engine.deliver.couriers.excerpts import of_url
from engine.deliver.couriers.verdicts import HUNDREDS, PASSING, Table
from engine.egress import urls
from models.enums import Channel

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from engine.deliver.answers import Answer
    from engine.deliver.courier import Message
    from engine.egress.client import Egress

TABLE: Final = Table(
    HUNDREDS,
    PASSING,
    {
        403: "the workspace does not let this webhook post; make another",
        404: "there is no such webhook any more; make another",
        410: "the channel is archived; make a webhook for another",
    },
)
LONGEST: Final = 30_000
"""Characters, escaped. Slack cuts off what is above 40,000."""


class SlackCourier(Courier):
    """The way of Slack."""

    channel: ClassVar[Channel] = Channel.SLACK
    keyed: ClassVar[bool] = False

    def __init__(self, egress: Egress) -> None:
        self._egress = egress

    def destination(self, message: Message) -> str:
        """Return the server that the URL names. Raises PermanentError."""
        return urls.read(text_of(message, "url")).origin

    def account(self, message: Message) -> str | None:
        """Return the webhook's own bucket, by a hash: the URL is a secret. Raises PermanentError."""
        return f"slack:{sha256(text_of(message, 'url').encode()).hexdigest()[:12]}"

    def deliver(self, messages: Sequence[Message], *, key: str, now: datetime) -> Answer:
        """Post one text, of a line or more per message."""
        del key  # Slack would not look at it
        try:
            url = _only([text_of(message, "url") for message in messages])
            text = joined([text_of(message, "text") for message in messages])
            body = orjson.dumps({"text": text})
        except PermanentError as error:
            return Refused(str(error))
        except orjson.JSONEncodeError:
            return Refused("the text is no Unicode that others could read")
        headers = {"content-type": "application/json"}
        return post(self._egress, TABLE, url, body, headers, confidential=list(of_url(url)), now=now)


def _only(texts: Sequence[str]) -> str:
    if len(set(texts)) != 1:
        raise PermanentError("messages for different webhooks cannot go out as one")
    return texts[0]


def escaped(text: str) -> str:
    """Return plain text as Slack's markup: nothing in it is a link or calls anybody."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def joined(texts: Sequence[str]) -> str:
    """Return texts as one, escaped, equal ones once; what does not fit is counted."""
    lines: list[str] = []
    room = LONGEST
    different = [escaped(text) for text in dict.fromkeys(texts)]
    for line in different:
        room -= len(line) + 1
        if room < 0 and lines:
            break
        lines.append(line[:LONGEST])
    more = len(different) - len(lines)
    return "\n".join([*lines, *([f"… and {more} more"] if more else [])])
