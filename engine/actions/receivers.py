"""Whom a message is for, read at the edge: URLs, headers, secrets' names, mail addresses. Pure."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final

from core.errors import Problem
from engine.deliver.couriers import signing
from engine.egress import headers as rules
from engine.egress import urls
from engine.egress.errors import BlockedError
from engine.secrets.references import NAME, SCHEME

if TYPE_CHECKING:
    from collections.abc import Mapping

MAX_RECIPIENTS: Final = 20
MAX_HEADERS: Final = 20
USUAL_SIGNING_SECRET: Final = f"{SCHEME}webhook_signing"
_SECRET: Final = re.compile(SCHEME + NAME.pattern)
_MAX_ADDRESS: Final = 254
_ADDRESS: Final = re.compile(
    r"(?=.{1,64}@)[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+(?:\.[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+)*"
    r"@[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?(?:\.[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?)*"
)
_NAMED: Final = "name it, as secret://name"


def url(params: Mapping[str, Any], path: str, found: list[Problem]) -> str:
    """Return `url`: a URL that may be called as far as can be said now, or the name of a secret that holds one."""
    given = params.get("url")
    if not isinstance(given, str) or not given:
        found.append(Problem(f"{path}.url", "is required", "give an https:// URL, or secret://name of one"))
        return ""
    if not _SECRET.fullmatch(given):
        try:
            urls.read(given)
        except BlockedError as error:
            found.append(Problem(f"{path}.url", str(error)))
    return given


def headers(params: Mapping[str, Any], path: str, found: list[Problem]) -> dict[str, str]:
    """Return `headers`: at most 20, whose values may hold secrets' names."""
    given = params.get("headers")
    if given is None:
        return {}
    if not isinstance(given, dict) or not all(isinstance(value, str) for value in given.values()):
        found.append(Problem(f"{path}.headers", "must be an object of texts", 'such as {"Authorization": "…"}'))
        return {}
    if len(given) > MAX_HEADERS:
        found.append(Problem(f"{path}.headers", f"are {len(given)}", f"give at most {MAX_HEADERS}"))
        return {}
    before = len(found)
    seen: set[str] = set()
    for name, value in given.items():
        if why := _refusal(name, value, seen):
            found.append(Problem(f"{path}.headers.{name[:100]}", *why))
        seen.add(name.lower())
    if len(found) == before:
        _check_size(given, path, found)
    return dict(given)


def _check_size(given: Mapping[str, str], path: str, found: list[Problem]) -> None:
    try:
        rules.check(given)
    except BlockedError as error:
        found.append(Problem(f"{path}.headers", str(error)))


def _refusal(name: str, value: str, seen: set[str]) -> tuple[str, str] | None:
    if name.lower() in seen:
        return "stands there twice", "leave one of them out"
    if name.lower() in signing.NAMES:
        return f"the header {name} is set by the product", "leave it out"
    if "{{" in value:
        return "headers hold no references", "refer to values in the payload"
    return rules.refusal(name, value)


def signing_secret(params: Mapping[str, Any], path: str, found: list[Problem]) -> str:
    """Return `signing_secret`: the name of the secret that signs what is sent."""
    given = params.get("signing_secret")
    if given is None:
        return USUAL_SIGNING_SECRET
    if not isinstance(given, str) or not _SECRET.fullmatch(given):
        found.append(Problem(f"{path}.signing_secret", "must be the name of a secret, never the secret itself", _NAMED))
        return ""
    return given


def recipients(params: Mapping[str, Any], path: str, found: list[Problem]) -> list[str]:
    """Return `to`: 1 to 20 different mail addresses, as a list or a single text."""
    given = params.get("to")
    listed = [given] if isinstance(given, str) else given
    if not isinstance(listed, list) or not 0 < len(listed) <= MAX_RECIPIENTS:
        remedy = "give a mail address, or a list of them"
        found.append(Problem(f"{path}.to", f"must be 1 to {MAX_RECIPIENTS} mail addresses", remedy))
        return []
    wrong = [n for n, one in enumerate(listed) if not is_address(one)]
    found += [Problem(f"{path}.to[{n}]", f"{listed[n]!r} is no mail address"[:120], "write name@host") for n in wrong]
    if wrong:
        return []
    different: dict[str, str] = {}
    for one in listed:
        different.setdefault(one.lower(), one)
    return list(different.values())


def is_address(one: object) -> bool:
    """Say whether this is one plain mail address: no name, no list, no line break, ASCII."""
    return isinstance(one, str) and len(one) <= _MAX_ADDRESS and _ADDRESS.fullmatch(one) is not None
