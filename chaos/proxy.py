"""A TCP proxy between a process and its server that is late, silent, half-open or cut, as the scenario says.

It stands on a port of 127.0.0.1 in a thread of its own. What it does to connections it does as networks do: where
nothing is forwarded, neither is the end of a connection, so that each side believes that the other still listens.
"""

from __future__ import annotations

import asyncio
import random
import socket
import struct
from contextlib import suppress
from dataclasses import dataclass, field
from threading import Thread
from typing import TYPE_CHECKING, Final, Self, TypeVar
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from collections.abc import Coroutine

Result = TypeVar("Result")

_CHUNK: Final = 65_536
_TAIL: Final = 1_024
"""How much of what was sent before is kept, since a pattern may come in two parts."""
_PATIENCE: Final = 10.0
_RESET: Final = struct.pack("ii", 1, 0)
"""SO_LINGER of no seconds: closing sends RST, as a host does that knows nothing of the connection any more."""


@dataclass
class _Cut:
    """Where connections are cut: at a byte string that a client sends, or after so many bytes of it."""

    pattern: bytes
    after_bytes: int
    delivered: bool
    left: int

    def at(self, seen: bytes, data: bytes, sent: int) -> bool:
        """Say whether `data`, which follows the tail `seen` and `sent` bytes in all, reaches the place."""
        if not self.left:
            return False
        if not self.pattern:
            return sent + len(data) >= self.after_bytes
        reach = len(self.pattern) - 1  # what was sent before the cut was asked for is no reason for it
        return self.pattern in (seen[-reach:] if reach else b"") + data


@dataclass(eq=False)
class _Link:
    """One connection through the proxy: its two sockets as streams, and whether anything flows."""

    writers: list[asyncio.StreamWriter]
    flows: asyncio.Event = field(default_factory=asyncio.Event)
    half_open: bool = False
    swallows: bool = False
    """What the server answers is dropped, and the connection cut: the client asked for something and cannot know."""

    def abort(self) -> None:
        """Cut both sides with RST; who waits for something to flow waits no longer."""
        self.flows.set()
        for writer in self.writers:
            sock = writer.get_extra_info("socket")
            with suppress(OSError):
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
            writer.transport.abort()


