"""Addresses that no delivery reaches: private, local, metadata, in whatever spelling, and however a name hides them."""

from __future__ import annotations

from itertools import count
from typing import TYPE_CHECKING, Final
from urllib.request import getproxies

import pytest

from engine.egress.allow import Allow
from engine.egress.client import Egress
from engine.egress.errors import BlockedError
from engine.egress.names import admitted, lookup
from engine.egress.urls import read
from tests.receiver.web import Receiver

if TYPE_CHECKING:
    from collections.abc import Callable

    from engine.egress.response import Response

PUBLIC: Final = "1.1.1.1"
HERE: Final = [
    "127.0.0.1",
    "127.0.0.2",
    "127.1",
    "127.0.1",
    "127.0.0.1.",
    "127.0.0.01",
    "0177.0.0.1",
    "0177.0.0.01",
    "017700000001",
    "2130706433",
    "0x7f000001",
    "0x7f.0.0.1",
    "0x7f.1",
    "0X7F.0x0.0x0.0x1",
    "%31%32%37.0.0.1",
    "①②⑦.⓪.⓪.①",
    "127。0。0。1",
    "0",
    "0.0.0.0",  # noqa: S104 - refused
    "localhost",
    "LOCALHOST",
    "localhost.",
    "[::1]",
    "[::]",
    "[0:0:0:0:0:0:0:1]",
    "[::1%25lo]",
    "[::1%lo]",
    "[::ffff:127.0.0.1]",
    "[::ffff:7f00:1]",
    "[0:0:0:0:0:ffff:7f00:0001]",
    "[::127.0.0.1]",
    "[::ffff:0:127.0.0.1]",
    "[64:ff9b::127.0.0.1]",
    "[2002:7f00:1::]",
    "user@127.0.0.1",
    "hooks.example.com@127.0.0.1",
    "127.0.0.1\\@hooks.example.com",
    "127.0.0.1\t",
    " 127.0.0.1",
]
"""Spellings of this machine, at the port where the receiver listens."""
ELSEWHERE: Final = [
    "10.0.0.1",
    "172.16.0.1",
    "192.168.1.1",
    "100.64.0.1",
    "100.100.100.200",
    "168.63.129.16",
    "169.254.169.254",
    "169.254.170.2",
    "2852039166",
    "0xa9fea9fe",
    "0251.0376.0251.0376",
    "169.254.43518",
    "192.0.0.192",
    "198.18.0.1",
    "224.0.0.1",
    "240.0.0.1",
    "255.255.255.255",
    "[fd00:ec2::254]",
    "[fe80::1]",
    "[fe80::1%25eth0]",
    "[fe80::a9fe:a9fe]",
    "[fec0::1]",
    "[ff02::1]",
    "[::ffff:169.254.169.254]",
    "[::ffff:a9fe:a9fe]",
    "[::a9fe:a9fe]",
    "[64:ff9b::169.254.169.254]",
    "[64:ff9b:1::a9fe:a9fe]",
    "[2002:a9fe:a9fe::1]",
    "[2001:0:4136:e378:8000:63bf:3fff:fdd2]",
    "[2001:db8::1]",
]
METADATA: Final = {
    "metadata.google.internal": "169.254.169.254",
    "metadata": "169.254.169.254",
    "instance-data.ec2.internal": "169.254.169.254",
    "instance-data.example": "fd00:ec2::254",
    "169-254-169-254.dns.example": "169.254.169.254",
    "metadata.tencentyun.example": "169.254.0.23",
    "aliyun.example": "100.100.100.200",
    "azure.example": "168.63.129.16",
    "localtest.example": "127.0.0.1",
    "v6.example": "::1",
    "mapped.example": "::ffff:10.0.0.1",
    "nat64.example": "64:ff9b::a9fe:a9fe",
    "zoned.example": "fe80::1%lo",
}


def post(egress: Egress, url: str) -> Response:
    return egress.post(url, body=b"{}", headers={})


def answering(*answers: list[str]) -> tuple[Callable[[str, int], list[str]], list[str]]:
    """Return a resolver that gives each answer in turn, the last for ever, and the names it was asked for."""
    asked: list[str] = []
    turns = count()

    def resolve(host: str, _: int) -> list[str]:
        asked.append(host)
        return answers[min(next(turns), len(answers) - 1)]

    return resolve, asked


@pytest.mark.parametrize("scheme", ["http", "https"])
@pytest.mark.parametrize("host", HERE)
def test_no_spelling_of_this_machine_is_called(receiver: Receiver, scheme: str, host: str) -> None:
    with pytest.raises(BlockedError) as caught:
        post(Egress(Allow()), f"{scheme}://{host}:{receiver.port}/hook")
    assert caught.value.remedy
    assert receiver.log == []


