"""How the processes around a call speak: bytes behind their length, over sockets and pipes."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    import socket

_LENGTH: Final = struct.Struct(">I")


def framed(payload: bytes) -> bytes:
    """Return a frame."""
    return _LENGTH.pack(len(payload)) + payload


def first(received: bytes | bytearray) -> bytes | None:
    """Return the payload that `received` begins with; None while it is not all there."""
    if len(received) < _LENGTH.size:
        return None
    [length] = _LENGTH.unpack_from(received)
    end = _LENGTH.size + length
    return bytes(received[_LENGTH.size : end]) if len(received) >= end else None


def missing(received: bytes | bytearray) -> int:
    """Return how many bytes may be read without reading beyond the frame that `received` is the beginning of."""
    if len(received) < _LENGTH.size:
        return _LENGTH.size - len(received)
    [length] = _LENGTH.unpack_from(received)
    left: int = _LENGTH.size + length - len(received)
    return left


def send(line: socket.socket, payload: bytes) -> None:
    """Send a frame. Raises OSError; TimeoutError where the line has a timeout that passed."""
    line.sendall(framed(payload))


def receive(line: socket.socket) -> bytes:
    """Receive a frame. Raises EOFError where the other side is gone, OSError as `send` does."""
    [length] = _LENGTH.unpack(_exactly(line, _LENGTH.size))
    return _exactly(line, length)


def _exactly(line: socket.socket, size: int) -> bytes:
    received = bytearray()
    while len(received) < size:
        chunk = line.recv(min(size - len(received), 65_536))
        if not chunk:
            raise EOFError
        received += chunk
    return bytes(received)
