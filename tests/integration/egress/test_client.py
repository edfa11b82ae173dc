"""One call: bounded in time and size whatever the receiver does, over verified TLS, and never in the log."""

from __future__ import annotations

import logging
import socket
import time
from contextlib import ExitStack
from threading import Event
from typing import TYPE_CHECKING, Final

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from engine.egress.allow import Allow
from engine.egress.client import MAX_REQUEST, MAX_RESPONSE, Egress
from engine.egress.errors import BlockedError, BrokenError, NotSentError
from tests.receiver.behaviours import LARGE
from tests.receiver.raw import Raw
from tests.receiver.web import Receiver

if TYPE_CHECKING:
    from collections.abc import Callable

    from engine.egress.response import Response
    from tests.receiver.authority import Authority

HERE: Final = Allow.parse("127.0.0.1,::1,hooks.example.com")
SHORT: Final = 0.4
"""Seconds that a call may take in tests whose receiver never ends."""
SLACK: Final = 1.0
"""Seconds by which a machine that is busy may be late."""


def to_here(_host: str, _port: int) -> list[str]:
    return ["127.0.0.1"]


def post(egress: Egress, url: str, body: bytes = b"{}", **headers: str) -> Response:
    return egress.post(url, body=body, headers=headers)


def took(call: Callable[[], object]) -> float:
    begun = time.monotonic()
    call()
    return time.monotonic() - begun


def test_a_request_arrives_as_it_was_given(receiver: Receiver) -> None:
    response = Egress(HERE).post(
        f"{receiver.url}/hook?a=%20b",
        body="{'ä': 1}".encode(),
        headers={"X-Own": "1", "content-type": "application/json"},
    )
    assert (response.status, response.body, response.truncated) == (200, b"ok", False)
    [seen] = receiver.log
    assert (seen.method, seen.path, seen.query, seen.body) == ("POST", "/hook", "a=%20b", "{'ä': 1}".encode())
    assert seen.headers == {
        "host": f"127.0.0.1:{receiver.port}",
        "connection": "close",
        "accept-encoding": "identity",
        "content-length": "9",
        "content-type": "application/json",
        "user-agent": "CMIS-Automation",
        "x-own": "1",
    }


def test_a_question_has_no_body(receiver: Receiver) -> None:
    assert Egress(HERE).get(f"{receiver.url}/hook", headers={"User-Agent": "mine"}).status == 200
    [seen] = receiver.log
    assert (seen.method, seen.body, seen.headers["user-agent"]) == ("GET", b"", "mine")
    assert "content-length" not in seen.headers


@pytest.mark.parametrize("status", [200, 204, 302, 400, 404, 429, 500, 503])
def test_any_answer_is_a_response(receiver: Receiver, status: int) -> None:
    assert post(Egress(HERE), f"{receiver.url}/fails/{status}").status == status


def test_ten_megabytes_are_cut_off_and_not_read(receiver: Receiver) -> None:
    response = post(Egress(HERE), f"{receiver.url}/large")
    assert (response.status, len(response.body), response.truncated) == (200, MAX_RESPONSE, True)
    assert receiver.sent < LARGE  # the rest was never taken from it


@pytest.mark.parametrize(("size", "truncated"), [(MAX_RESPONSE, False), (MAX_RESPONSE + 1, True)])
def test_an_answer_of_exactly_the_limit_is_whole(receiver: Receiver, size: int, *, truncated: bool) -> None:
    receiver.script("/hook", b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % size + b"x" * size)
    response = post(Egress(HERE), f"{receiver.url}/hook")
    assert (len(response.body), response.truncated) == (MAX_RESPONSE, truncated)


def test_what_is_too_large_is_not_sent(receiver: Receiver) -> None:
    assert post(Egress(HERE), f"{receiver.url}/hook", b"x" * MAX_REQUEST).status == 200
    with pytest.raises(BlockedError, match="262,145 bytes"):
        post(Egress(HERE), f"{receiver.url}/hook", b"x" * (MAX_REQUEST + 1))
    assert len(receiver.log) == 1


