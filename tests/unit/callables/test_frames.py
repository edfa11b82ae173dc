"""Frames are read one by one, also where several came at once."""

from __future__ import annotations

import socket

import pytest

from engine.callables import frames


def test_missing_never_reaches_beyond_the_frame() -> None:
    whole = frames.framed(b"begun") + frames.framed(b"report")
    received = bytearray()
    read: list[bytes] = []
    at = 0
    while at < len(whole):
        size = frames.missing(received)
        received += whole[at : at + size]
        at += size
        if (payload := frames.first(received)) is not None:
            read.append(payload)
            received.clear()
    assert read == [b"begun", b"report"]


@pytest.mark.parametrize("count", [1, 3])
def test_what_is_sent_is_received(count: int) -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        for number in range(count):
            frames.send(ours, str(number).encode())
        assert [frames.receive(theirs) for _ in range(count)] == [str(number).encode() for number in range(count)]
