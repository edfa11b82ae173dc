"""What a callable returned, against what a step can keep. Pure."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, TypeGuard

from core.errors import InputError
from engine.rules.reading import kind_of, refuse_unstorable

LARGEST: Final = 256 * 1024
"""Bytes of an output's JSON in UTF-8."""
DEEPEST: Final = 16
_FEW: Final = 32
_SHORT: Final = 500
_EXACT: Final = 2**53

INVALID: Final = "OUTPUT_INVALID"
TOO_LARGE: Final = "OUTPUT_TOO_LARGE"


@dataclass(frozen=True, slots=True)
class Unusable:
    """No step can keep it: the callable, not its step, has to be mended."""

    code: str
    reason: str


def checked(output: object) -> Mapping[str, Any] | Unusable:
    """Return an output as its JSON is read back (tuples are lists, keys are texts); None is `{}`."""
    if output is None or _is_plain(output):
        return dict(output or {})
    if not isinstance(output, Mapping):
        return Unusable(INVALID, f"returned {kind_of(output)} (return a mapping, or None)")
    try:
        written = json.dumps(dict(output), ensure_ascii=False, separators=(",", ":"))
    except (TypeError, ValueError, RecursionError) as error:
        return Unusable(INVALID, f"returned what is no JSON: {error} (return texts, numbers, lists and mappings)")
    size = len(written.encode(errors="surrogatepass"))
    if size > LARGEST:
        return Unusable(TOO_LARGE, f"returned {size} bytes of JSON (return at most {LARGEST}; keep the rest elsewhere)")
    document: dict[str, Any] = json.loads(written)
    try:
        refuse_unstorable(document, "output", DEEPEST)
    except InputError as error:
        return Unusable(INVALID, f"returned what cannot be stored: {error}")
    return document


def _is_plain(output: object) -> TypeGuard[dict[str, Any]]:
    """Say whether nothing can be wrong with an output, and JSON would not change it: few short texts and numbers."""
    return (
        type(output) is dict
        and len(output) <= _FEW
        and all(map(_is_name, output))
        and all(map(_is_value, output.values()))
    )


def _is_name(value: object) -> bool:
    return type(value) is str and len(value) <= _SHORT and value.isascii() and "\x00" not in value


def _is_value(value: object) -> bool:
    match value:
        case None | bool():
            return True
        case int():
            return type(value) is int and -_EXACT <= value <= _EXACT
        case _:
            return _is_name(value)
