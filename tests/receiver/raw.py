"""A server that says what it likes to whoever connects, whatever was asked: for answers that are no HTTP, or no TLS."""

from __future__ import annotations

import socket
from contextlib import suppress
from threading import Event, Thread
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from collections.abc import Callable


class Raw:
    """A server on 127.0.0.1 that calls `serve` with each connection, in a thread, and then closes it.

    Its system takes little that it has not read itself: whoever sends more waits for it.
    """

    def __init__(self, serve: Callable[[socket.socket, Event], None]) -> None:
        self._serve = serve
        self._ending = Event()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1_024)
        self._threads = [Thread(target=self._accept, daemon=True)]
        self.port: int = self._listener.getsockname()[1]

    def __enter__(self) -> Self:
        self._threads[0].start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ending.set()
        self._listener.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join()
        self._listener.close()

    def _accept(self) -> None:
        with suppress(OSError):  # the listener was shut down
            while True:
                connection, _ = self._listener.accept()
                self._threads.append(Thread(target=self._one, args=(connection,), daemon=True))
                self._threads[-1].start()

    def _one(self, connection: socket.socket) -> None:
        with connection, suppress(OSError):  # the caller hung up
            self._serve(connection, self._ending)