@pytest.mark.parametrize("behaviour", ["hangs", "trickles/headers"])
def test_a_receiver_that_never_answers_is_left_in_time(receiver: Receiver, behaviour: str) -> None:
    def call() -> None:
        with pytest.raises(BrokenError, match=r"did not end within 0\.4 s") as caught:
            post(Egress(HERE, total_seconds=SHORT), f"{receiver.url}/{behaviour}")
        assert caught.value.response is None

    assert SHORT <= took(call) < SHORT + SLACK


def test_an_answer_that_never_ends_is_left_in_time_and_what_came_is_kept(receiver: Receiver) -> None:
    def call() -> None:
        with pytest.raises(BrokenError, match="did not end within") as caught:
            post(Egress(HERE, total_seconds=SHORT), f"{receiver.url}/trickles/body")
        response = caught.value.response
        assert response is not None
        assert (response.status, set(response.body), response.truncated) == (200, {ord("x")}, True)

    assert SHORT <= took(call) < SHORT + SLACK


def test_interim_answers_without_end_are_left_in_time() -> None:
    def interim(connection: socket.socket, ending: Event) -> None:
        while not ending.wait(0.01):
            connection.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")

    def call(port: int) -> None:
        with pytest.raises(BrokenError, match="did not end within"):
            post(Egress(HERE, total_seconds=SHORT), f"http://127.0.0.1:{port}/")

    with Raw(interim) as raw:
        assert took(lambda: call(raw.port)) < SHORT + SLACK


def test_a_handshake_that_trickles_is_left_in_time() -> None:
    """A record of 16 KiB is announced and comes byte by byte: each byte would begin a timeout anew."""

    def handshake(connection: socket.socket, ending: Event) -> None:
        connection.sendall(b"\x16\x03\x03\x40\x00")
        while not ending.wait(0.01):
            connection.sendall(b"\x02")

    def call(port: int) -> None:
        with pytest.raises(NotSentError, match=r"did not answer within 0\.4 s"):
            post(Egress(HERE, connect_seconds=SHORT), f"https://127.0.0.1:{port}/")

    with Raw(handshake) as raw:
        assert SHORT <= took(lambda: call(raw.port)) < SHORT + SLACK


@pytest.fixture
def body(monkeypatch: pytest.MonkeyPatch) -> bytes:
    """Give the test a body that no system's buffers swallow, as they do one of the size that is allowed."""
    monkeypatch.setattr("engine.egress.client.MAX_REQUEST", 32 * 1024 * 1024)
    return b"x" * 32 * 1024 * 1024


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_a_receiver_that_reads_slowly_is_left_in_time(authority: Authority, body: bytes, scheme: str) -> None:
    """It would need minutes for the body, and is never silent for long."""
    context = authority.context("hooks.example.com")

    def slow(connection: socket.socket, ending: Event) -> None:
        with context.wrap_socket(connection, server_side=True) if scheme == "https" else connection as line:
            while not ending.wait(0.02) and line.recv(65_536):
                pass

    def call(port: int) -> None:
        egress = Egress(HERE, total_seconds=SHORT, resolve=to_here, trust=authority.file)
        with pytest.raises(BrokenError, match="did not end within"):
            post(egress, f"{scheme}://hooks.example.com:{port}/", body)

    with Raw(slow) as raw:
        assert took(lambda: call(raw.port)) < SHORT + SLACK


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_time_that_the_name_took_is_not_given_again(authority: Authority, body: bytes, scheme: str) -> None:
    context = authority.context("hooks.example.com")

    def resolve(_host: str, _port: int) -> list[str]:
        Event().wait(1.3)
        return ["127.0.0.1"]

    def deaf(connection: socket.socket, ending: Event) -> None:
        with context.wrap_socket(connection, server_side=True) if scheme == "https" else connection:
            ending.wait()

    def call(port: int) -> None:
        egress = Egress(HERE, total_seconds=1.5, resolve=resolve, trust=authority.file)
        with pytest.raises(BrokenError, match="did not end within"):
            post(egress, f"{scheme}://hooks.example.com:{port}/", body)

    with Raw(deaf) as raw:
        assert took(lambda: call(raw.port)) < 1.5 + SLACK


def test_a_name_that_does_not_resolve_in_time_is_not_waited_for() -> None:
    released = Event()

    def hanging(_host: str, _port: int) -> list[str]:
        released.wait()
        return ["127.0.0.1"]

    def call() -> None:
        with pytest.raises(NotSentError, match=r"hooks\.example\.com was not resolved within 0\.4 s"):
            post(Egress(HERE, connect_seconds=SHORT, resolve=hanging), "http://hooks.example.com/")

    try:
        assert SHORT <= took(call) < SHORT + SLACK
    finally:
        released.set()


