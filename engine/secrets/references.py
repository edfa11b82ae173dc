"""References to secrets: `secret://name`, as a whole text or within one. Pure.

In a rule's parameters every text may hold one. In a message, which also has texts that come from elsewhere (the name
of a campaign, the payload of an event), only those places count that a rule's or a connector's owner alone fills.
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote, urlsplit

from core.errors import PermanentError
from engine.secrets.secret import HIDDEN, Secret

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

SCHEME: Final = "secret://"
PLACES: Final = ("url", "headers", "signing_secret")
"""Keys of a message below which references are resolved; a body or a text is sent as it is."""
NAME: Final = re.compile(r"[a-z][a-z0-9_-]{0,62}")

_REFERENCE: Final = re.compile(rf"{SCHEME}({NAME.pattern})(?![A-Za-z0-9_-])")
_LEAST_TAIL: Final = 4
"""Characters of a secret at the end of a text from which on it counts as one that was cut off."""


def found(document: object, path: str) -> Iterator[tuple[str, str | None]]:
    """Yield each reference anywhere in a document: its path, and the name; None where what follows is no name."""
    if isinstance(document, str):
        for part in document.split(SCHEME)[1:]:
            reference = _REFERENCE.match(SCHEME + part)
            yield path, reference[1] if reference else None
    elif isinstance(document, dict):
        for key, value in document.items():
            yield from found(value, f"{path}.{key}" if path else str(key))
    elif isinstance(document, list | tuple):
        for index, value in enumerate(document):
            yield from found(value, f"{path}[{index}]")


def names(message: Mapping[str, Any]) -> set[str]:
    """Return the names of the secrets that a message needs."""
    places = {place: message[place] for place in PLACES if place in message}
    return {name for _, name in found(places, "") if name is not None}


def fill(message: Mapping[str, Any], values: Mapping[str, str]) -> dict[str, Any]:
    """Return a message with the values in place of the references; each text that has one is a `Secret`.

    Raises PermanentError, which names the secret, where a value is not there.
    """
    return {key: _filled(value, values) if key in PLACES else value for key, value in message.items()}


def redact(text: str, values: Iterable[str]) -> str:
    """Return a text without the values in it, as they are, as they stand in a URL or in JSON, and cut off at its end.

    To be done before the text is shortened. Of a value that is a URL, what follows its host is taken out, too:
    receivers repeat the path that they were asked for.
    """
    written = sorted({form for value in values for form in _forms(value)}, key=len, reverse=True)
    for form in written:
        text = text.replace(form, HIDDEN)
    cut = max((_tail(text, form) for form in written), default=0)
    return text[: len(text) - cut] + HIDDEN if cut else text


def _filled(value: object, values: Mapping[str, str]) -> object:
    if isinstance(value, str):
        return Secret(_REFERENCE.sub(lambda one: _value(one[1], values), value)) if _REFERENCE.search(value) else value
    if isinstance(value, dict):
        return {key: _filled(item, values) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_filled(item, values) for item in value]
    return value


def _value(name: str, values: Mapping[str, str]) -> str:
    if name not in values:
        message = f"there is no secret {name!r} (`cmis secrets set {name}`)"
        raise PermanentError(message)
    return Secret(values[name]).reveal()


def _forms(value: str) -> Iterator[str]:
    plain = Secret(value).reveal()
    for text in (plain, *_beyond_host(plain)):
        yield from filter(None, (text, quote(text, safe=""), quote(text), json.dumps(text)[1:-1]))


def _beyond_host(text: str) -> Iterator[str]:
    """Yield the path and the query of a URL, and the two together."""
    try:
        parts = urlsplit(text)
    except ValueError:  # brackets that hold no address: no URL
        return
    if parts.scheme and parts.netloc:
        path = parts.path if len(parts.path) >= _LEAST_TAIL else ""
        yield from (path, parts.query, f"{path}?{parts.query}" if parts.query else "")


def _tail(text: str, form: str) -> int:
    """Return how many characters at the end of a text are the beginning of a secret."""
    for length in range(min(len(form) - 1, len(text)), _LEAST_TAIL - 1, -1):
        if text.endswith(form[:length]):
            return length
    return 0
