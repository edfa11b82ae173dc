"""C8: people pause, resume and cancel runs of a workflow, ten times a second, while workers are killed as in C1."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from chaos.scenario import Scenario
from chaos.scenarios.c01_workers import KINDS, PATIENCE, PAUSE, Blow
from chaos.scenarios.c01_workers import SCENARIO as KILLS
from chaos.turns import in_turn
from core.clock import monotonic
from core.errors import ConflictError, TransientError
from engine.control_workflows import switch
from engine.control_workflows.steering import Hand, Steered
from tests.posting import Desk
from tests.stepping import Flow

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from uuid import UUID

    from chaos.arena import Arena

_ORG: Final = "steered"
_EVERY: Final = 0.1
"""Seconds between two verbs."""
_STARTS: Final = 3
"""Verbs for which one run is started."""
_YOUNG: Final = 30
"""Of the youngest runs each verb is for one: older ones have ended."""
_VERBS: Final = ("pause", "pause", "resume", "resume", "resume", "cancel")
_NOTED: Final = {"pause": "run paused", "resume": "run resumed", "cancel": "run cancelled"}
_SETTLED: Final = 60.0
_PAUSED: Final = """
SELECT i.instance_id FROM cmis.workflow_instances i JOIN cmis.orgs o USING (org_id)
 WHERE o.name = 'steered' AND i.status = 'paused'"""
_ENDS: Final = """
SELECT i.instance_id, i.status FROM cmis.workflow_instances i JOIN cmis.orgs o USING (org_id)
 WHERE o.name = 'steered'"""


@dataclass(slots=True)
class _Steering:
    """Runs of one workflow, and what became of the verbs."""

    arena: Arena
    flow: Flow
    template_id: UUID
    young: deque[UUID] = field(default_factory=lambda: deque(maxlen=_YOUNG))

    def start(self) -> None:
        """Start one more run."""
        self.young.append(self.flow.start(self.template_id))

    def steer(self, verb: str, instance_id: UUID) -> bool:
        """Do it, and note what changed something; False where the run had ended, or a worker kept it locked."""
        hand = Hand(self.arena.world.app, self.flow.org.context)
        verbs: dict[str, Callable[[], Steered]] = {
            "pause": lambda: switch.pause(hand, instance_id),
            "resume": lambda: switch.resume(hand, instance_id),
            "cancel": lambda: switch.cancel(hand, instance_id, reason="chaos"),
        }
        try:
            steered = verbs[verb]()
        except (ConflictError, TransientError):
            return False
        if not steered.already:
            self.arena.faults.note(_NOTED[verb])
        return True


def steer(arena: Arena) -> None:
    """Start, steer and kill until the time is over; then let all go on that is paused."""
    desk = Desk(arena.world.org(_ORG))
    flow = Flow(desk)
    steering = _Steering(arena, flow, flow.publish(*_steps(), name="steered"))
    for number, _ in enumerate(_between_kills(arena)):
        if number % _STARTS == 0:
            steering.start()
        steering.steer(arena.chance.choice(_VERBS), arena.chance.choice(steering.young))
        arena.wait_whatever(_EVERY)
    arena.wait_until(lambda: _all_go_on(steering), _SETTLED)


def _between_kills(arena: Arena) -> Iterator[None]:
    """Kill as C1 does, and yield each time that something else can be done meanwhile."""
    for kind in in_turn(arena, KINDS):
        blow, due = Blow(arena, kind), monotonic() + arena.chance.uniform(*PAUSE)
        while monotonic() < due or not (blow.landed() or monotonic() > due + PATIENCE):
            yield
        blow.release()


def _all_go_on(steering: _Steering) -> bool:
    refused = [row for row in steering.arena.rows(_PAUSED) if not steering.steer("resume", row.instance_id)]
    return not refused


def _steps() -> list[dict[str, Any]]:
    """Return steps of which some take a second, so that verbs meet them: two branches with a delay, and a merge."""

    def noop(step_id: str, following: str | None) -> dict[str, Any]:
        step = {"id": step_id, "type": "action", "config": {"callable": "cmis.noop"}, "next": following}
        return step | {"retry": {"max_retries": 10}}  # a death of its worker is an attempt of it

    def delay(step_id: str, following: str) -> dict[str, Any]:
        return {"id": step_id, "type": "delay", "config": {"seconds": 1}, "next": following}

    return [
        noop("begin", "split"),
        {"id": "split", "type": "split", "config": {"mode": "parallel", "branches": ["a", "b"]}},
        noop("a", "a_waits"),
        delay("a_waits", "a_goes_on"),
        noop("a_goes_on", "joined"),
        noop("b", "b_waits"),
        delay("b_waits", "joined"),
        {"id": "joined", "type": "merge", "config": {"mode": "all"}, "next": "end"},
        noop("end", None),
    ]


def check(arena: Arena) -> Iterator[str]:
    """Whatever was cancelled is, and everything else is complete."""
    cancelled = arena.faults.counts()[_NOTED["cancel"]]
    statuses = [row.status for row in arena.rows(_ENDS)]
    if statuses.count("cancelled") != cancelled:
        yield f"{cancelled} runs were cancelled, and {statuses.count('cancelled')} are"
    odd = [status for status in statuses if status not in {"completed", "cancelled"}]
    if odd:
        yield f"{len(odd)} runs ended as {', '.join(sorted(set(odd)))}"


SCENARIO: Final = Scenario(
    "C8",
    "pause, resume, cancel 10/s while workers are killed",
    25,
    steer,
    bounds=KILLS.bounds,
    check=check,
    survives=True,
)
