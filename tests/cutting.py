"""A proxy before a Postgres server that cuts the line at a COMMIT: before the server hears it, or before its answer."""

from __future__ import annotations

import signal
import socket
import threading
from contextlib import suppress
from enum import Enum, auto
from typing import TYPE_CHECKING, Final, Self

from sqlalchemy.engine import make_url

if TYPE_CHECKING:
    from types import TracebackType

_COMMIT: Final = b"COMMIT\x00"
_SIZE: Final = 65_536


class Cut(Enum):
    """Where the line is cut."""

    UNHEARD = auto()
    """The COMMIT never reaches the server."""
    UNANSWERED = auto()
    """It does, and what the server answers never comes back."""
    STALLED = auto()
    """As before, but the line stays open; the main thread is sent SIGUSR1 while it waits for the answer."""


class Cutter:
    """Passes everything on until it is armed; then the next COMMIT of any connection is the last that it carries."""

    def __init__(self, url: str) -> None:
        self._target = make_url(url)
        self._server = socket.create_server(("127.0.0.1", 0))
        self._cut: Cut | None = None
        self._down = threading.Event()
        self.cuts = 0

    @property
    def url(self) -> str:
        """The server's URL by way of this proxy."""
        port = self._server.getsockname()[1]
        here = self._target.set(host="127.0.0.1", port=port, query={})
        return here.render_as_string(hide_password=False)

    def arm(self, cut: Cut) -> None:
        """Cut at the next COMMIT."""
        self._cut = cut

    def refuse(self) -> None:
        """Take no connection any more."""
        self._down.set()

    def __enter__(self) -> Self:
        """Serve."""
        threading.Thread(target=self._serve, daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Take no further connection."""
        self._server.close()

    def _serve(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self._server.accept()
                if self._down.is_set():
                    client.close()
                    continue
                threading.Thread(target=self._carry, args=(client,), daemon=True).start()

    def _open(self) -> socket.socket:
        directory = self._target.query.get("host") or self._target.host
        port = self._target.query.get("port") or self._target.port or 5432
        if str(directory).startswith("/"):
            server = socket.socket(socket.AF_UNIX)
            server.connect(f"{directory}/.s.PGSQL.{port}")
            return server
        return socket.create_connection((str(directory), int(str(port))))

    def _carry(self, client: socket.socket) -> None:
        with suppress(OSError), client, self._open() as server:
            stalled = threading.Event()
            back = threading.Thread(target=_pump, args=(server, client, stalled), daemon=True)
            back.start()
            while data := client.recv(_SIZE):
                cut = self._cut if _COMMIT in data else None
                if cut is not None:
                    self._cut, self.cuts = None, self.cuts + 1
                    stalled.set()  # first: no answer passes
                if cut is not Cut.UNHEARD:
                    server.sendall(data)
                if cut is Cut.STALLED:
                    signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGUSR1)
                elif cut is not None:
                    client.shutdown(socket.SHUT_RDWR)
                    break
            server.shutdown(socket.SHUT_WR)
            back.join()


def _pump(source: socket.socket, target: socket.socket, stalled: threading.Event) -> None:
    with suppress(OSError):
        while data := source.recv(_SIZE):
            if not stalled.is_set():
                target.sendall(data)
    with suppress(OSError):
        target.shutdown(socket.SHUT_WR)
