"""Read an operand, `{field, window}`: the subject of a leaf, or the other value that it compares with."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import TYPE_CHECKING, Final, NamedTuple

from engine.rules.fields import METRIC_AND_ENTITY_FIELDS, PAYLOAD_FIELD, PAYLOAD_FIELDS, FieldSpec, ValueType
from engine.rules.reading import Problems, listed, shown
from engine.rules.tree import Operand
from engine.rules.windows import DEFAULT_WINDOW, Window

if TYPE_CHECKING:
    from collections.abc import Mapping

# `metric` is the origin's spelling of `field`.
FIELD_SPELLINGS: Final = ("field", "metric")

# What is known of a field that is no rule field: nothing, so that any operator and any window may apply.
UNTYPED: Final = FieldSpec(ValueType.ANY, windowed=True)
_DOTTED_PATH: Final = re.compile(r"[\w-]+(\.[\w-]+)*")
_MAX_PATH: Final = 200


class TypedOperand(NamedTuple):
    """An operand and what is known of its field."""

    operand: Operand
    spec: FieldSpec


def read_operand(
    document: Mapping[object, object],
    known_fields: Mapping[str, FieldSpec] | None,
    path: str,
    problems: Problems,
) -> TypedOperand | None:
    """Read `field` (or `metric`) and `window` of an object, noting what is wrong; None if there is no such field.

    With a wrong window the operand is returned without one, so that the rest of its leaf can still be checked.
    """
    field = spelled(document, FIELD_SPELLINGS, path, problems)
    spec = None if field is None else _spec(field, known_fields, problems)
    window = _window(document.get("window"), f"{path}.window", problems)
    if field is None or spec is None:
        return None
    if window is not None and not spec.windowed:
        problems.add(f"{path}.window", f"{field.value} is no metric and has no window", "leave the window out")
    explicit = window is not None
    if window is None and spec.windowed and spec is not UNTYPED:
        window = DEFAULT_WINDOW
    return TypedOperand(_operand(str(field.value), window, explicit), spec)


@lru_cache(maxsize=1024)
def _operand(field: str, window: Window | None, explicit: bool) -> Operand:  # noqa: FBT001 - an operand's fields
    """Return the operand: the same one each time, since nearly all rules read the same few."""
    return Operand(field, window, explicit)


class Spelled(NamedTuple):
    """The value of a key that has several spellings, and the path of the one that was used."""

    value: object
    path: str


def spelled(
    document: Mapping[object, object], spellings: tuple[str, ...], path: str, problems: Problems
) -> Spelled | None:
    """Return the value under one of a key's spellings; None, with a problem noted, if there are none or several."""
    used = [name for name in spellings if name in document]
    if not used:
        problems.add(f"{path}.{spellings[0]}", "is required", f"give {' or '.join(spellings)}")
        return None
    if len(used) > 1:
        problems.add(f"{path}.{used[1]}", f"means the same as {used[0]}", f"leave {used[1]} out")
        return None
    return Spelled(document[used[0]], f"{path}.{used[0]}")


def _spec(field: Spelled, known_fields: Mapping[str, FieldSpec] | None, problems: Problems) -> FieldSpec | None:
    paths = known_fields is PAYLOAD_FIELDS
    allowed = f"allowed: {listed(METRIC_AND_ENTITY_FIELDS if known_fields is None else known_fields)}"
    if not isinstance(field.value, str):
        remedy = "write a path into the payload, such as lead.country" if paths else allowed
        problems.add(field.path, f"must be the name of a field, not {shown(field.value)}", remedy)
        return None
    if known_fields is not None and not paths:
        spec = known_fields.get(field.value)
        if spec is None:
            problems.add(field.path, f"unknown field {shown(field.value)}", allowed)
        return spec
    if len(field.value) > _MAX_PATH or not _DOTTED_PATH.fullmatch(field.value):
        problems.add(field.path, f"{shown(field.value)} is no dotted path", "write it like spend or order.total")
        return None
    return PAYLOAD_FIELD if paths else METRIC_AND_ENTITY_FIELDS.get(field.value, UNTYPED)


def _window(value: object, path: str, problems: Problems) -> Window | None:
    if value is None:
        return None
    if isinstance(value, str) and value in Window._value2member_map_:
        return Window(value)
    problems.add(path, f"unknown window {shown(value)}", f"allowed: {listed(Window)}")
    return None
