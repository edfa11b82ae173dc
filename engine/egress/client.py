"""One HTTP call to a receiver that nobody vouches for: bounded in time and size, to a judged address, without detours.

There are no redirects, no proxies, no cookies and no connections kept: what a URL says is all that is called.
"""

from __future__ import annotations

import logging
import ssl
from contextlib import closing
from http.client import HTTPException
from typing import TYPE_CHECKING, Final, cast

import certifi
from urllib3.connection import HTTPConnection
from urllib3.exceptions import HTTPError

from core.clock import monotonic
from engine.egress import headers as rules
from engine.egress import names, urls
from engine.egress.errors import BlockedError, BrokenError, NotSentError
from engine.egress.response import Response
from engine.egress.timed import connect, left, tls_context

if TYPE_CHECKING:
    from collections.abc import Mapping

    from urllib3.response import HTTPResponse

    from engine.egress.allow import Allow
    from engine.egress.timed import TimedSocket, TimedTls
    from engine.egress.urls import Url

MAX_REQUEST: Final = 256 * 1024
MAX_RESPONSE: Final = 64 * 1024
_READ: Final = 16 * 1024
_ALWAYS: Final = {"Connection": "close", "Accept-Encoding": "identity"}
_AGENT: Final = "CMIS-Automation"

# It warns of a receiver's malformed headers with the whole URL, which may be a secret.
logging.getLogger("urllib3.connection").disabled = True


class Egress:
    """The way out, shared by all threads. `trust`: a file of certificate authorities, for those of an intranet."""

    def __init__(
        self,
        allow: Allow,
        *,
        connect_seconds: float = 3.0,
        total_seconds: float = 10.0,
        resolve: names.Resolve = names.lookup,
        trust: str | None = None,
    ) -> None:
        self._allow = allow
        self._connect_seconds = connect_seconds
        self._total_seconds = total_seconds
        self._resolve = resolve
        self._tls = tls_context(trust or certifi.where())

    def post(self, url: str, *, body: bytes, headers: Mapping[str, str]) -> Response:
        """Send `body`. Raises BlockedError, NotSentError or BrokenError; any answer is a response."""
        if len(body) > MAX_REQUEST:
            raise BlockedError(f"the body has {len(body):,} bytes, more than {MAX_REQUEST:,}", "send less")
        return self._call("POST", url, body, headers)

    def get(self, url: str, *, headers: Mapping[str, str]) -> Response:
        """Ask. Raises as `post` does."""
        return self._call("GET", url, None, headers)

    def _call(self, method: str, text: str, body: bytes | None, headers: Mapping[str, str]) -> Response:
        until = monotonic() + self._total_seconds
        url = urls.read(text)
        rules.check(headers)
        own = {"Host": url.authority, **_ALWAYS}
        if "user-agent" not in {name.lower() for name in headers}:
            own["User-Agent"] = _AGENT
        with closing(self._open(url, until)) as line:
            talk = _Talk(HTTPConnection(url.host, url.port, timeout=self._total_seconds), line, self._total_seconds)
            return talk.run(method, url.target, body, {**own, **headers})

    def _open(self, url: Url, until: float) -> TimedSocket | TimedTls:
        """Return a connection to an address of the URL's host; over TLS, verified for its name, if it is https."""
        seconds = min(self._connect_seconds, self._total_seconds)
        addresses = names.admitted(url, self._allow, self._resolve, seconds=seconds)
        by = min(monotonic() + seconds, until)
        try:
            plain = connect(addresses, url.port, by=by)
            line = self._secured(plain, url.host, by) if url.scheme == "https" else plain
        except OSError as error:
            raise NotSentError(_not_sent(url, error, seconds)) from error
        line.until = until
        return line

    def _secured(self, line: TimedSocket, host: str, by: float) -> TimedTls:
        """Shake hands before `by`, in one wait; the name that is verified is the one that is asked for (SNI)."""
        with closing(line):  # whose socket the result takes over
            line.settimeout(left(by))
            return cast("TimedTls", self._tls.wrap_socket(line, server_hostname=host))


class _Talk:
    """A request on an open connection, and its answer."""

    def __init__(self, connection: HTTPConnection, line: TimedSocket | TimedTls, seconds: float) -> None:
        connection.sock = line
        connection.auto_open = 0  # it must never look for a way of its own
        self._connection = connection
        self._seconds = seconds

    def run(self, method: str, target: str, body: bytes | None, headers: Mapping[str, str]) -> Response:
        """Send, and read the answer up to its limit. Raises BrokenError."""
        try:
            self._send(method, target, body, headers)
            answer = self._connection.getresponse()
        except (OSError, HTTPException, HTTPError) as error:
            raise BrokenError(self._why(error, "before an answer")) from error
        with closing(answer):
            return self._read(answer)

    def _send(self, method: str, target: str, body: bytes | None, headers: Mapping[str, str]) -> None:
        try:
            self._connection.request(
                method, target, body=body, headers=headers, preload_content=False, decode_content=False
            )
        except (BrokenPipeError, ConnectionResetError):
            return  # a receiver that has heard enough may have answered already

    def _read(self, answer: HTTPResponse) -> Response:
        headers = {name.lower(): value for name, value in answer.headers.items()}
        body = bytearray()
        try:
            while len(body) <= MAX_RESPONSE and (part := answer.read1(_READ, decode_content=False)):
                body += part
        except (OSError, HTTPException, HTTPError) as error:
            begun = Response(answer.status, headers, bytes(body[:MAX_RESPONSE]), truncated=True)
            raise BrokenError(self._why(error, f"in its answer, {answer.status}"), begun) from error
        return Response(answer.status, headers, bytes(body[:MAX_RESPONSE]), truncated=len(body) > MAX_RESPONSE)

    def _why(self, error: Exception, where: str) -> str:
        """Say what happened in words of our own: a library's may quote what the receiver sent."""
        if _is_timeout(error):
            return f"the receiver did not end within {self._seconds:g} s"
        return f"the receiver broke off {where}, or it was no HTTP ({type(error).__name__})"


def _is_timeout(error: BaseException | None) -> bool:
    while error is not None:
        if isinstance(error, TimeoutError):
            return True
        error = error.__cause__ or error.__context__
    return False


def _not_sent(url: Url, error: OSError, seconds: float) -> str:
    if isinstance(error, TimeoutError):
        return f"{url.origin} did not answer within {seconds:g} s"
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"the certificate of {url.origin} is not valid: {error.verify_message}"
    if isinstance(error, ssl.SSLError):
        return f"{url.origin} did not agree on TLS ({error.reason or 'it broke off'})"
    return f"{url.origin} was not reached: {error.strerror or type(error).__name__}"
