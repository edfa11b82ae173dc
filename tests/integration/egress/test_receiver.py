"""The receivers themselves: what other tests rely on."""

from __future__ import annotations

import json
import smtplib
import subprocess
import sys
from pathlib import Path
from threading import Thread
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import pytest

from engine.egress.allow import Allow
from engine.egress.client import Egress
from tests.receiver.mail import Mailbox
from tests.receiver.web import Receiver

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.receiver.authority import Authority

ROOT = Path(__file__).parents[3]
EGRESS = Egress(Allow.parse("127.0.0.1"))


def send(box: Mailbox, to: str = "person@example.com") -> None:
    with smtplib.SMTP("127.0.0.1", box.port, timeout=5) as client:
        client.sendmail("cmis@example.com", [to], b"Message-ID: <1@x>\r\n\r\nhello\r\n")


def test_one_that_honours_keys_does_once_what_it_is_asked_twice_at_the_same_time(receiver: Receiver) -> None:
    def call() -> None:
        EGRESS.post(f"{receiver.url}/hook", body=b"", headers={"idempotency-key": "k"})

    threads = [Thread(target=call) for _ in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (receiver.effects, len(receiver.log)) == ({"k": 1}, 20)


def test_one_that_does_not_counts_them_all() -> None:
    with Receiver(honours_keys=False) as receiver:
        for _ in range(3):
            EGRESS.post(f"{receiver.url}/hook", body=b"", headers={"webhook-id": "k"})
        assert receiver.effects == {"k": 3}


@pytest.mark.parametrize(
    ("behaviour", "code"), [("later", 451), ("refuses", 554), ("recipient-later", 450), ("recipient-refuses", 550)]
)
def test_mail_is_put_off_and_refused(mailbox: Mailbox, behaviour: str, code: int) -> None:
    mailbox.script(behaviour)
    with pytest.raises(smtplib.SMTPException) as caught:
        send(mailbox)
    error = caught.value
    said = error.smtp_code if isinstance(error, smtplib.SMTPResponseException) else None
    refused = error.recipients if isinstance(error, smtplib.SMTPRecipientsRefused) else {}
    assert code in {said, *(reply for reply, _ in refused.values())}
    send(mailbox)
    assert [mail.took for mail in mailbox.mails][-1:] == [True]


def test_mail_is_kept_as_it_came(mailbox: Mailbox) -> None:
    send(mailbox)
    [mail] = mailbox.mails
    assert (mail.sender, mail.recipients, mail.took) == ("cmis@example.com", ("person@example.com",), True)
    assert mail.data == b"Message-ID: <1@x>\r\n\r\nhello\r\n"


def test_mail_is_taken_and_the_line_dropped(mailbox: Mailbox) -> None:
    mailbox.script("drops")
    with pytest.raises(smtplib.SMTPServerDisconnected):
        send(mailbox)
    assert [mail.took for mail in mailbox.mails] == [True]


def test_a_mailbox_that_hangs_can_be_closed() -> None:
    with Mailbox() as box:
        box.script("hangs")
        client = smtplib.SMTP("127.0.0.1", box.port, timeout=0.3)
        with pytest.raises((TimeoutError, smtplib.SMTPServerDisconnected)):
            client.sendmail("a@example.com", ["b@example.com"], b"x")
        client.close()
    assert [mail.took for mail in box.mails] == [False]


def test_mail_wants_tls_and_a_login_where_it_is_told_to(authority: Authority) -> None:
    with Mailbox(tls=authority.context("127.0.0.1"), login=("user", "pass")) as box:
        assert urlsplit(box.url).username == "user"
        with pytest.raises(smtplib.SMTPException):
            send(box)
        with smtplib.SMTP("127.0.0.1", box.port, timeout=5) as client:
            client.starttls()
            with pytest.raises(smtplib.SMTPAuthenticationError):
                client.login("user", "wrong")
        with smtplib.SMTP("127.0.0.1", box.port, timeout=5) as client:
            client.starttls()
            client.login("user", "pass")
            client.sendmail("a@example.com", ["b@example.com"], b"x")
    assert len(box.mails) == 1


@pytest.fixture
def process() -> Iterator[dict[str, str]]:
    command = [sys.executable, "-m", "tests.receiver"]
    with subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as running:
        assert running.stdin is not None
        assert running.stdout is not None
        yield json.loads(running.stdout.readline())
        running.stdin.close()
        assert running.wait(10) == 0


def test_as_a_process_it_is_told_and_asked_by_http(process: dict[str, str]) -> None:
    url = process["http"]
    told = {"path": "/hook", "behaviours": ["fails/503", "ok"]}
    EGRESS.post(f"{url}/_script", body=json.dumps(told).encode(), headers={})
    statuses = [EGRESS.post(f"{url}/hook", body=b"{}", headers={"webhook-id": "k"}).status for _ in range(3)]
    assert statuses == [503, 200, 200]
    assert json.loads(EGRESS.get(f"{url}/_effects", headers={}).body) == {"k": 1}
    log = json.loads(EGRESS.get(f"{url}/_log", headers={}).body)
    assert [(each["method"], each["path"], each["body"]) for each in log] == [("POST", "/hook", "{}")] * 3
    port = urlsplit(process["smtp"]).port or 0
    with smtplib.SMTP("127.0.0.1", port, timeout=5) as client:
        client.sendmail("a@example.com", ["b@example.com"], b"x")
