"""Fault points: named places in the code where a test or the chaos suite makes the process die or fail.

`CMIS_FAULTS="name=probability[xCOUNT],…"` arms them; unarmed they cost one dictionary lookup. COUNT bounds how often a
point fires in one process. `CMIS_FAULTS_SEED`, which is logged, and the pid are what chance begins with: a seed alone
repeats no run.
"""

from __future__ import annotations

import logging
import os
import random
import signal
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Self

from core.errors import SetupError, TransientError

if TYPE_CHECKING:
    from core.config import Settings

logger = logging.getLogger(__name__)


@dataclass(slots=True)
class _Point:
    probability: float
    left: float

    @classmethod
    def parse(cls, name: str, spec: str) -> Self:
        probability, _, count = spec.partition("x")
        try:
            point = cls(float(probability), float(count or "inf"))
        except ValueError:
            point = cls(-1, 0)
        if not 0 <= point.probability <= 1:
            message = f"CMIS_FAULTS: {name}={spec} is no fault point"
            raise SetupError(message, "write name=probability or name=probabilityxCOUNT, e.g. rules.item=1x1")
        return point


@dataclass(slots=True)
class Faults:
    """The armed points of one process and their source of chance."""

    points: dict[str, _Point] = field(default_factory=dict)
    chance: random.Random = field(default_factory=random.Random)

    @classmethod
    def load(cls, settings: Settings) -> Self:
        """Parse the settings; an unreadable entry is a SetupError."""
        points = {}
        for entry in filter(None, settings.faults.split(",")):
            name, _, spec = entry.strip().partition("=")
            points[name] = _Point.parse(name, spec)
        seed = settings.faults_seed or str(random.SystemRandom().getrandbits(32))
        if points:
            logger.warning("faults armed: %s seed=%s", settings.faults, seed)
        return cls(points, random.Random(f"{seed}:{os.getpid()}"))  # noqa: S311 - chance for tests, not secrets

    def fires(self, name: str) -> bool:
        """Say whether the point `name` fires this time."""
        point = self.points.get(name)
        if point is None or point.left <= 0 or self.chance.random() >= point.probability:
            return False
        point.left -= 1
        return True


_faults = Faults()


def arm(settings: Settings) -> None:
    """Arm the fault points of this process; called once at start (and again in each forked child)."""
    global _faults  # noqa: PLW0603 - one process has one set of fault points
    _faults = Faults.load(settings)


def crash(name: str) -> None:
    """Die by SIGKILL here if the point `name` fires, as a power cut would."""
    if _faults.fires(name):
        logger.warning("fault point %s: dying", name)
        os.kill(os.getpid(), signal.SIGKILL)


def fail(name: str) -> None:
    """Raise a TransientError here if the point `name` fires."""
    if _faults.fires(name):
        message = f"injected fault at {name}"
        raise TransientError(message)