def test_a_name_without_addresses_is_not_sent_to() -> None:
    def unknown(_host: str, _port: int) -> list[str]:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    with pytest.raises(NotSentError, match=r"hooks\.example\.com was not resolved: Name or service not known"):
        post(Egress(HERE, resolve=unknown), "http://hooks.example.com/")
    with pytest.raises(NotSentError, match=r"hooks\.example\.com has no address"):
        post(Egress(HERE, resolve=lambda *_: []), "http://hooks.example.com/")


def test_a_port_where_nobody_listens_is_not_sent_to() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    with pytest.raises(NotSentError, match=f"http://127.0.0.1:{port} was not reached: Connection refused"):
        post(Egress(HERE), f"http://127.0.0.1:{port}/")


def test_of_several_addresses_one_that_answers_is_enough(receiver: Receiver) -> None:
    egress = Egress(HERE, resolve=lambda *_: ["::1", "127.0.0.1"])
    assert post(egress, f"http://hooks.example.com:{receiver.port}/hook").status == 200
    [seen] = receiver.log
    assert seen.headers["host"] == f"hooks.example.com:{receiver.port}"


def test_an_address_that_is_silent_leaves_time_for_the_next(receiver: Receiver) -> None:
    """The first address listens with a queue that is full: its system answers nobody."""
    with socket.create_server(("127.0.0.2", receiver.port), backlog=0), ExitStack() as stack:
        for _ in range(4):
            waiting = stack.enter_context(socket.socket())
            waiting.setblocking(False)  # noqa: FBT003 - the flag is the whole argument
            waiting.connect_ex(("127.0.0.2", receiver.port))
        egress = Egress(Allow.parse("127.0.0.0/8"), connect_seconds=1.0, resolve=lambda *_: ["127.0.0.2", "127.0.0.1"])

        def call() -> None:
            assert post(egress, f"http://hooks.example.com:{receiver.port}/hook").status == 200

        assert 0.5 <= took(call) < 1.0 + SLACK


@pytest.mark.parametrize(
    ("behaviour", "status"), [("resets", 200), ("resets/500", 500), ("drops", None), (b"", None), (b"\0\1\2", None)]
)
def test_an_answer_that_breaks_off_is_told_with_what_came_of_it(
    receiver: Receiver, behaviour: str | bytes, status: int | None
) -> None:
    receiver.script("/hook", behaviour)
    with pytest.raises(BrokenError, match="broke off") as caught:
        post(Egress(HERE), f"{receiver.url}/hook")
    response = caught.value.response
    assert (response and response.status) == status


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhalf\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\nnonsense\r\n",
    ],
)
def test_a_body_that_ends_too_early_is_not_taken_for_a_whole_one(receiver: Receiver, answer: bytes) -> None:
    receiver.script("/hook", answer)
    with pytest.raises(BrokenError) as caught:
        post(Egress(HERE), f"{receiver.url}/hook")
    assert caught.value.response is not None
    assert caught.value.response.body[:4] == b"half"


def test_a_receiver_that_has_heard_enough_is_heard(body: bytes) -> None:
    """It answers before the body is there and hangs up, so that the rest cannot be sent."""

    def early(connection: socket.socket, _: Event) -> None:
        connection.recv(10)
        connection.sendall(b"HTTP/1.1 413 Too Large\r\nContent-Length: 0\r\n\r\n")

    with Raw(early) as raw:
        assert post(Egress(HERE), f"http://127.0.0.1:{raw.port}/", body).status == 413


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.one_of(
        st.binary(max_size=200),
        st.binary(max_size=100).map(lambda rest: b"HTTP/1.1 200 OK\r\n" + rest),
        st.binary(max_size=100).map(lambda rest: b"HTTP/1.1 200 OK\r\n" + rest + b"\r\n\r\nbody"),
        st.binary(max_size=100).map(lambda rest: b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + rest),
        st.text("0123456789- ,x", max_size=12).map(
            lambda length: f"HTTP/1.1 200 OK\r\nContent-Length:{length}\r\n\r\nbody".encode()
        ),
    )
)
def test_no_answer_whatever_it_is_raises_anything_else(receiver: Receiver, answer: bytes) -> None:
    receiver.script("/hook", answer)
    try:
        response = post(Egress(HERE, total_seconds=2), f"{receiver.url}/hook")
    except BrokenError:
        return
    assert 100 <= response.status <= 999


