"""Mail on real sockets: what a server gets, and what is made of each thing that it does."""

from __future__ import annotations

import email
import socket
from base64 import b64encode
from contextlib import contextmanager
from datetime import UTC, datetime
from email.policy import default
from threading import Thread
from typing import TYPE_CHECKING, Any, Final

import pytest

from core.config import Settings
from core.errors import SetupError
from engine.deliver.answers import Delivered, Later, Refused, Unclear
from engine.deliver.couriers.email import LONGEST, EmailCourier, joined
from engine.deliver.couriers.registry import couriers
from engine.deliver.couriers.smtp import Server
from models.enums import Channel
from tests.receiver.mail import Mailbox

if TYPE_CHECKING:
    from collections.abc import Iterator
    from email.message import EmailMessage

    from engine.deliver.answers import Answer
    from tests.receiver.authority import Authority

KEY: Final = "0195-execution:0:0195-campaign"
NOW: Final = datetime(2026, 3, 1, 12, 30, tzinfo=UTC)
FROM: Final = "CMIS <cmis@acme.test>"
TEXT: Final = "Budget of <b>Frühling</b> & Co: 100 → 120\n.a dot\n" + "long " * 400


def message(**changes: Any) -> dict[str, Any]:
    return {"to": ["ana@example.com", "bo@example.com"], "subject": "Größer: Spring", "text": TEXT, **changes}


def send(url: str, *messages: dict[str, Any], seconds: float = 10.0, trust: str | None = None) -> Answer:
    courier = EmailCourier(Server.parse(url), FROM, total_seconds=seconds, trust=trust)
    return courier.deliver(messages or [message()], key=KEY, now=NOW)


def read(mailbox: Mailbox) -> EmailMessage:
    [mail] = mailbox.mails
    return email.message_from_bytes(mail.data, policy=default)


def part(mail: EmailMessage, kind: str) -> str:
    found = mail.get_body((kind,))
    assert found is not None
    return str(found.get_content()).replace("\r\n", "\n").removesuffix("\n")


@contextmanager
def speaking(*replies: bytes) -> Iterator[str]:
    """Serve one connection: a reply at first and after each line that comes, then hang up."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        talk = Thread(target=_speak, args=(server, replies), daemon=True)
        talk.start()
        yield f"smtp://127.0.0.1:{server.getsockname()[1]}"
        talk.join(10)
        assert not talk.is_alive()


def _speak(server: socket.socket, replies: tuple[bytes, ...]) -> None:
    line, _ = server.accept()
    with line, line.makefile("rb") as lines:
        for reply in replies:
            line.sendall(reply + b"\r\n")
            lines.readline()


def test_a_mail_is_plain_and_html_and_says_that_it_is_automatic(mailbox: Mailbox) -> None:
    assert send(mailbox.url) == Delivered(250, "OK: queued")
    [raw] = mailbox.mails
    assert (raw.sender, raw.recipients) == ("cmis@acme.test", ("ana@example.com", "bo@example.com"))
    assert max(map(len, raw.data.splitlines())) <= 998
    raw.data.decode("ascii")
    mail = read(mailbox)
    assert (mail["From"], mail["To"]) == (FROM, "ana@example.com, bo@example.com")
    assert (mail["Subject"], mail["Auto-Submitted"]) == ("Größer: Spring", "auto-generated")
    assert mail["Date"].datetime == NOW
    assert part(mail, "plain") == TEXT
    assert "Budget of &lt;b&gt;Frühling&lt;/b&gt; &amp; Co: 100 → 120" in part(mail, "html")


def test_the_message_id_is_the_keys_in_every_attempt(mailbox: Mailbox) -> None:
    for _ in range(2):
        send(mailbox.url)
    ids = {email.message_from_bytes(mail.data)["Message-ID"] for mail in mailbox.mails}
    assert len(ids) == 1
    assert ids.pop().endswith("@acme.test>")


@pytest.mark.parametrize(
    ("behaviour", "kind", "status"),
    [
        ("later", Later, 451),
        ("refuses", Refused, 554),
        ("recipient-later", Later, 450),
        ("drops", Unclear, None),
    ],
)
def test_each_answer_has_its_meaning(mailbox: Mailbox, behaviour: str, kind: type[Answer], status: int | None) -> None:
    mailbox.script(behaviour)
    answer = send(mailbox.url)
    assert (type(answer), answer.status) == (kind, status)


def test_who_is_unknown_does_not_keep_the_others_from_it(mailbox: Mailbox) -> None:
    mailbox.script("recipient-refuses")
    answer = send(mailbox.url)
    assert isinstance(answer, Delivered)
    assert answer.said.startswith("not to ana@example.com: 550")
    assert mailbox.mails[0].recipients == ("bo@example.com",)


def test_a_mail_that_nobody_would_get_is_refused(mailbox: Mailbox) -> None:
    mailbox.script("recipient-refuses", "recipient-refuses")
    answer = send(mailbox.url)
    assert (type(answer), answer.status) == (Refused, 550)
    assert mailbox.mails == []


def test_a_server_that_hangs_after_the_mail_leaves_it_unclear(mailbox: Mailbox) -> None:
    mailbox.script("hangs")
    answer = send(mailbox.url, seconds=0.5)
    assert isinstance(answer, Unclear)
    assert "did not end within 0.5 s" in answer.reason


@pytest.mark.parametrize(
    "replies",
    [
        [],
        [b"220 here"],
        [b"220 here", b"250 hello"],
        [b"220 here", b"250 hello", b"250 ok", b"250 ok", b"250 ok"],
        [b"554 go away"],
        [b"421 busy"],
    ],
)
def test_what_breaks_off_before_the_mails_end_may_be_sent_again(replies: list[bytes]) -> None:
    with speaking(*replies) as url:
        assert isinstance(send(url), Later)


@pytest.mark.parametrize("nonsense", [b"what?", b"999 x", b"354 go on"])
def test_a_mail_that_was_sent_to_its_end_and_answered_by_nonsense_may_be_there(nonsense: bytes) -> None:
    """To take that for a refusal would be to send it twice."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        talk = Thread(target=_take_and_say, args=(server, nonsense), daemon=True)
        talk.start()
        answer = send(f"smtp://127.0.0.1:{server.getsockname()[1]}", message(to=["ana@example.com"]))
        talk.join(10)
    assert isinstance(answer, Unclear)


