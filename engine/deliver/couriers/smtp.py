"""One conversation with a mail server, bounded in time; who fails says whether the mail may have been taken."""

from __future__ import annotations

import re
import smtplib
import socket
import ssl
from base64 import b64encode
from contextlib import closing, suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, Self, cast
from urllib.parse import unquote, urlsplit

from core.clock import monotonic
from core.errors import CmisError, SetupError
from engine.egress.errors import NotSentError
from engine.egress.names import addresses
from engine.egress.timed import TimedTls, connect, left

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from engine.egress.timed import TimedSocket

_PORTS: Final = {"smtp": 25, "smtps": 465}
_REMEDY: Final = "set smtp://[user:password@]host[:port] or smtps://…, what is unusual in it percent-encoded"
_GO_ON: Final = 354
_LINE_BEGINS: Final = re.compile(rb"^\.", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Server:
    """A mail server, as SMTP_URL names it."""

    scheme: str
    host: str
    port: int
    user: str | None
    password: str | None = field(repr=False)

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read SMTP_URL. Raises SetupError, which does not quote it: there is a password in it."""
        try:
            parts = urlsplit(text)
            port = parts.port
        except ValueError as error:
            raise SetupError("SMTP_URL is no URL", _REMEDY) from error
        if parts.scheme not in _PORTS or not parts.hostname or parts.path not in {"", "/"} or parts.query:
            raise SetupError("SMTP_URL names no mail server", _REMEDY)
        if (parts.username is None) != (parts.password is None):
            raise SetupError("SMTP_URL has a user without a password, or the reverse", _REMEDY)
        login = [None if each is None else unquote(each) for each in (parts.username, parts.password)]
        return cls(parts.scheme, parts.hostname, port or _PORTS[parts.scheme], *login)

    @property
    def confidential(self) -> list[str]:
        """Return what no answer may repeat: the password and the spellings of it that are sent, the longest first."""
        if not self.password:
            return []
        sent = [b64encode(text.encode()).decode() for text in (f"\0{self.user}\0{self.password}", self.password)]
        return sorted([self.password, *sent], key=len, reverse=True)

    @property
    def origin(self) -> str:
        """Return scheme, host and port."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{self.scheme}://{host}:{self.port}"


class ReplyError(CmisError):
    """The server answered something else than it was to: `status` and what it said; the mail is not taken."""

    def __init__(self, stage: str, status: int, said: str) -> None:
        super().__init__(f"the mail server answered {stage} with {status}")
        self.stage = stage
        self.status = status
        self.said = said


class BeforeEndError(CmisError):
    """It broke off before the mail's end was sent: certainly it was not taken."""


class AfterEndError(CmisError):
    """It broke off after the mail's end: it may have been taken."""


@dataclass(frozen=True, slots=True)
class Mail:
    """A mail as it goes over the line."""

    sender: str
    recipients: Sequence[str]
    data: bytes
    """With CRLF at the end of each line, and of the last."""


@dataclass(frozen=True, slots=True)
class Taken:
    """The server took the mail. `refused`: recipients that it does not know, with what it said to each."""

    status: int
    said: str
    refused: Mapping[str, str]


class _Client(smtplib.SMTP):
    """The library's client on a connection of ours."""

    def __init__(self, line: TimedSocket | TimedTls) -> None:
        super().__init__(local_hostname=socket.gethostname())  # a look-up of the full name may take its time
        self.use(line)

    def use(self, line: TimedSocket | TimedTls) -> None:
        """Begin anew on this connection: what was said on another does not count."""
        self.sock = line
        self.file = None
        self.helo_resp = self.ehlo_resp = None
        self.esmtp_features: dict[str, str] = {}
        self.does_esmtp = False


@dataclass(frozen=True)
class Conversation:
    """How to send one mail to a server: `connect_seconds` to connect, `total_seconds` for all of it."""

    server: Server
    connect_seconds: float
    total_seconds: float
    tls: ssl.SSLContext

    def send(self, mail: Mail) -> Taken:
        """Send a mail. Raises ReplyError, BeforeEndError or AfterEndError."""
        until = monotonic() + self.total_seconds
        try:
            with closing(_Client(self._line(until))) as client:
                self._greet(client, until)
                refused = _address(client, mail)
                _expect("DATA", client.docmd("DATA"), _GO_ON)
                client.send(_LINE_BEGINS.sub(b"..", mail.data))
                return self._end(client, refused)
        except (OSError, smtplib.SMTPException) as error:
            raise BeforeEndError(self._why(error)) from error

    def _line(self, until: float) -> TimedSocket | TimedTls:
        seconds = min(self.connect_seconds, self.total_seconds)
        by = min(monotonic() + seconds, until)
        try:
            found = addresses(self.server.host, self.server.port, seconds=seconds)
        except NotSentError as error:
            raise BeforeEndError(str(error)) from error
        line: TimedSocket | TimedTls = connect(found, self.server.port, by=by)
        if self.server.scheme == "smtps":
            line = self._secured(line, by)
        line.until = until
        return line

    def _secured(self, line: TimedSocket | TimedTls, by: float) -> TimedTls:
        with closing(line):  # whose socket the result takes over
            line.settimeout(left(by))
            return cast("TimedTls", self.tls.wrap_socket(line, server_hostname=self.server.host))

    def _greet(self, client: _Client, until: float) -> None:
        _expect("the greeting", client.getreply(), 220)
        client.ehlo_or_helo_if_needed()
        wants_login = self.server.user is not None and self.server.password is not None
        if self.server.scheme == "smtp" and client.has_extn("starttls"):
            _expect("STARTTLS", client.docmd("STARTTLS"), 220)
            line = self._secured(cast("TimedSocket", client.sock), until)
            line.until = until
            client.use(line)
            client.ehlo_or_helo_if_needed()
        elif self.server.scheme == "smtp" and wants_login:
            raise BeforeEndError("the mail server offers no STARTTLS, and a password goes over no line in the clear")
        if self.server.user is not None and self.server.password is not None:
            client.login(self.server.user, self.server.password)

    def _end(self, client: _Client, refused: Mapping[str, str]) -> Taken:
        try:
            client.send(b".\r\n")
            status, said = client.getreply()
        except (OSError, smtplib.SMTPException) as error:
            raise AfterEndError(self._why(error)) from error
        if status // 100 not in {2, 4, 5}:  # whatever that is, the mail had been sent to its end
            raise AfterEndError(f"{self.server.origin} answered the mail with what is no reply of SMTP")
        with suppress(OSError, smtplib.SMTPException):  # a farewell: what was decided is decided
            client.putcmd("QUIT")
        if status // 100 != 2:  # noqa: PLR2004 - the hundred of what is taken
            raise ReplyError("the mail", status, _text(said))
        return Taken(status, _text(said), refused)

    def _why(self, error: Exception) -> str:
        """Say what happened in words of our own; the library's hide that time was up behind another error."""
        hidden = isinstance(error, smtplib.SMTPServerDisconnected) and isinstance(error.__context__, OSError)
        match error.__context__ if hidden else error:
            case smtplib.SMTPAuthenticationError(smtp_code=status):
                return f"the mail server did not take the password of SMTP_URL ({status})"
            case smtplib.SMTPResponseException(smtp_code=status):
                return f"the mail server answered {status}"
            case TimeoutError():
                return f"the mail server did not end within {self.total_seconds:g} s"
            case ssl.SSLCertVerificationError(verify_message=said):
                return f"the certificate of {self.server.origin} is not valid: {said}"
            case OSError(strerror=str(said)):
                return f"{self.server.origin} was not reached, or broke off: {said}"
            case _:
                return f"{self.server.origin} broke off ({type(error).__name__})"


def _address(client: _Client, mail: Mail) -> dict[str, str]:
    """Say who it is from and for; returns who is refused, if not everybody is."""
    _expect("MAIL", client.mail(mail.sender), 250)
    refused: dict[str, str] = {}
    last: tuple[int, bytes] = (0, b"")
    for recipient in mail.recipients:
        status, said = last = client.rcpt(recipient)
        if status // 100 == 5:  # noqa: PLR2004 - the hundred of what is refused for good
            refused[recipient] = f"{status} {_text(said)}"
        else:
            _expect("RCPT", (status, said), 250, 251)
    if len(refused) == len(mail.recipients):
        _expect("RCPT", last, 250)
    return refused


def _expect(stage: str, reply: tuple[int, Any], *wanted: int) -> None:
    status, said = reply
    if status == -1:
        raise smtplib.SMTPServerDisconnected("no reply")
    if status not in wanted:
        raise ReplyError(stage, status, _text(said))


def _text(said: Any) -> str:
    return said.decode(errors="replace") if isinstance(said, bytes) else str(said)
