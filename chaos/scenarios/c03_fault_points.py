"""C3: processes die at the worst places: around a commit, between a commit and its messages, after a call went out."""

from __future__ import annotations

import signal
from typing import TYPE_CHECKING, Final

from chaos.scenario import Scenario

if TYPE_CHECKING:
    from collections.abc import Iterator

    from chaos.arena import Arena

POINTS: Final = {
    # of schedulers, which come by them several times a second
    "dispatch.before_commit": 0.02,
    "dispatch.committed": 0.02,
    "publish.marked": 0.02,
    # of workers, once a task
    "rules.claimed": 0.1,
    "rules.before_commit": 0.02,
    "rules.committed": 0.05,
    "workflow.claimed": 0.05,
    "workflow.called": 0.03,
    "workflow.before_commit": 0.02,
    "workflow.committed": 0.03,
    "deliver.claimed": 0.03,
    "deliver.called": 0.03,
    "deliver.before_commit": 0.03,
}
"""How probable a death is each time that a process comes by."""
SUBJECT: Final = ("dispatch.committed", "publish.marked")
"""Where somebody must have died: what is committed there has no message yet."""
_LOOK_SECONDS: Final = 1.0
_PATIENCE_SECONDS: Final = 60.0
"""How much longer than its time a run may take until it has met both."""


def wait_for_deaths(arena: Arena) -> None:
    """Let the fault points do it."""
    while arena.left:
        arena.wait(_LOOK_SECONDS)
    for _ in range(int(_PATIENCE_SECONDS / _LOOK_SECONDS)):
        if not _unmet(arena):
            return
        arena.wait_whatever(_LOOK_SECONDS)


def _unmet(arena: Arena) -> list[str]:
    return [name for name in SUBJECT if not arena.crew.said(f"fault point {name}: dying")]


def died_there(arena: Arena) -> Iterator[str]:
    """Somebody died between commit and publish, else nothing is proved, and nobody of anything else."""
    yield from (f"no process died at {name}" for name in _unmet(arena))
    others = (one for one in arena.crew.unasked() if one.status != -signal.SIGKILL)
    yield from (f"{one.name} ended by itself with status {one.status}" for one in others)


SCENARIO: Final = Scenario(
    "C3",
    "death between commit and publish",
    25,
    wait_for_deaths,
    env={"CMIS_FAULTS": ",".join(f"{name}={chance}" for name, chance in POINTS.items())},
    check=died_there,
)