@pytest.mark.parametrize("host", ELSEWHERE)
def test_no_address_that_is_not_public_is_called(host: str) -> None:
    with pytest.raises(BlockedError):
        post(Egress(Allow(), resolve=lookup), f"http://{host}/latest/meta-data/")


@pytest.mark.parametrize(("host", "address"), sorted(METADATA.items()))
def test_no_name_that_resolves_to_such_an_address_is_called(host: str, address: str) -> None:
    resolve, asked = answering([address])
    with pytest.raises(BlockedError, match=f"{host} resolves to .*, which"):
        post(Egress(Allow(), resolve=resolve), f"http://{host}/")
    assert asked == [host]


@pytest.mark.parametrize(
    "answer",
    [
        [PUBLIC, "10.0.0.1"],
        ["10.0.0.1", PUBLIC],
        [PUBLIC, "2606:4700::1111", "::1"],
        [PUBLIC, PUBLIC, "169.254.169.254"],
    ],
)
def test_one_such_address_among_public_ones_is_enough(answer: list[str]) -> None:
    resolve, _ = answering(answer)
    with pytest.raises(BlockedError, match=r"hooks\.example\.com resolves to"):
        post(Egress(Allow(), resolve=resolve), "https://hooks.example.com/")


def test_a_name_that_changes_its_address_is_asked_for_once_and_the_first_answer_is_called(receiver: Receiver) -> None:
    """The first answer is allowed, the second is not: one that asks twice would be refused, or call the second."""
    resolve, asked = answering(["127.0.0.1"], ["127.0.0.2"])
    egress = Egress(Allow.parse("127.0.0.1"), resolve=resolve)
    url = f"http://rebinding.example:{receiver.port}/hook"
    assert post(egress, url).status == 200
    assert asked == ["rebinding.example"]
    assert [request.headers["host"] for request in receiver.log] == [f"rebinding.example:{receiver.port}"]
    with pytest.raises(BlockedError, match=r"resolves to 127\.0\.0\.2, which is loopback"):
        post(egress, url)
    assert (len(asked), len(receiver.log)) == (2, 1)


def test_what_is_called_is_what_was_judged() -> None:
    """Public first, private second, as a rebinding server answers: only the first is ever asked for or returned."""
    resolve, asked = answering([PUBLIC], ["169.254.169.254"])
    found = admitted(read("http://rebinding.example/"), Allow(), resolve, seconds=2)
    assert [str(address) for address in found] == [PUBLIC]
    assert asked == ["rebinding.example"]
    with pytest.raises(BlockedError):
        admitted(read("http://rebinding.example/"), Allow(), resolve, seconds=2)


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirect_to_this_machine_is_an_answer_and_not_followed(receiver: Receiver, status: int) -> None:
    """Even where this machine is allowed: the redirect's own address was never judged."""
    answer = post(Egress(Allow.parse("127.0.0.1")), f"{receiver.url}/redirects/{status}")
    assert (answer.status, answer.headers["location"]) == (status, f"{receiver.url}/ok")
    assert [request.path for request in receiver.log] == [f"/redirects/{status}"]


def test_an_allow_list_lets_one_port_through_and_no_other(receiver: Receiver) -> None:
    egress = Egress(Allow.parse(f"127.0.0.1:{receiver.port}"))
    assert post(egress, f"{receiver.url}/hook").status == 200
    assert post(egress, f"http://[::ffff:127.0.0.1]:{receiver.port}/hook").status == 200
    with pytest.raises(BlockedError):
        post(egress, f"http://127.0.0.1:{receiver.port + 1}/hook")


def test_an_allowed_name_may_be_anywhere(receiver: Receiver) -> None:
    resolve, _ = answering(["127.0.0.1"])
    egress = Egress(Allow.parse("hooks.intranet"), resolve=resolve)
    assert post(egress, f"http://HOOKS.intranet:{receiver.port}/hook").status == 200
    with pytest.raises(BlockedError):
        post(egress, f"http://other.intranet:{receiver.port}/hook")


def test_no_proxy_of_the_environment_is_used(receiver: Receiver, monkeypatch: pytest.MonkeyPatch) -> None:
    """The proxy is a receiver, too: it would have seen the request, and answered it."""
    for name in ("no_proxy", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
    resolve, _ = answering(["127.0.0.1"])
    egress = Egress(Allow.parse("hooks.intranet"), resolve=resolve)
    with Receiver() as proxy:
        for name in ("http_proxy", "HTTP_PROXY", "https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"):
            monkeypatch.setenv(name, proxy.url)
        assert getproxies()["http"] == proxy.url
        assert post(egress, f"http://hooks.intranet:{receiver.port}/hook").status == 200
        assert (len(proxy.log), len(receiver.log)) == (0, 1)
