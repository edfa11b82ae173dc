"""Cron expressions made up by rule: the same ones in each run, most of them near the hours when clocks change."""

from __future__ import annotations

import functools
import random
from typing import Final

from engine.schedule import grammar

_NIGHT: Final = (0, 1, 2, 3, 23)
_WEEKDAYS: Final = ("sun", "mon", "tue", "wed", "thu", "fri", "sat")


@functools.cache
def generated(count: int, seed: int) -> tuple[str, ...]:
    """Return so many different expressions."""
    chosen, found = random.Random(seed), dict[str, None]()  # noqa: S311 - no secret is made here
    while len(found) < count:
        day, weekday = _field(chosen, 1, 31, 0.7), _field(chosen, 0, 6, 0.7)
        expression = f"{_field(chosen, 0, 59, 0.1)} {_hours(chosen)} {day} {_field(chosen, 1, 12, 0.85)} {weekday}"
        assert grammar.problems(expression) == []
        found[expression] = None
    return tuple(found)


def _field(chosen: random.Random, low: int, high: int, stars: float) -> str:
    if chosen.random() < stars:
        return "*"
    match chosen.randrange(4):
        case 0:
            return f"*/{chosen.choice((2, 3, 5, 7, 10, 15, 20, 30, 45) if high > 31 else (2, 3, 4, 5))}"
        case 1:
            low_end = chosen.randrange(low, high)
            step = f"/{chosen.randint(2, 4)}" if chosen.random() < 0.5 else ""
            return f"{low_end}-{chosen.randint(low_end + 1, high)}{step}"
        case 2 if high == 31:
            return chosen.choice(("L", "1,L", "28-31", "1"))
        case 2 if high == 6:
            return ",".join(chosen.sample(_WEEKDAYS, 2))
    return ",".join(map(str, sorted(chosen.sample(range(low, high + 1), chosen.randint(1, 3)))))


def _hours(chosen: random.Random) -> str:
    match chosen.randrange(5):
        case 0:
            return "*"
        case 1:
            return f"*/{chosen.randint(2, 6)}"
        case 2:
            return chosen.choice(("0-3", "1-4", "22-23", "0-23", "1-5/2", "2-3"))
    return ",".join(map(str, sorted(chosen.sample(_NIGHT, chosen.randint(1, 3)))))