def test_nothing_of_a_url_is_logged_or_said(receiver: Receiver, caplog: pytest.LogCaptureFixture) -> None:
    """The URL of a Slack webhook is a secret as a whole; malformed headers make the client's library log it."""
    caplog.set_level(logging.DEBUG)
    said = []
    for answer in (
        "fails/500",
        "drops",
        "resets",
        b"HTTP/1.1 200 OK\r\nA\x00: b\r\nnonsense\r\n: x\r\n\r\n",
        b"x\r\n\r\n",
    ):
        receiver.script("/T0000000/s3cret", answer)
        try:
            post(Egress(HERE), f"{receiver.url}/T0000000/s3cret?token=s3cret", authorization="Bearer s3cret")
        except BrokenError as error:
            said.append(str(error))
    assert (len(receiver.log), len(said)) == (5, 3)
    assert "s3cret" not in caplog.text + "".join(said)


class TestTls:
    """Certificates are verified for the URL's name, which is also what the receiver is asked for."""

    def egress(self, authority: Authority) -> Egress:
        return Egress(HERE, resolve=to_here, trust=authority.file)

    def test_the_name_is_asked_for_and_verified_while_its_address_is_called(self, authority: Authority) -> None:
        asked: list[str | None] = []
        context = authority.context("hooks.example.com")
        context.sni_callback = lambda _socket, name, _context: asked.append(name)
        with Receiver(tls=context) as receiver:
            response = post(
                self.egress(authority), f"https://hooks.example.com:{receiver.port}/hook", b"x" * MAX_REQUEST
            )
        assert (response.status, asked) == (200, ["hooks.example.com"])
        [seen] = receiver.log
        assert (seen.headers["host"], len(seen.body)) == (f"hooks.example.com:{receiver.port}", MAX_REQUEST)

    def test_a_certificate_for_another_name_is_refused(self, authority: Authority, secure_receiver: Receiver) -> None:
        egress = Egress(Allow.parse("127.0.0.0/8"), resolve=to_here, trust=authority.file)
        with pytest.raises(NotSentError, match=r"certificate of .* is not valid: .*[Hh]ostname mismatch"):
            post(egress, f"https://other.example.com:{secure_receiver.port}/hook")
        assert secure_receiver.log == []

    def test_a_certificate_by_an_authority_that_is_not_trusted_is_refused(self, secure_receiver: Receiver) -> None:
        with pytest.raises(NotSentError, match=r"certificate of .* is not valid"):
            post(Egress(HERE, resolve=to_here), f"https://hooks.example.com:{secure_receiver.port}/hook")
        assert secure_receiver.log == []

    def test_an_address_may_have_a_certificate(self, authority: Authority) -> None:
        with Receiver(tls=authority.context("127.0.0.1")) as receiver:
            assert post(self.egress(authority), f"{receiver.url}/hook").status == 200

    def test_plain_http_is_no_tls(self, authority: Authority, receiver: Receiver) -> None:
        with pytest.raises(NotSentError, match="did not agree on TLS"):
            post(self.egress(authority), f"https://hooks.example.com:{receiver.port}/hook")

    @pytest.mark.parametrize("behaviour", ["trickles/headers", "trickles/body", "hangs"])
    def test_the_deadline_holds_over_tls(self, authority: Authority, secure_receiver: Receiver, behaviour: str) -> None:
        egress = Egress(HERE, total_seconds=SHORT, resolve=to_here, trust=authority.file)

        def call() -> None:
            with pytest.raises(BrokenError, match="did not end within"):
                post(egress, f"https://hooks.example.com:{secure_receiver.port}/{behaviour}")

        assert SHORT <= took(call) < SHORT + SLACK

    def test_ten_megabytes_over_tls_are_cut_off(self, authority: Authority, secure_receiver: Receiver) -> None:
        response = post(self.egress(authority), f"https://hooks.example.com:{secure_receiver.port}/large")
        assert (len(response.body), response.truncated) == (MAX_RESPONSE, True)
