"""The fault proxy on real sockets: what each side sees of what it does."""

from __future__ import annotations

import socket
from contextlib import contextmanager
from socketserver import BaseRequestHandler, ThreadingTCPServer
from threading import Thread
from typing import TYPE_CHECKING

import pytest

from chaos.proxy import Proxy
from core.clock import monotonic
from dev.launch import wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator

BLINK = 0.2
PATIENCE = 20.0


class Echo(BaseRequestHandler):
    """Answers what it gets, and remembers it, and whether the other side has said good-bye."""

    def handle(self) -> None:
        server = self.server
        assert isinstance(server, EchoServer)
        try:
            while data := self.request.recv(65_536):
                server.got += data
                self.request.sendall(data)
        except OSError:
            server.resets += 1
            return
        server.ends += 1


class EchoServer(ThreadingTCPServer):
    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Echo)
        self.got = bytearray()
        self.ends = 0
        self.resets = 0


@pytest.fixture
def echo() -> Iterator[EchoServer]:
    with EchoServer() as server:
        Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
        yield server
        server.shutdown()


@pytest.fixture
def proxy(echo: EchoServer) -> Iterator[Proxy]:
    host, port = echo.server_address[:2]
    with Proxy(str(host), int(port)) as made:
        yield made


@contextmanager
def client(proxy: Proxy) -> Iterator[socket.socket]:
    with socket.create_connection(("127.0.0.1", proxy.port), timeout=PATIENCE) as made:
        yield made


def ask(sock: socket.socket, data: bytes) -> bytes:
    sock.sendall(data)
    answer = b""
    while len(answer) < len(data):
        part = sock.recv(65_536)
        if not part:
            break
        answer += part
    return answer


def is_silent(sock: socket.socket) -> bool:
    sock.settimeout(BLINK)
    try:
        sock.recv(1)
    except TimeoutError:
        return True
    finally:
        sock.settimeout(PATIENCE)
    return False


def test_what_is_sent_arrives_whole_and_so_does_the_end(proxy: Proxy, echo: EchoServer) -> None:
    data = bytes(range(256)) * 4_000
    with client(proxy) as sock:
        sender = Thread(target=_send_all, args=(sock, data))
        sender.start()
        assert b"".join(iter(lambda: sock.recv(65_536), b"")) == data
        sender.join()
    assert wait_until(lambda: echo.ends == 1, PATIENCE)
    assert (proxy.connections, proxy.cuts) == (1, 0)


def _send_all(sock: socket.socket, data: bytes) -> None:
    sock.sendall(data)
    sock.shutdown(socket.SHUT_WR)


def test_it_is_late_in_each_direction(proxy: Proxy) -> None:
    with client(proxy) as sock:
        assert ask(sock, b"quick") == b"quick"
        proxy.slow(0.2, jitter=0.05)
        started = monotonic()
        assert ask(sock, b"slow") == b"slow"
        assert monotonic() - started >= 0.4
        proxy.restore()
        assert ask(sock, b"quick again") == b"quick again"


def test_a_black_hole_takes_connections_and_gives_everything_back_when_it_closes(
    proxy: Proxy, echo: EchoServer
) -> None:
    with client(proxy) as old:
        ask(old, b"1")
        proxy.black_hole()
        with client(proxy) as new:
            for sock in (old, new):
                sock.sendall(b"2")
                assert is_silent(sock)
            assert echo.got == b"1"
            proxy.restore()
            assert [sock.recv(1) for sock in (old, new)] == [b"2", b"2"]


def test_half_open_connections_stay_silent_to_both_sides_and_later_ones_work(proxy: Proxy, echo: EchoServer) -> None:
    with client(proxy) as old:
        ask(old, b"1")
        proxy.half_open()
        old.sendall(b"lost")
        assert is_silent(old)
        with client(proxy) as new:
            assert ask(new, b"2") == b"2"
        proxy.restore()
        assert is_silent(old)
    assert wait_until(lambda: echo.ends == 1, PATIENCE)
    with client(proxy) as another:
        assert ask(another, b"3") == b"3"  # a turn of the proxy after the old client's end
    assert wait_until(lambda: echo.ends == 2, PATIENCE)
    assert (bytes(echo.got), echo.resets) == (b"123", 0)


def test_a_reset_is_one_to_both_sides(proxy: Proxy, echo: EchoServer) -> None:
    with client(proxy) as sock:
        ask(sock, b"1")
        assert proxy.reset() == 1
        with pytest.raises(ConnectionResetError):
            sock.recv(1)
    assert wait_until(lambda: echo.resets == 1, PATIENCE)
    assert proxy.cuts == 1
    with client(proxy) as again:
        assert ask(again, b"2") == b"2"


@pytest.mark.parametrize("delivered", [True, False])
def test_a_cut_at_a_pattern_loses_the_answer_or_the_question(
    proxy: Proxy,
    echo: EchoServer,
    delivered: bool,  # noqa: FBT001
) -> None:
    with client(proxy) as sock, client(proxy) as other:
        ask(sock, b"COMMIT before")
        proxy.cut(b"COMMIT", delivered=delivered)
        assert ask(sock, b"UPDATE COM") == b"UPDATE COM"
        sock.sendall(b"MIT;")
        with pytest.raises(ConnectionResetError):
            sock.recv(1)
        assert ask(other, b"COMMIT") == b"COMMIT"  # once asked, once cut
    assert echo.got == b"COMMIT beforeUPDATE COM" + b"MIT;" * delivered + b"COMMIT"
    assert proxy.cuts == 1


def test_a_cut_after_so_many_bytes_counts_from_the_connections_begin(proxy: Proxy, echo: EchoServer) -> None:
    proxy.cut(after_bytes=6, times=2)
    for _ in range(2):
        with client(proxy) as sock:
            assert ask(sock, b"12345") == b"12345"
            sock.sendall(b"6")
            with pytest.raises(ConnectionResetError):
                sock.recv(1)
    with client(proxy) as sock:
        assert ask(sock, b"1234567") == b"1234567"
    assert bytes(echo.got) == b"123456" * 2 + b"1234567"


@pytest.mark.parametrize("place", [{}, {"pattern": b"x", "after_bytes": 3}])
def test_a_cut_is_at_one_place(proxy: Proxy, place: dict[str, object]) -> None:
    with pytest.raises(ValueError, match="pattern"):
        proxy.cut(**place)  # type: ignore[arg-type]


def test_a_server_that_is_away_is_a_reset() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # bound and not listening
        host, port = taken.getsockname()
        with Proxy(host, port) as proxy, pytest.raises(ConnectionResetError), client(proxy) as sock:
            sock.recv(1)  # or while it connects, where the proxy is quicker


def test_a_url_keeps_its_account_and_path() -> None:
    with Proxy.before("redis://:secret@127.0.0.1:6379/0") as proxy:
        assert proxy.url("redis://:secret@127.0.0.1:6379/0") == f"redis://:secret@127.0.0.1:{proxy.port}/0"
        assert proxy.url("postgresql://u:p@127.0.0.1:5432/d?x=1") == f"postgresql://u:p@127.0.0.1:{proxy.port}/d?x=1"
    with pytest.raises(ValueError, match="host and port"):
        Proxy.before("redis+socket:///tmp/x")
