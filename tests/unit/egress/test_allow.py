"""CMIS_EGRESS_ALLOW: names and networks, with a port or for all; nonsense is the operator's to mend."""

from __future__ import annotations

from ipaddress import ip_address

import pytest

from core.errors import SetupError
from engine.egress.allow import Allow

LIST = "hooks.intranet:8443, Tools.Intranet ,10.20.0.0/16,127.0.0.1:9000,[::1]:9000,fd00::7,fd01::/64,"


@pytest.mark.parametrize(
    ("host", "port", "address", "admitted"),
    [
        ("hooks.intranet", 8443, "192.168.0.1", True),
        ("hooks.intranet", 443, "192.168.0.1", False),
        ("tools.intranet", 1, "192.168.0.1", True),
        ("x.tools.intranet", 1, "192.168.0.1", False),
        ("any.example", 443, "10.20.255.1", True),
        ("any.example", 443, "10.21.0.1", False),
        ("any.example", 9000, "127.0.0.1", True),
        ("any.example", 9001, "127.0.0.1", False),
        ("any.example", 9000, "127.0.0.2", False),
        ("any.example", 9000, "::ffff:127.0.0.1", True),
        ("any.example", 443, "64:ff9b::a14:1", True),
        ("any.example", 9000, "::1", True),
        ("any.example", 443, "fd00::7", True),
        ("any.example", 443, "fd00::8", False),
        ("any.example", 443, "fd01::ffff", True),
    ],
)
def test_the_list_admits_what_it_says(host: str, port: int, address: str, *, admitted: bool) -> None:
    assert Allow.parse(LIST).admits(host, port, ip_address(address)) is admitted


def test_an_empty_list_admits_nothing() -> None:
    assert Allow.parse("  ") == Allow()
    assert not Allow.parse("").admits("localhost", 80, ip_address("127.0.0.1"))


@pytest.mark.parametrize(
    "entry",
    [
        "http://hooks.intranet",
        "*.intranet",
        "hooks.intranet:",
        "hooks.intranet:0",
        "hooks.intranet:99999",
        "10.0.0.1/8",
        "10.0.0.0/33",
        "10.0.0",
        "0x7f.1",
        "user@hooks.intranet",
        "two words",
        "[::1",
        "::1::",
        "fe80::1%eth0:80",
    ],
)
def test_nonsense_is_refused_with_the_entry_and_a_remedy(entry: str) -> None:
    with pytest.raises(SetupError, match="CMIS_EGRESS_ALLOW has the entry") as caught:
        Allow.parse(f"10.20.0.0/16,{entry}")
    assert repr(entry) in str(caught.value)
    assert "hooks.intranet:8443" in caught.value.remedy
