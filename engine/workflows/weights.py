"""Which branch of a weighted split an instance takes: the same one each time it is asked, on every machine.

The point of an instance in a step is the first 53 bits of sha256("<instance id>/<step id>"), as a fraction in [0, 1).
The branches share [0, 1) by their weights, in the order of the document, and the instance takes the one that its point
lies in. Splits of different steps are independent. To give the first branch more moves instances into it, never out.
"""

from __future__ import annotations

import hashlib
from itertools import accumulate
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Mapping
    from uuid import UUID

_BITS: Final = 53
"""As many as a float holds exactly."""
_READ: Final = 8


def chosen(weights: Mapping[str, float], instance_id: UUID, step_id: str) -> str:
    """Return the label of the branch taken. Weights are at least 0 and not all 0; one of 0 is never taken."""
    labels = [label for label, weight in weights.items() if weight > 0]
    ends = list(accumulate(weights[label] for label in labels))
    point = point_of(instance_id, step_id) * ends[-1]
    return next((label for label, end in zip(labels, ends, strict=True) if point < end), labels[-1])


def point_of(instance_id: UUID, step_id: str) -> float:
    """Return where an instance stands in a step: a fraction in [0, 1), evenly spread over instances."""
    digest = hashlib.sha256(f"{instance_id}/{step_id}".encode()).digest()
    return (int.from_bytes(digest[:_READ]) >> (8 * _READ - _BITS)) / (1 << _BITS)
