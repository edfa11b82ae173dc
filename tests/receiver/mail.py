"""The receiver of mail: an SMTP server that takes, puts off, refuses, hangs or hangs up, and keeps what came."""

from __future__ import annotations

import asyncio
from collections import deque
from dataclasses import dataclass
from threading import Event, Thread
from typing import TYPE_CHECKING, Any, Final, Self
from weakref import WeakSet

from aiosmtpd.smtp import SMTP, AuthResult

if TYPE_CHECKING:
    import ssl

    from aiosmtpd.smtp import Envelope, Session

_REPLIES: Final = {
    "ok": "250 OK: queued",
    "later": "451 4.3.0 try again later",
    "refuses": "554 5.7.1 not taken",
}
_RCPT_REPLIES: Final = {
    "recipient-later": "450 4.2.1 mailbox busy",
    "recipient-refuses": "550 5.1.1 no such user",
}


@dataclass(frozen=True, slots=True)
class Mail:
    """One message as it came, whatever was answered to it."""

    sender: str | None
    recipients: tuple[str, ...]
    data: bytes
    took: bool


class Mailbox:
    """An SMTP server on 127.0.0.1. Behaviours of the next messages are set by `script`; else all is taken.

    `ok`, `later` (451), `refuses` (554), `hangs` after DATA, `drops` (takes it, then hangs up), `recipient-later` (450
    to RCPT), `recipient-refuses` (550). With `tls` it offers STARTTLS; with `login` it wants that user and password.
    """

    def __init__(self, *, tls: ssl.SSLContext | None = None, login: tuple[str, str] | None = None) -> None:
        self.mails: list[Mail] = []
        self.port = 0
        self._tls = tls
        self._login = login
        self._script: deque[str] = deque()
        self._ready = Event()
        self._loop = asyncio.new_event_loop()
        self._thread = Thread(target=self._run, daemon=True, name="mailbox")
        self._open: WeakSet[SMTP] = WeakSet()

    @property
    def url(self) -> str:
        """Return what SMTP_URL says to reach it."""
        login = f"{self._login[0]}:{self._login[1]}@" if self._login else ""
        return f"smtp://{login}127.0.0.1:{self.port}"

    def script(self, *behaviours: str) -> None:
        """Say what becomes of the next messages."""
        self._script.extend(behaviours)

    def __enter__(self) -> Self:
        self._thread.start()
        self._ready.wait()
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()

    async def handle_RCPT(  # noqa: N802 - aiosmtpd's name
        self, _server: SMTP, _session: Session, envelope: Envelope, address: str, _: list[str]
    ) -> str:
        if self._script and (reply := _RCPT_REPLIES.get(self._script[0])):
            self._script.popleft()
            return reply
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server: SMTP, _session: Session, envelope: Envelope) -> str:  # noqa: N802 - the same
        behaviour = self._script.popleft() if self._script else "ok"
        took = behaviour in {"ok", "drops"}
        content = envelope.content
        data = content if isinstance(content, bytes) else (content or "").encode()
        self.mails.append(Mail(envelope.mail_from, tuple(envelope.rcpt_tos), data, took))
        if behaviour == "hangs":
            await asyncio.Event().wait()
        if behaviour == "drops":
            _abort(server)
        return _REPLIES.get(behaviour, "250 OK")

    def _authenticate(self, _server: SMTP, _session: Session, _envelope: Envelope, _mechanism: str, data: Any) -> Any:
        given = (data.login.decode(), data.password.decode())
        return AuthResult(success=given == self._login, handled=False)

    def _protocol(self) -> SMTP:
        made = SMTP(
            self,
            loop=self._loop,
            hostname="mailbox.test",
            enable_SMTPUTF8=True,
            tls_context=self._tls,
            authenticator=self._authenticate if self._login else None,
            auth_required=self._login is not None,
            auth_require_tls=self._tls is not None,
        )
        self._open.add(made)
        return made

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        server = self._loop.run_until_complete(self._loop.create_server(self._protocol, "127.0.0.1", 0))
        self.port = server.sockets[0].getsockname()[1]
        self._ready.set()
        self._loop.run_forever()
        server.close()
        for connection in self._open:
            _abort(connection)
        tasks = asyncio.all_tasks(self._loop)
        for task in tasks:
            task.cancel()
        self._loop.run_until_complete(asyncio.gather(*tasks, return_exceptions=True))
        self._loop.run_until_complete(asyncio.sleep(0))
        self._loop.close()


def _abort(connection: SMTP) -> None:
    """Hang up at once."""
    if isinstance(connection.transport, asyncio.WriteTransport):
        connection.transport.abort()
