"""Addresses that deliveries may reach: whatever Python's own tables call global at most, and what carries it."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address
from typing import Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.egress.addresses import carried, refusal

INNER: Final = {
    "mapped": "::ffff:{}",
    "translated": "::ffff:0:{}",
    "compatible": "::{}",
    "NAT64": "64:ff9b::{}",
}
SIX_TO_FOUR: Final = IPv6Network("2002::/16")
v4 = st.integers(0, 2**32 - 1).map(IPv4Address)
v6 = st.one_of(
    st.integers(0, 2**128 - 1).map(IPv6Address),
    st.integers(0, 2**125 - 1).map(lambda low: IPv6Address((1 << 125) | low)),  # 2000::/3
    st.integers(0, 2**105 - 1).map(lambda low: IPv6Address((0x2001 << 112) | low)),
)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("0.0.0.0", "is unspecified"),  # noqa: S104 - refused
        ("0.1.2.3", "is unspecified"),
        ("10.0.0.1", "is private"),
        ("100.64.0.1", "is shared by a carrier's customers"),
        ("127.0.0.1", "is loopback"),
        ("127.255.255.254", "is loopback"),
        ("168.63.129.16", "is a cloud's own service"),
        ("169.254.169.254", "is link-local"),
        ("172.31.255.255", "is private"),
        ("192.0.0.8", "is reserved"),
        ("192.0.2.1", "is for documentation"),
        ("192.88.99.1", "is a relay to IPv6"),
        ("192.168.1.1", "is private"),
        ("198.19.0.1", "is for benchmarks"),
        ("198.51.100.1", "is for documentation"),
        ("203.0.113.1", "is for documentation"),
        ("224.0.0.1", "is multicast"),
        ("240.0.0.1", "is reserved"),
        ("255.255.255.255", "is reserved"),
        ("::", "is unspecified"),
        ("::1", "is loopback"),
        ("100::1", "is reserved"),
        ("64:ff9b:1::1", "is a network's own gateway to IPv4"),
        ("2001:0:4136:e378:8000:63bf:3fff:fdd2", "is a Teredo tunnel"),
        ("2001:2::1", "is reserved"),
        ("2001:20::1", "is reserved"),
        ("2001:db8::1", "is for documentation"),
        ("3fff::1", "is for documentation"),
        ("4000::1", "is reserved"),
        ("5f00::1", "is reserved"),
        ("fc00::1", "is private"),
        ("fd00:ec2::254", "is private"),
        ("fe80::1", "is link-local"),
        ("2606:4700::1%eth0", "has a zone"),
        ("fec0::1", "is site-local"),
        ("ff02::1", "is multicast"),
        ("::ffff:127.0.0.1", "carries 127.0.0.1, which is loopback"),
        ("64:ff9b::a9fe:a9fe", "carries 169.254.169.254, which is link-local"),
        ("2002:a00:1::1", "carries 10.0.0.1, which is private"),
    ],
)
def test_an_address_that_is_not_global_is_refused(text: str, why: str) -> None:
    assert refusal(ip_address(text)) == why


@pytest.mark.parametrize(
    "text",
    ["1.1.1.1", "100.63.255.255", "100.128.0.0", "172.15.0.1", "172.32.0.0", "223.255.255.255", "2606:4700::1111"],
)
def test_a_global_address_is_let_through(text: str) -> None:
    assert refusal(ip_address(text)) is None


@given(v4)
def test_no_ipv4_address_is_let_through_that_python_does_not_call_global(address: IPv4Address) -> None:
    if refusal(address) is None:
        assert address.is_global
        assert not address.is_multicast


@given(v6)
def test_no_ipv6_address_is_let_through_that_python_does_not_call_global(address: IPv6Address) -> None:
    if refusal(address) is None and carried(address) is None:
        assert address.is_global
        assert not address.is_multicast
        assert address.teredo is None


@given(st.sampled_from(sorted(INNER)), v4)
def test_an_address_that_carries_another_is_judged_by_it(way: str, inner: IPv4Address) -> None:
    outer = IPv6Address(INNER[way].format(inner))
    if int(outer) > 1:  # these two have names of their own
        assert carried(outer) == inner
        assert (refusal(outer) is None) == (refusal(inner) is None)


@given(v4, st.integers(0, 2**80 - 1))
def test_a_6to4_address_is_judged_by_its_gateway(inner: IPv4Address, rest: int) -> None:
    outer = IPv6Address(int(SIX_TO_FOUR.network_address) | int(inner) << 80 | rest)
    assert outer.sixtofour == carried(outer) == inner
    assert (refusal(outer) is None) == (refusal(inner) is None)