def _take_and_say(server: socket.socket, reply: bytes) -> None:
    line, _ = server.accept()
    with line, line.makefile("rb") as lines:
        for said in (b"220 x", b"250 x", b"250 sender", b"250 recipient", b"354 go on"):
            line.sendall(said + b"\r\n")
            lines.readline()
        while lines.readline() != b".\r\n":
            pass
        line.sendall(reply + b"\r\n")


@pytest.mark.parametrize("behaviour", ["later", "recipient-later"])
def test_a_mail_that_is_put_off_is_not_the_servers_trouble(mailbox: Mailbox, behaviour: str) -> None:
    mailbox.script(behaviour)
    answer = send(mailbox.url)
    assert isinstance(answer, Later)
    assert not answer.blames


def test_a_server_that_closes_is_in_trouble() -> None:
    with speaking(b"220 x", b"250 x", b"421 closing") as url:
        answer = send(url)
    assert isinstance(answer, Later)
    assert (answer.status, answer.blames) == (421, True)


def test_a_server_that_is_not_there_may_be_later() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    answer = send(f"smtp://127.0.0.1:{port}")
    assert isinstance(answer, Later)
    assert answer.blames


def test_a_server_that_says_nothing_is_left_in_time() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        answer = send(f"smtp://127.0.0.1:{server.getsockname()[1]}", seconds=0.3)
    assert isinstance(answer, Later)
    assert "did not end within 0.3 s" in answer.reason


class TestSecured:
    """STARTTLS and passwords."""

    def test_a_mail_goes_over_tls_where_it_is_offered(self, authority: Authority) -> None:
        with Mailbox(tls=authority.context("127.0.0.1"), login=("cmis", "canary-pass")) as mailbox:
            assert isinstance(send(mailbox.url, trust=authority.file), Delivered)
            assert part(read(mailbox), "plain") == TEXT

    def test_a_certificate_that_nobody_vouches_for_is_not_taken(self, authority: Authority) -> None:
        with Mailbox(tls=authority.context("127.0.0.1")) as mailbox:
            answer = send(mailbox.url)
            assert isinstance(answer, Later)
            assert "certificate" in answer.reason
            assert mailbox.mails == []

    def test_a_password_goes_over_no_line_in_the_clear(self) -> None:
        with speaking(b"220 here", b"250-hello\r\n250 AUTH PLAIN LOGIN") as url:
            answer = send(url.replace("//", "//cmis:canary-pass@"))
        assert isinstance(answer, Later)
        assert "STARTTLS" in answer.reason

    def test_a_wrong_password_is_the_operators_to_mend(self, authority: Authority) -> None:
        with Mailbox(tls=authority.context("127.0.0.1"), login=("cmis", "right")) as mailbox:
            wrong = mailbox.url.replace("right", "canary-wrong")
            answer = send(wrong, trust=authority.file)
            assert isinstance(answer, Later)
            assert "password of SMTP_URL" in answer.reason
            assert "canary" not in repr(answer)


