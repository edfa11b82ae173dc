"""A host's addresses, asked for once and within a time limit, and each of them judged."""

from __future__ import annotations

import socket
from concurrent.futures import Future
from ipaddress import ip_address
from threading import Thread
from typing import TYPE_CHECKING, Final, TypeAlias

from engine.egress.addresses import refusal
from engine.egress.errors import BlockedError, NotSentError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from engine.egress.addresses import Address
    from engine.egress.allow import Allow
    from engine.egress.urls import Url

Resolve: TypeAlias = "Callable[[str, int], Sequence[str]]"
"""Returns the addresses of a host, for a port; OSError where it has none."""
_REMEDY: Final = "give a public host; whoever runs the deployment may add this one to CMIS_EGRESS_ALLOW"


def lookup(host: str, port: int) -> list[str]:
    """Ask the system for a host's addresses. Raises OSError where there are none; may take as long as it likes."""
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(sockaddr[0]) for *_, sockaddr in found))


def admitted(url: Url, allow: Allow, resolve: Resolve, *, seconds: float) -> list[Address]:
    """Return the addresses that `url` may be called at; only these, since a second answer may differ from the first.

    Raises BlockedError if any of them is neither public nor allowed, NotSentError if there is none within `seconds`.
    """
    found = [url.address] if url.address else addresses(url.host, url.port, resolve, seconds=seconds)
    for address in found:
        why = refusal(address)
        if why and not allow.admits(url.host, url.port, address):
            said = f"{address} {why}" if url.address else f"{url.host} resolves to {address}, which {why}"
            raise BlockedError(said, _REMEDY)
    return found


def addresses(host: str, port: int, resolve: Resolve = lookup, *, seconds: float) -> list[Address]:
    """Return the addresses of a name; raises NotSentError if there is none within `seconds`.

    It is resolved in a thread of its own: the system's resolver knows no time limit that we could set.
    """
    answer: Future[Sequence[str]] = Future()
    Thread(target=_answer, args=(answer, resolve, host, port), daemon=True, name="resolve").start()
    try:
        texts = answer.result(timeout=seconds)
    except TimeoutError as error:
        raise NotSentError(f"{host} was not resolved within {seconds:.1f} s") from error
    except OSError as error:
        raise NotSentError(f"{host} was not resolved: {error.strerror or error}") from error
    if not texts:
        raise NotSentError(f"{host} has no address")
    return [ip_address(text) for text in texts]


def _answer(answer: Future[Sequence[str]], resolve: Resolve, host: str, port: int) -> None:
    try:
        answer.set_result(resolve(host, port))
    except (OSError, ValueError) as error:
        answer.set_exception(error if isinstance(error, OSError) else OSError(str(error)))
