"""The receiver of HTTP: a thread per connection, a log of every request, and effects counted by idempotency key."""

from __future__ import annotations

import json
from collections import Counter, defaultdict, deque
from contextlib import suppress
from dataclasses import asdict, dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Event, Lock, Thread
from typing import TYPE_CHECKING, Any, Self
from urllib.parse import parse_qs, urlsplit

from tests.receiver.behaviours import BEHAVIOURS, behave

if TYPE_CHECKING:
    import socket
    import ssl
    from collections.abc import Mapping


@dataclass(frozen=True, slots=True)
class Request:
    """One request as it came."""

    method: str
    path: str
    query: str
    headers: Mapping[str, str]
    """Names in small letters."""
    body: bytes

    @property
    def key(self) -> str | None:
        """Return its idempotency key."""
        return self.headers.get("idempotency-key") or self.headers.get("webhook-id")

    def document(self) -> dict[str, Any]:
        """Return it as JSON can hold it."""
        return {**asdict(self), "headers": dict(self.headers), "body": self.body.decode(errors="replace")}


class Receiver:
    """A server on 127.0.0.1. A path may name a behaviour: `/fails/500`; any other is fine: `/hook`.

    `script` says how the next requests for a path are answered, in order. `effects`: how often something was done, by
    key; a receiver that `honours_keys` does what has one key once.
    """

    def __init__(self, *, honours_keys: bool = True, tls: ssl.SSLContext | None = None, port: int = 0) -> None:
        self.honours_keys = honours_keys
        self.tls = tls
        self.log: list[Request] = []
        self.effects: Counter[str | None] = Counter()
        self.sent = 0
        """Bytes of answers that the system took."""
        self._scripts: dict[str, deque[str | bytes]] = defaultdict(deque)
        self._lock = Lock()
        self._ending = Event()
        self._released = Event()
        self._server = _Server(self, port)
        self.port: int = self._server.server_address[1]

    @property
    def url(self) -> str:
        """Return scheme, host and port."""
        return f"http{'s' if self.tls else ''}://127.0.0.1:{self.port}"

    def __enter__(self) -> Self:
        Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ending.set()
        self._released.set()
        self._server.shutdown()
        self._server.server_close()

    def script(self, path: str, *behaviours: str | bytes) -> None:
        """Say how the next requests for `path` are answered."""
        with self._lock:
            self._scripts[path].extend(behaviours)

    def hold(self, path: str) -> None:
        """Take the next request for `path`, and answer it at `release` only."""
        self._released.clear()
        self.script(path, "holds")

    def release(self) -> None:
        """Answer what is held."""
        self._released.set()

    def wait_until_released(self) -> None:
        """Wait for that."""
        self._released.wait()

    def requests(self, path: str) -> list[Request]:
        """Return the requests for a path so far."""
        with self._lock:
            return [request for request in self.log if request.path == path]

    def wait_for_the_end(self, seconds: float | None = None) -> bool:
        """Wait until the receiver is closed, or for so long; say whether it is."""
        return self._ending.wait(seconds)

    def record(self, request: Request) -> str | bytes:
        """Log a request, and say how it is answered."""
        with self._lock:
            self.log.append(request)
            if script := self._scripts[request.path]:
                return script.popleft()
        asked = parse_qs(request.query).get("idempotency_key")
        if request.method == "GET" and asked:
            return "fails/200" if self.effects[asked[0]] else "fails/404"
        word = request.path.removeprefix("/")
        return word if word.partition("/")[0] in BEHAVIOURS else "ok"

    def take(self, request: Request) -> None:
        """Do what a request asks for."""
        with self._lock:
            if request.key is None or not self.honours_keys or not self.effects[request.key]:
                self.effects[request.key] += 1

    def control(self, request: Request) -> Any:
        """Answer whoever runs the receiver as a process: its log, its effects; a script is set by POST."""
        if request.path == "/_script":
            told = json.loads(request.body)
            self.script(told["path"], *told["behaviours"])
        with self._lock:
            if request.path == "/_log":
                return [each.document() for each in self.log]
            return {str(key): count for key, count in self.effects.items()}


@dataclass(frozen=True, slots=True)
class Exchange:
    """One request on its connection, while it is answered."""

    receiver: Receiver
    request: Request
    socket: socket.socket

    def take(self) -> None:
        """Do what is asked for."""
        self.receiver.take(self.request)

    def send(self, data: bytes) -> None:
        """Send bytes as they are."""
        self.socket.sendall(data)
        self.receiver.sent += len(data)

    def answer(self, status: int, body: bytes, headers: Mapping[str, str] | None = None) -> None:
        """Send a whole answer."""
        lines = [f"{name}: {value}\r\n" for name, value in {**(headers or {}), "Content-Length": len(body)}.items()]
        self.send(f"HTTP/1.1 {status} X\r\n{''.join(lines)}\r\n".encode() + body)


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 512

    def __init__(self, receiver: Receiver, port: int) -> None:
        self.receiver = receiver
        super().__init__(("127.0.0.1", port), _Handler)

    def finish_request(self, request: Any, client_address: Any) -> None:
        """Serve a connection, in its own thread; the handshake too, so that nobody waits for another's."""
        with suppress(OSError):  # the caller hung up, which is what many tests are about
            if self.receiver.tls is None:
                super().finish_request(request, client_address)
                return
            with self.receiver.tls.wrap_socket(request, server_side=True) as secured:
                super().finish_request(secured, client_address)


class _Handler(BaseHTTPRequestHandler):
    server: _Server
    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        receiver = self.server.receiver
        parts = urlsplit(self.path)
        headers = {name.lower(): value for name, value in self.headers.items()}
        body = self.rfile.read(int(headers.get("content-length", 0)))
        request = Request(self.command, parts.path, parts.query, headers, body)
        exchange = Exchange(receiver, request, self.connection)
        self.close_connection = True
        if request.path.startswith("/_"):
            exchange.answer(200, json.dumps(receiver.control(request)).encode())
        else:
            behave(exchange, receiver.record(request))

    do_GET = do_POST  # noqa: N815 - http.server's name

    def log_message(self, *_: Any) -> None:
        """Say nothing: the log is `Receiver.log`."""
