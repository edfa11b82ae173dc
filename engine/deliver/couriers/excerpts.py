"""The beginning of what a receiver answered, without what the message holds in confidence. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final
from urllib.parse import quote, urlsplit

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from engine.egress.response import Response

LONGEST: Final = 500
MASK: Final = "***"
_SHORTEST: Final = 6
"""Shorter texts are nobody's secret, and stand in every answer."""


def excerpt(response: Response, confidential: Iterable[str]) -> str:
    """Return at most 500 printable characters of the answer; nothing of one that is packed."""
    if response.headers.get("content-encoding", "identity").strip().lower() not in {"", "identity"}:
        return ""
    text = response.body.decode(errors="replace")
    secrets = sorted(set(_spellings(confidential)), key=len, reverse=True)
    for secret in secrets:
        text = text.replace(secret, MASK)
    if response.truncated:
        text = _without_beginning(text.rstrip("\ufffd"), secrets)
    # NUL and lone surrogates cannot be stored as JSON; line ends and escapes would forge lines of a log
    return " ".join("".join(mark if mark.isprintable() else " " for mark in text).split())[:LONGEST]


def of_url(url: str) -> Iterator[str]:
    """Return what is confidential in a URL: all of it, its path and query, and the parts of these."""
    yield url
    if "://" not in url:
        return
    parts = urlsplit(url)
    yield from (parts.path, parts.query, f"{parts.path}?{parts.query}", *parts.path.split("/"))
    yield from (pair.partition("=")[2] for pair in parts.query.split("&"))


def of_headers(headers: Mapping[str, str]) -> Iterator[str]:
    """Return what is confidential in headers: each value, and what stands in it after a scheme such as Bearer."""
    for value in headers.values():
        yield value
        yield value.partition(" ")[2]


def _spellings(confidential: Iterable[str]) -> Iterator[str]:
    for secret in confidential:
        for each in (secret, quote(secret, safe=""), secret.replace("/", "\\/")):
            if len(each) >= _SHORTEST:
                yield each


def _without_beginning(text: str, secrets: Iterable[str]) -> str:
    """Return `text` without a beginning of a secret at its end: that is where the answer was cut off."""
    longest = max(
        (length for secret in secrets for length in range(1, len(secret)) if text.endswith(secret[:length])), default=0
    )
    return text[: len(text) - longest]
