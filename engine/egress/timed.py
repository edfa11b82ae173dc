"""Sockets that end at a moment, however many bytes trickle in before: a timeout alone begins anew with each."""

from __future__ import annotations

import socket
import ssl
from typing import TYPE_CHECKING, Any

from core.clock import monotonic

if TYPE_CHECKING:
    from collections.abc import Sequence

    from engine.egress.addresses import Address


def left(until: float, at_most: float = float("inf")) -> float:
    """Return the seconds until a moment of `monotonic`, `at_most` so many. Raises TimeoutError if it has come."""
    seconds = min(until - monotonic(), at_most)
    if seconds <= 0:
        raise TimeoutError("timed out")
    return seconds


class TimedSocket(socket.socket):
    """A socket whose every wait ends at `until`, in seconds of `monotonic`."""

    until: float = float("inf")

    def recv_into(self, *args: Any, **kwargs: Any) -> int:
        """Receive within what is left."""
        self.settimeout(left(self.until))
        return super().recv_into(*args, **kwargs)

    def sendall(self, *args: Any, **kwargs: Any) -> None:
        """Send all within what is left: its timeout is one for the whole."""
        self.settimeout(left(self.until))
        super().sendall(*args, **kwargs)


class TimedTls(ssl.SSLSocket):
    """The same over TLS, whose `sendall` is many `send`s."""

    until: float = float("inf")

    def recv_into(self, *args: Any, **kwargs: Any) -> int:
        """Receive within what is left."""
        self.settimeout(left(self.until))
        return super().recv_into(*args, **kwargs)

    def send(self, *args: Any, **kwargs: Any) -> int:
        """Send some within what is left."""
        self.settimeout(left(self.until))
        return super().send(*args, **kwargs)


def tls_context(trust: str) -> ssl.SSLContext:
    """Return a context that verifies certificates and their names by the authorities in the file `trust`."""
    context = ssl.create_default_context(cafile=trust)
    context.sslsocket_class = TimedTls
    context.set_alpn_protocols(["http/1.1"])
    return context


def connect(addresses: Sequence[Address], port: int, *, by: float) -> TimedSocket:
    """Connect to one of the addresses, each in its turn, all of them before `by`. Raises OSError if none answers."""
    for position, address in enumerate(addresses):
        last = position == len(addresses) - 1
        try:
            return _connect(address, port, left(by) / (len(addresses) - position))
        except OSError:
            if last:
                raise
    raise OSError("no address")


def _connect(address: Address, port: int, seconds: float) -> TimedSocket:
    family = socket.AF_INET if address.version == 4 else socket.AF_INET6  # noqa: PLR2004 - the versions of IP
    made = TimedSocket(family, socket.SOCK_STREAM)
    try:
        made.settimeout(seconds)
        made.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        made.connect((str(address), port))
    except BaseException:
        made.close()
        raise
    return made