class TestTogether:
    """What one run says about several campaigns."""

    def test_it_is_one_mail(self, mailbox: Mailbox) -> None:
        several = [message(subject=f"About {name}", text=f"{name} is dear") for name in ("A", "B", "A", "C")]
        assert isinstance(send(mailbox.url, *several), Delivered)
        mail = read(mailbox)
        assert mail["Subject"] == "About A (and 2 more)"
        assert part(mail, "plain") == "About A\nA is dear\n\nAbout B\nB is dear\n\nAbout C\nC is dear"

    def test_one_subject_is_said_once(self) -> None:
        assert joined([("Dear", "A"), ("Dear", "B")]) == ("Dear", "A\n\nB")

    def test_what_does_not_fit_is_counted(self) -> None:
        subject, text = joined([("Dear", f"{n}" + "x" * (LONGEST // 2)) for n in range(5)])
        assert subject == "Dear"
        assert text.endswith("\n\n… and 4 more")
        assert len(text) <= LONGEST + 20

    def test_different_people_do_not_share_one(self, mailbox: Mailbox) -> None:
        assert isinstance(send(mailbox.url, message(), message(to=["eve@example.com"])), Refused)
        assert mailbox.mails == []


@pytest.mark.parametrize(
    "changes",
    [
        {"subject": "x\r\nBcc: eve@example.com"},
        {"to": ["ana@example.com\r\nBcc: eve@example.com"]},
        {"to": []},
        {"to": "ana@example.com"},
        {"subject": None},
        {"text": "\ud800"},
    ],
)
def test_nothing_forges_a_header(mailbox: Mailbox, changes: dict[str, Any]) -> None:
    assert isinstance(send(mailbox.url, message(**changes)), Refused)
    assert mailbox.mails == []


def test_without_a_server_mail_waits_and_says_what_to_set() -> None:
    courier = couriers(Settings.load({}))[Channel.EMAIL]
    answer = courier.deliver([message()], key=KEY, now=NOW)
    assert isinstance(answer, Later)
    assert not answer.blames
    assert "set SMTP_URL" in answer.reason
    with pytest.raises(SetupError, match="set SMTP_URL"):
        courier.destination(message())


@pytest.mark.parametrize(
    ("url", "origin"),
    [
        ("smtp://mail.intranet", "smtp://mail.intranet:25"),
        ("smtps://cmis:p%40ss@mail.example.com", "smtps://mail.example.com:465"),
        ("smtp://[::1]:2525/", "smtp://[::1]:2525"),
    ],
)
def test_a_server_is_named_without_its_password(url: str, origin: str) -> None:
    assert EmailCourier(Server.parse(url), FROM).destination(message()) == origin


@pytest.mark.parametrize(
    "settings",
    [
        {"SMTP_URL": "http://canary@mail"},
        {"SMTP_URL": "smtp://"},
        {"SMTP_URL": "smtp://mail:port"},
        {"SMTP_URL": "smtp://canary@mail"},
        {"SMTP_URL": "smtp://mail/canary"},
        {"SMTP_URL": "smtp://mail", "SMTP_FROM": "nobody"},
        {"SMTP_URL": "smtp://mail", "SMTP_FROM": "a@b\nBcc: c@d"},
    ],
)
def test_settings_that_make_no_sense_are_refused_without_being_quoted(settings: dict[str, str]) -> None:
    with pytest.raises(SetupError) as refused:
        couriers(Settings.load(settings))
    assert "canary" not in str(refused.value)
    assert "SMTP_" in str(refused.value)


def test_a_password_is_in_no_text_of_the_server() -> None:
    server = Server.parse("smtp://cmis:p%40ss%2Fcanary@mail")
    assert (server.user, server.password) == ("cmis", "p@ss/canary")
    assert "canary" not in repr(server)
    spelled = b64encode(b"\0user\0s3cret").decode()
    courier = EmailCourier(Server.parse("smtps://user:s3cret@mail.example"), FROM)
    assert courier._shown(f"no {spelled} s3cret") == "no *** ***"
