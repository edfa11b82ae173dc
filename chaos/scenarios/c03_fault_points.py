"""C3: processes die at the worst places: around a commit, between a commit and its messages, after a call went out."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from chaos.scenario import Scenario

if TYPE_CHECKING:
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
_LOOK_SECONDS: Final = 1.0


def wait_for_deaths(arena: Arena) -> None:
    """Let the fault points do it."""
    while arena.left:
        arena.wait(_LOOK_SECONDS)


def some_died(arena: Arena) -> list[str]:
    """Nothing is proved by a run in which nobody died."""
    return [] if arena.crew.said(": dying") else ["no process died at any fault point"]


SCENARIO: Final = Scenario(
    "C3",
    "death between commit and publish",
    25,
    wait_for_deaths,
    env={"CMIS_FAULTS": ",".join(f"{name}={chance}" for name, chance in POINTS.items())},
    check=some_died,
)
