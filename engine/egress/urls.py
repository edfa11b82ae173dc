"""A receiver's URL, read strictly: what two programs could read differently is refused. Pure.

No message quotes the text: the URL as a whole may be a secret.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from ipaddress import AddressValueError, IPv4Address, IPv6Address
from typing import TYPE_CHECKING, Final

from engine.egress.errors import BlockedError

if TYPE_CHECKING:
    from engine.egress.addresses import Address

MAX_LENGTH: Final = 2_048
_MAX_HOST: Final = 253
_DEFAULT_PORTS: Final = {"http": 80, "https": 443}
_SHAPE: Final = re.compile(
    r"(?P<scheme>[A-Za-z][A-Za-z0-9+.-]*)://(?P<authority>[^/?#]*)(?P<target>[^#]*)(?P<fragment>#.*)?", re.DOTALL
)
_AUTHORITY: Final = re.compile(r"(?P<host>\[[^\]]*\]|[^:\[\]]*)(?::(?P<port>.*))?")
_UNSAFE: Final = re.compile(r'[^!-~]|["<>\\^`{|}]')
_LABEL: Final = re.compile(r"[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?")
_NUMBER: Final = re.compile(r"[0-9]+|0x[0-9a-f]*")
_PORT: Final = re.compile(r"[1-9][0-9]{0,4}")
_MAX_PORT: Final = 65_535


@dataclass(frozen=True, slots=True)
class Url:
    """A URL that may be called, as far as can be said without asking for its host's addresses."""

    scheme: str
    host: str
    """A DNS name in small letters, or an address as Python writes it, without brackets."""
    address: Address | None
    """The host, where it is an address."""
    port: int
    target: str
    """Path and query."""

    @property
    def origin(self) -> str:
        """Return scheme, host and port: the name of the server."""
        return f"{self.scheme}://{self._written_host}:{self.port}"

    @property
    def authority(self) -> str:
        """Return what the request's Host says."""
        return self._written_host if self.port == _DEFAULT_PORTS[self.scheme] else f"{self._written_host}:{self.port}"

    @property
    def _written_host(self) -> str:
        return f"[{self.host}]" if isinstance(self.address, IPv6Address) else self.host


def read(text: str) -> Url:
    """Read a URL. Raises BlockedError with the reason and the remedy."""
    if len(text) > MAX_LENGTH:
        raise BlockedError(f"the URL is longer than {MAX_LENGTH:,} characters", "send what is long in the body")
    if _UNSAFE.search(text):
        raise BlockedError("the URL has a character that no URL may have", "write it percent-encoded, a name as xn--…")
    shape = _SHAPE.fullmatch(text)
    if shape is None:
        raise BlockedError("the URL is none", "write it whole: https://host/path")
    scheme = shape["scheme"].lower()
    if scheme not in _DEFAULT_PORTS:
        raise BlockedError("the URL's scheme is neither https nor http", "give an https:// URL")
    if shape["fragment"] is not None:
        raise BlockedError("the URL has a fragment, which no server gets to see", "leave # and what follows out")
    host, address, port = read_authority(shape["authority"])
    target = shape["target"]
    return Url(scheme, host, address, port or _DEFAULT_PORTS[scheme], target if target[:1] == "/" else f"/{target}")


def read_authority(text: str) -> tuple[str, Address | None, int | None]:
    """Read `host[:port]`: the host, the host if it is an address, the port if it is given. Raises BlockedError."""
    if "@" in text:
        raise BlockedError("the URL names a user", "give what authorises the call in a header, as secret://name")
    found = _AUTHORITY.fullmatch(text)
    if found is None:
        raise BlockedError("the URL's host and port are not clear", "write an IPv6 address in brackets: [2001:db8::1]")
    host, address = _host(found["host"].lower())
    return host, address, _port(found["port"])


def _host(text: str) -> tuple[str, Address | None]:
    """Read a name or an address: only one way of writing an IPv4 address is taken, since programs differ on others."""
    if text.startswith("["):
        return _bracketed(text[1:-1])
    labels = text.split(".")
    if _NUMBER.fullmatch(labels[-1]):
        try:
            address = IPv4Address(text)
        except AddressValueError:
            raise BlockedError(
                "the URL's host is a number, or an address in an unusual spelling",
                "write an IPv4 address as four decimal numbers, or give the host's name",
            ) from None
        return str(address), address
    if len(text) > _MAX_HOST or not all(_LABEL.fullmatch(label) for label in labels):
        raise BlockedError(
            "the URL's host is no DNS name", "give a name of letters, digits, - and dots, without a dot at its end"
        )
    return text, None


def _bracketed(text: str) -> tuple[str, Address]:
    try:
        address = IPv6Address(text)
    except AddressValueError:
        address = None
    if address is None or address.scope_id is not None:
        raise BlockedError("the URL's host in brackets is no IPv6 address", "write one without a zone") from None
    return str(address), address


def _port(text: str | None) -> int | None:
    if text is None:
        return None
    if _PORT.fullmatch(text) and int(text) <= _MAX_PORT:
        return int(text)
    raise BlockedError(f"the URL's port is no number from 1 to {_MAX_PORT}", "leave it out for the scheme's own")
