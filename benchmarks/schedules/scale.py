"""How much is stored, how much is due, how often it is measured: the issue's figures, and small ones to try."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class Scale:
    """The sizes of a run of this part."""

    stored: int
    few: int
    """Stored jobs of the small database."""
    due: int
    due_small: int
    """Jobs due in both databases where their memory is compared; at most `few`."""
    redbeat: int
    burst: int
    """Entries of celery beat and of django-celery-beat."""
    runs: int
    passes: int
    """Idle passes of one run."""
    claims: int
    """Claims of one run."""


FULL: Final = Scale(
    stored=1_000_000,
    few=1_000,
    due=10_000,
    due_small=1_000,
    redbeat=10_000,
    burst=1_000,
    runs=3,
    passes=500,
    claims=20,
)
QUICK: Final = Scale(
    stored=20_000, few=1_000, due=1_000, due_small=500, redbeat=500, burst=200, runs=1, passes=100, claims=5
)
ORGS: Final = 100
RULES_PER_ORG: Final = 20
CAMPAIGNS_PER_ORG: Final = 20
ZONES: Final = (
    "UTC",
    "America/New_York",
    "America/Los_Angeles",
    "America/Sao_Paulo",
    "Europe/London",
    "Europe/Berlin",
    "Africa/Johannesburg",
    "Asia/Kolkata",
    "Asia/Tokyo",
    "Australia/Sydney",
)


def expressions() -> list[str]:
    """Return 50 different cron expressions as people write them: daily, on weekdays, through office hours, monthly."""
    daily = [f"{7 * n % 60} {n % 24} * * *" for n in range(20)]
    weekdays = [f"{11 * n % 60} {6 + n} * * 1-5" for n in range(12)]
    office_hours = [f"{13 * n % 60} 8-18/{n % 3 + 2} * * 1-5" for n in range(10)]
    monthly = [f"{17 * n % 60} {3 * n % 24} 1,15 * *" for n in range(8)]
    return daily + weekdays + office_hours + monthly
