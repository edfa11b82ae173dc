"""What deliveries may reach although it is not public: the deployment's CMIS_EGRESS_ALLOW. Pure.

A name is allowed wherever it resolves to: whoever runs the deployment vouches for it. A network is allowed under any
name.
"""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import IPv4Network, IPv6Network, ip_network
from typing import TYPE_CHECKING, Final, Self, TypeAlias

from core.errors import SetupError
from engine.egress.addresses import carried
from engine.egress.errors import BlockedError
from engine.egress.urls import read_authority

if TYPE_CHECKING:
    from engine.egress.addresses import Address

_Network: TypeAlias = IPv4Network | IPv6Network
_REMEDY: Final = "write host[:port], an address or a network, with commas between: hooks.intranet:8443,10.20.0.0/16"
_SHOWN: Final = 60


@dataclass(frozen=True, slots=True)
class Allow:
    """Names and networks, each with the only port that is allowed, or None for all."""

    names: tuple[tuple[str, int | None], ...] = ()
    networks: tuple[tuple[_Network, int | None], ...] = ()

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read the list; an empty one allows nothing. Raises SetupError naming the entry that makes no sense."""
        read = [_entry(entry.strip()) for entry in text.split(",") if entry.strip()]
        return cls(
            tuple((what, port) for what, port in read if isinstance(what, str)),
            tuple((what, port) for what, port in read if not isinstance(what, str)),
        )

    def admits(self, host: str, port: int, address: Address) -> bool:
        """Say whether `address`, found for `host`, may be called at `port`."""
        if any(host == name and only in {None, port} for name, only in self.names):
            return True
        reached = {address, carried(address) or address}
        return any(only in {None, port} and any(each in network for each in reached) for network, only in self.networks)


def _entry(text: str) -> tuple[_Network | str, int | None]:
    try:
        return _read(text)
    except (ValueError, BlockedError) as error:
        why = error.reason.removeprefix("the URL's ") if isinstance(error, BlockedError) else str(error)
        raise SetupError(f"CMIS_EGRESS_ALLOW has the entry {text[:_SHOWN]!r}: {why}", _REMEDY) from error


def _read(text: str) -> tuple[_Network | str, int | None]:
    """Read one entry: a bare IPv6 address needs no brackets. Raises ValueError or BlockedError."""
    if "%" in text:
        raise ValueError("an address has no zone here")
    if "/" in text or (text.count(":") > 1 and not text.startswith("[")):
        return ip_network(text), None
    host, address, port = read_authority(text)
    return (host if address is None else ip_network(address)), port
