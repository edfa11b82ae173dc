"""Which addresses a delivery may reach: global unicast ones only. Pure.

The tables are those of the IANA registries of special-purpose addresses, written out: Python's own change with its
releases. An IPv6 address that carries an IPv4 one is judged by that, since a gateway may deliver it there.
"""

from __future__ import annotations

from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from typing import Final, TypeAlias

Address: TypeAlias = IPv4Address | IPv6Address

_REFUSED_V4: Final = {
    IPv4Network("0.0.0.0/8"): "is unspecified",
    IPv4Network("10.0.0.0/8"): "is private",
    IPv4Network("100.64.0.0/10"): "is shared by a carrier's customers",
    IPv4Network("127.0.0.0/8"): "is loopback",
    IPv4Network("168.63.129.16/32"): "is a cloud's own service",  # Azure's, although the address is a public one
    IPv4Network("169.254.0.0/16"): "is link-local",
    IPv4Network("172.16.0.0/12"): "is private",
    IPv4Network("192.0.0.0/24"): "is reserved",
    IPv4Network("192.0.2.0/24"): "is for documentation",
    IPv4Network("192.88.99.0/24"): "is a relay to IPv6",
    IPv4Network("192.168.0.0/16"): "is private",
    IPv4Network("198.18.0.0/15"): "is for benchmarks",
    IPv4Network("198.51.100.0/24"): "is for documentation",
    IPv4Network("203.0.113.0/24"): "is for documentation",
    IPv4Network("224.0.0.0/4"): "is multicast",
    IPv4Network("240.0.0.0/4"): "is reserved",
}
_REFUSED_V6: Final = {
    IPv6Network("::/128"): "is unspecified",
    IPv6Network("::1/128"): "is loopback",
    IPv6Network("64:ff9b:1::/48"): "is a network's own gateway to IPv4",
    IPv6Network("2001::/32"): "is a Teredo tunnel",
    IPv6Network("2001::/23"): "is reserved",
    IPv6Network("2001:db8::/32"): "is for documentation",
    IPv6Network("3fff::/20"): "is for documentation",
    IPv6Network("fc00::/7"): "is private",
    IPv6Network("fe80::/10"): "is link-local",
    IPv6Network("fec0::/10"): "is site-local",
    IPv6Network("ff00::/8"): "is multicast",
}
_GLOBAL_V6: Final = IPv6Network("2000::/3")
_CARRIERS: Final = (
    (IPv6Network("::ffff:0:0/96"), 0),  # v4-mapped
    (IPv6Network("::ffff:0:0:0/96"), 0),  # v4-translated
    (IPv6Network("::/96"), 0),  # v4-compatible
    (IPv6Network("64:ff9b::/96"), 0),  # NAT64
    (IPv6Network("2002::/16"), 80),  # 6to4
)
"""Networks whose addresses carry an IPv4 one, and how many bits stand to the right of it."""


def refusal(address: Address) -> str | None:
    """Say why no delivery may reach `address`, to be read after it (`is private`); None if it is global."""
    if isinstance(address, IPv4Address):
        return next((why for network, why in _REFUSED_V4.items() if address in network), None)
    if address.scope_id is not None:
        return "has a zone"
    if special := next((why for network, why in _REFUSED_V6.items() if address in network), None):
        return special
    if inner := carried(address):
        why = refusal(inner)
        return why and f"carries {inner}, which {why}"
    return None if address in _GLOBAL_V6 else "is reserved"


def carried(address: Address) -> IPv4Address | None:
    """Return the IPv4 address that an IPv6 one stands for, if any."""
    if isinstance(address, IPv6Address):
        for network, right in _CARRIERS:
            if address in network:
                return IPv4Address(int(address) >> right & 0xFFFFFFFF)
    return None
