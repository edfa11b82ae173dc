"""Mail by SMTP: plain text, and the same as HTML in which nothing is markup.

A message is `{to, subject, text}`. Mail servers know no keys: a mail that broke off after its end may be there, and is
not sent again by itself.
"""

from __future__ import annotations

import ssl
from email.message import EmailMessage
from email.policy import SMTP
from email.utils import format_datetime, parseaddr
from hashlib import sha256
from typing import TYPE_CHECKING, ClassVar, Final

from core.errors import PermanentError, SetupError
from engine import references
from engine.deliver.answers import Delivered, Later, Refused, Unclear
from engine.deliver.courier import Courier
from engine.deliver.couriers.calls import text_of
from engine.deliver.couriers.smtp import AfterEndError, BeforeEndError, Conversation, Mail, ReplyError
from engine.egress.timed import TimedTls
from models.enums import Channel

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from engine.deliver.answers import Answer
    from engine.deliver.courier import Message
    from engine.deliver.couriers.smtp import Server, Taken

LONGEST: Final = 100_000
"""Characters of a mail's text; what does not fit is counted."""
MAX_SAID: Final = 500
MASK: Final = "***"
_POLICY: Final = SMTP.clone(cte_type="7bit")
_NOT_SET: Final = "set SMTP_URL of the workers that serve `actions`"
_OURS: Final = frozenset({"the greeting", "STARTTLS"})
"""Stages that have nothing to do with the mail: what is refused there the operator mends."""
_CLOSING: Final = 421
"""The server itself goes away; any other 4xx puts this mail off, and need not put off the next one."""


class EmailCourier(Courier):
    """The way of mail. `server`: None = the deployment has none yet; mail waits for it."""

    channel: ClassVar[Channel] = Channel.EMAIL
    keyed: ClassVar[bool] = False

    def __init__(
        self,
        server: Server | None,
        sender: str,
        *,
        connect_seconds: float = 3.0,
        total_seconds: float = 10.0,
        trust: str | None = None,
    ) -> None:
        """`trust`: a file of authorities in place of the system's. Raises SetupError if `sender` is no address."""
        address = parseaddr(sender)[1]
        if "@" not in address or not sender.isprintable() or not address.isascii():
            raise SetupError("SMTP_FROM is no mail address", "set name@host, or Name <name@host>")
        self._sender, self._address, self._domain = sender, address, address.rpartition("@")[2]
        self._server = server
        tls = ssl.create_default_context(cafile=trust)
        tls.sslsocket_class = TimedTls
        self._talk = None if server is None else Conversation(server, connect_seconds, total_seconds, tls)

    def destination(self, message: Message) -> str:
        """Return the deployment's mail server. Raises SetupError where there is none."""
        del message
        if self._server is None:
            raise SetupError("there is no mail server", _NOT_SET)
        return self._server.origin

    def account(self, message: Message) -> str | None:
        """Return None: only the org's own limit binds."""
        del message
        return None

    def deliver(self, messages: Sequence[Message], *, key: str, now: datetime) -> Answer:
        """Send one mail to all recipients."""
        if self._talk is None:
            return Later(f"there is no mail server ({_NOT_SET})", blames=False)
        try:
            mail = self._mail(messages, key, now)
        except (PermanentError, ValueError) as error:  # ValueError: a line break in a header, half a surrogate pair
            return Refused(str(error) if isinstance(error, PermanentError) else "the mail cannot be written as one")
        try:
            return self._taken(self._talk.send(mail))
        except BeforeEndError as error:
            return Later(str(error))
        except AfterEndError as error:
            return Unclear(str(error))
        except ReplyError as error:
            return self._judged(error)

    def _judged(self, error: ReplyError) -> Answer:
        said = self._shown(error.said)
        if error.status // 100 == 5 and error.stage not in _OURS:  # noqa: PLR2004 - the hundred of what is refused
            return Refused(str(error), error.status, said)
        return Later(str(error), error.status, said, blames=error.stage in _OURS or error.status == _CLOSING)

    def _taken(self, taken: Taken) -> Delivered:
        refused = [f"not to {one}: {why}" for one, why in taken.refused.items()]
        return Delivered(taken.status, self._shown("; ".join([*refused, taken.said])))

    def _shown(self, said: str) -> str:
        """Return the beginning of what the server said, printable, and without the password should it be in it."""
        text = said
        for secret in self._server.confidential if self._server else ():
            text = text.replace(secret, MASK)
        return " ".join("".join(mark if mark.isprintable() else " " for mark in text).split())[:MAX_SAID]

    def _mail(self, messages: Sequence[Message], key: str, now: datetime) -> Mail:
        recipients = _recipients(messages)
        subject, text = joined([(text_of(one, "subject"), text_of(one, "text")) for one in messages])
        mail = EmailMessage(policy=_POLICY)
        mail["From"] = self._sender
        mail["To"] = ", ".join(recipients)
        mail["Subject"] = subject
        mail["Date"] = format_datetime(now)
        mail["Message-ID"] = f"<{sha256(key.encode()).hexdigest()[:32]}@{self._domain}>"
        mail["Auto-Submitted"] = "auto-generated"
        mail.set_content(text, cte="quoted-printable")
        body = f'<div style="white-space: pre-wrap">{references.html(text)}</div>'
        mail.add_alternative(f"<!doctype html><html><body>{body}</body></html>", "html", cte="quoted-printable")
        return Mail(self._address, recipients, mail.as_bytes())


def _recipients(messages: Sequence[Message]) -> list[str]:
    first = messages[0].get("to")
    if not isinstance(first, list) or not first or not all(isinstance(one, str) for one in first):
        raise PermanentError("the message has no recipients")
    if any(message.get("to") != first for message in messages):
        raise PermanentError("messages for different people cannot go out as one")
    return first


def joined(messages: Sequence[tuple[str, str]]) -> tuple[str, str]:
    """Return subject and text of several messages as one, equal ones once; what does not fit is counted."""
    different = list(dict.fromkeys(messages))
    [subject, text], *others = different
    if not others:
        return subject, text[:LONGEST]
    one_subject = len({subject for subject, _ in different}) == 1
    parts: list[str] = []
    room = LONGEST
    for heading, body in different:
        part = body if one_subject else f"{heading}\n{body}"
        room -= len(part) + 2
        if room < 0 and parts:
            break
        parts.append(part[:LONGEST])
    more = len(different) - len(parts)
    told = "\n\n".join([*parts, *([f"… and {more} more"] if more else [])])
    return subject if one_subject else f"{subject} (and {len(others)} more)", told
