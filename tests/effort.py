"""How much the tests try that try many things: `make test-all` all of it, `make test` a part, another one each time."""

from __future__ import annotations

import os
from typing import Final

EFFORT: Final = float(os.environ.get("CMIS_TEST_EFFORT", "0.3"))


def some(number: int) -> int:
    """Return how many of so many examples, or rounds, are tried: at least twenty, if there are as many."""
    return min(number, max(20, round(number * EFFORT)))
