"""How the receiver of HTTP answers: words that a path, a script or a command line can name."""

from __future__ import annotations

import json
import socket
import struct
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.receiver.web import Exchange

LARGE: Final = 10 * 1024 * 1024
_PART: Final = 16 * 1024
_DRIP: Final = 0.02
"""Seconds between two bytes that trickle."""


def behave(exchange: Exchange, word: str | bytes) -> None:
    """Do what `word` says: `name` or `name/argument/…`; bytes are sent as they are, and the connection closed."""
    if isinstance(word, bytes):
        exchange.send(word)
        return
    name, argument, *_ = [*word.split("/"), ""]
    BEHAVIOURS[name](exchange, argument)


def _ok(exchange: Exchange, _: str) -> None:
    exchange.take()
    exchange.answer(200, b"ok")


def _fails(exchange: Exchange, status: str) -> None:
    exchange.answer(int(status), b"it failed")


def _busy(exchange: Exchange, retry_after: str) -> None:
    exchange.answer(429, b"slow down", {"Retry-After": retry_after})


def _redirects(exchange: Exchange, status: str) -> None:
    exchange.answer(int(status), b"", {"Location": f"{exchange.receiver.url}/ok"})


def _echoes(exchange: Exchange, status: str) -> None:
    """Say back all that was said, as a receiver under debugging does."""
    seen = exchange.request
    exchange.answer(
        int(status or 200), json.dumps([seen.path, seen.query, dict(seen.headers)]).encode() + b"\n" + seen.body
    )


def _hangs(exchange: Exchange, _: str) -> None:
    exchange.receiver.wait_for_the_end()


def _holds(exchange: Exchange, _: str) -> None:
    """Take it, and answer once the receiver is told to."""
    exchange.take()
    exchange.receiver.wait_until_released()
    exchange.answer(200, b"ok")


def _drops(exchange: Exchange, _: str) -> None:
    """Take it, and close without a word."""
    exchange.take()


def _resets(exchange: Exchange, status: str) -> None:
    """Take it if that is what the status says, and reset in the middle of the answer's body."""
    if status in {"", "200"}:
        exchange.take()
    exchange.send(f"HTTP/1.1 {status or 200} X\r\nContent-Length: 100\r\n\r\nhalf of i".encode())
    exchange.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


def _large(exchange: Exchange, _: str) -> None:
    exchange.take()
    exchange.send(f"HTTP/1.1 200 OK\r\nContent-Length: {LARGE}\r\n\r\n".encode())
    for _part in range(LARGE // _PART):
        exchange.send(b"x" * _PART)


def _trickles(exchange: Exchange, part: str) -> None:
    """Send a byte now and then, for ever: of the headers, or of a body whose headers came at once."""
    if part == "body":
        exchange.take()
        exchange.send(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n")
    else:
        exchange.send(b"HTTP/1.1 200 OK\r\nX-Long: ")
    while not exchange.receiver.wait_for_the_end(_DRIP):
        exchange.send(b"x")


BEHAVIOURS: Final[dict[str, Callable[[Exchange, str], None]]] = {
    "ok": _ok,
    "fails": _fails,
    "busy": _busy,
    "redirects": _redirects,
    "echoes": _echoes,
    "hangs": _hangs,
    "holds": _holds,
    "drops": _drops,
    "resets": _resets,
    "large": _large,
    "trickles": _trickles,
}
