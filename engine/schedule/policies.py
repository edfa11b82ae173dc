"""A job's policies: what becomes of its planned times, and of its runs. They never change which times are planned."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from functools import lru_cache
from operator import attrgetter
from typing import TYPE_CHECKING, Any, Final, Literal

if TYPE_CHECKING:
    from engine.schedule.fields import Fields

Misfire = Literal["skip", "once", "all"]
Overlap = Literal["skip", "buffer_one", "allow", "cancel_other"]

MISFIRES: Final[tuple[Misfire, ...]] = ("skip", "once", "all")
OVERLAPS: Final[tuple[Overlap, ...]] = ("skip", "buffer_one", "allow", "cancel_other")

MAX_GRACE: Final = 2_592_000
MAX_JITTER: Final = 3_600
MAX_TIMEOUT: Final = 3_600
DEFAULT_TIMEOUT: Final = 300
MAX_EXECUTIONS: Final = 1_000_000_000
MAX_FAILURES: Final = 1_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Policies:
    """SPEC §5's policies with their defaults. The bounds are those of the columns' CHECKs."""

    misfire: Misfire = "once"
    """Which planned times that were missed are made up for: none, the latest, or all (at most 100)."""
    misfire_grace_seconds: int = 3_600
    """How late a planned time may still run."""
    overlap: Overlap = "skip"
    """What becomes of a planned time while a run is open."""
    jitter_seconds: int = 0
    """How much later than planned a run may start, at most; the same for the same planned time."""
    max_executions: int | None = None
    """How many planned times may run; then the job is completed."""
    timeout_seconds: int | None = DEFAULT_TIMEOUT
    """How long a run may take before it ends as failed; None, of workflows only: as long as their definition says."""
    pause_on_failure_count: int | None = None
    """After how many failed runs in a row the job is paused; None = never."""

    @property
    def grace(self) -> timedelta:
        """How late a planned time may still run."""
        return timedelta(seconds=self.misfire_grace_seconds)


NAMES: Final = frozenset(Policies.__dataclass_fields__)


def read(fields: Fields) -> Policies:
    """Read the policies of a document; what is wrong is added to the fields' problems, each with its remedy."""
    misfire, overlap = fields.word("misfire", MISFIRES), fields.word("overlap", OVERLAPS)
    grace = fields.number("misfire_grace_seconds", 1, MAX_GRACE)
    jitter, timeout = fields.number("jitter_seconds", 0, MAX_JITTER), fields.number("timeout_seconds", 1, MAX_TIMEOUT)
    limit = fields.number("max_executions", 1, MAX_EXECUTIONS)
    failures = fields.number("pause_on_failure_count", 1, MAX_FAILURES)
    return Policies(
        misfire=misfire or "once",
        misfire_grace_seconds=3_600 if grace is None else grace,
        overlap=overlap or "skip",
        jitter_seconds=jitter or 0,
        max_executions=limit,
        timeout_seconds=DEFAULT_TIMEOUT if timeout is None else timeout,
        pause_on_failure_count=failures,
    )


def to_columns(policies: Policies) -> dict[str, Any]:
    """Return the column values of policies."""
    return {name: getattr(policies, name) for name in sorted(NAMES)}


def of_row(row: Any) -> Policies:
    """Return the policies of a job's row; most rows share theirs with others."""
    return _of(*_columns(row))


@lru_cache(maxsize=4096)
def _of(*values: Any) -> Policies:
    return Policies(**dict(zip(_ORDER, values, strict=True)))


_ORDER: Final = tuple(Policies.__dataclass_fields__)
_columns: Final = attrgetter(*_ORDER)