class Proxy:
    """Forwards 127.0.0.1:`port` to a server; its verbs may be called from any thread, and work at once."""

    def __init__(self, host: str, port: int, *, seed: int = 0) -> None:
        self._upstream = (host, port)
        self._chance = random.Random(seed)
        self._delay = (0.0, 0.0)
        self._open = True
        self._cut: _Cut | None = None
        self._links: set[_Link] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._loop = asyncio.new_event_loop()
        self._thread = Thread(target=self._loop.run_forever, name="proxy", daemon=True)
        self._server: asyncio.Server | None = None
        self.port = 0
        self.connections = 0
        """How many were accepted so far."""
        self.cuts = 0
        """How many connections ended by `reset` or `cut`."""

    @classmethod
    def before(cls, url: str, *, seed: int = 0) -> Self:
        """Return a proxy before the server of a URL."""
        parts = urlsplit(url)
        if parts.hostname is None or parts.port is None:
            raise ValueError("a proxy needs a URL with host and port")
        return cls(parts.hostname, parts.port, seed=seed)

    def url(self, url: str) -> str:
        """Return a URL of the server as one through the proxy."""
        parts = urlsplit(url)
        account, at, _ = parts.netloc.rpartition("@")
        return parts._replace(netloc=f"{account}{at}127.0.0.1:{self.port}").geturl()

    def __enter__(self) -> Self:
        self._thread.start()
        self._do(self._listen())
        return self

    def __exit__(self, *_: object) -> None:
        self._do(self._close())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(_PATIENCE)
        self._loop.close()

    def slow(self, seconds: float, jitter: float = 0.0) -> None:
        """Let everything take `seconds` longer in each direction, and up to `jitter` more by chance."""
        self._delay = (seconds, jitter)

    def black_hole(self) -> None:
        """Accept everything and forward nothing, on present and later connections, until `restore`."""
        self._do(self._silence(half_open=False))

    def half_open(self) -> None:
        """Never again forward anything on the present connections, nor their end; later ones are as usual."""
        self._do(self._silence(half_open=True))

    def reset(self) -> int:
        """Cut every connection with RST; returns how many."""
        return self._do(self._reset())

    def cut(self, pattern: bytes = b"", *, after_bytes: int = 0, delivered: bool = True, times: int = 1) -> None:
        """Cut each of the next `times` connections that come to a place in what their client sends, with RST.

        The place: where `pattern` was sent, or `after_bytes`. Where `delivered`, the server gets what leads there and
        answers, and the answer is lost; else what leads there is lost.
        """
        if bool(pattern) == bool(after_bytes):
            raise ValueError("a cut is at a pattern, or after so many bytes")
        self._cut = _Cut(pattern, after_bytes, delivered, times)

    def restore(self) -> None:
        """Forward everything at once again: what was held back, too. Half-open connections stay dead."""
        self._delay, self._cut = (0.0, 0.0), None
        self._do(self._release())

    def _do(self, work: Coroutine[None, None, Result]) -> Result:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(_PATIENCE)

    async def _listen(self) -> None:
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]

    async def _close(self) -> None:
        if self._server is not None:
            self._server.close()
        for task in self._tasks:
            task.cancel()
        for link in list(self._links):
            link.abort()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _silence(self, *, half_open: bool) -> None:
        self._open = half_open
        for link in self._links:
            link.flows.clear()
            link.half_open |= half_open

    async def _release(self) -> None:
        self._open = True
        for link in self._links:
            if not link.half_open:
                link.flows.set()

    async def _reset(self) -> int:
        links = [link for link in self._links if not link.half_open]
        for link in links:
            link.abort()
        self.cuts += len(links)
        return len(links)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        if task is None:
            return
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        self.connections += 1
        link = _Link([writer])
        self._links.add(link)
        if self._open:
            link.flows.set()
        try:
            await link.flows.wait()  # what is not forwarded does not reach the server either
            up_reader, up_writer = await asyncio.open_connection(*self._upstream)
            link.writers.append(up_writer)
            await asyncio.gather(self._up(link, reader, up_writer), self._down(link, up_reader, writer))
        except OSError:
            link.abort()  # of either side: the server is away, or somebody cut the connection
        except asyncio.CancelledError:
            link.abort()  # the proxy ends; to a stream's protocol a task that was cancelled would be an error
        finally:
            self._links.discard(link)
            for each in link.writers:
                each.close()

    async def _up(self, link: _Link, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Forward what the client sends, as far as the next cut."""
        seen, sent = b"", 0
        while data := await reader.read(_CHUNK):
            await self._pass(link)
            if (cut := self._cut) is not None and cut.at(seen, data, sent):
                cut.left -= 1
                if not cut.delivered:
                    await self._end(link)
                    return
                link.swallows = True
            seen, sent = (seen + data)[-_TAIL:], sent + len(data)
            writer.write(data)
            await writer.drain()
        await self._pass(link)
        writer.write_eof()

    async def _down(self, link: _Link, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Forward what the server answers, unless it is to be lost."""
        while data := await reader.read(_CHUNK):
            if link.swallows:
                await self._end(link)
                return
            await self._pass(link)
            writer.write(data)
            await writer.drain()
        await self._pass(link)
        writer.close()

    async def _end(self, link: _Link) -> None:
        self.cuts += 1
        link.abort()

    async def _pass(self, link: _Link) -> None:
        """Wait as long as what was read is held back."""
        seconds, jitter = self._delay
        if seconds or jitter:
            await asyncio.sleep(seconds + self._chance.uniform(0, jitter))
        await link.flows.wait()
