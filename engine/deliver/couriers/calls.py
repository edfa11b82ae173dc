"""One call of a courier: sent, and its answer or its failure understood."""

from __future__ import annotations

from typing import TYPE_CHECKING

from core.errors import PermanentError
from engine.deliver.answers import Later, Refused, Unclear
from engine.deliver.couriers.excerpts import excerpt
from engine.deliver.couriers.verdicts import Verdict, judge
from engine.egress.errors import BlockedError, BrokenError, NotSentError

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping
    from datetime import datetime

    from engine.deliver.answers import Answer
    from engine.deliver.courier import Message
    from engine.deliver.couriers.verdicts import Table
    from engine.egress.client import Egress
    from engine.egress.response import Response


def post(
    egress: Egress,
    table: Table,
    url: str,
    body: bytes,
    headers: Mapping[str, str],
    *,
    confidential: Collection[str],
    now: datetime,
) -> Answer:
    """Send one request and say what became of it. `confidential`: what no answer may repeat."""
    try:
        response = egress.post(url, body=body, headers=headers)
    except BlockedError as error:
        return Refused(str(error))
    except NotSentError as error:
        return Later(str(error))
    except BrokenError as error:
        return _broken(table, error, confidential, now)
    return judge(table, response, excerpt(response, confidential), now=now)


def _broken(table: Table, error: BrokenError, confidential: Collection[str], now: datetime) -> Answer:
    """Judge an answer that broke off: a refusal had been said, a success may not have been meant."""
    begun: Response | None = error.response
    if begun is None:
        return Unclear(str(error))
    said = excerpt(begun, confidential)
    if table.verdict(begun.status) is Verdict.DELIVERED:
        return Unclear(str(error), begun.status, said)
    return judge(table, begun, said, now=now)


def text_of(message: Message, field: str) -> str:
    """Return a text that a message must have. Raises PermanentError."""
    value = message.get(field)
    if isinstance(value, str) and value:
        return value
    raise PermanentError(f"the message has no {field}")
