"""How many months are kept: the rules for changing that."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from core.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Mapping

LEAST: Final = 3
"""Partitions are made for two months back."""
MOST: Final = 1200
_OPTIONS: Final = {"work_months": "--work", "workflow_months": "--workflows", "audit_months": "--audit"}


def changed(months: Mapping[str, int], wanted: Mapping[str, int | None]) -> dict[str, int]:
    """Return the settings with what is wanted laid over them. Raises InputError naming the option that is wrong."""
    result = dict(months) | {name: value for name, value in wanted.items() if value is not None}
    for name, value in result.items():
        if not LEAST <= value <= MOST:
            remedy = f"a number of months from {LEAST} to {MOST}"
            raise InputError.of(_OPTIONS[name], f"{value} months cannot be kept", remedy)
    longest = max(result["work_months"], result["workflow_months"])
    if result["audit_months"] < longest:
        message = f"the audit log would go after {result['audit_months']} months, before what it tells of"
        raise InputError.of("--audit", message, f"at least {longest}, or shorten --work and --workflows")
    return result


def shortened(before: Mapping[str, int], after: Mapping[str, int]) -> list[str]:
    """Return the options by which less is kept than before: what they cover goes for good."""
    return [_OPTIONS[name] for name in before if after[name] < before[name]]
