"""C7: a worker stands still inside an outside effect until somebody else has done its task; then it goes on."""

from __future__ import annotations

import signal
from dataclasses import dataclass, field
from itertools import count
from typing import TYPE_CHECKING, Final, Self

from chaos.scenario import Hands, Scenario
from chaos.turns import in_turn
from engine.store.tasks import LEASE_SECONDS
from tests.posting import SIGNING, Desk
from tests.stepping import Flow

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from uuid import UUID

    from chaos.arena import Arena
    from chaos.crew import Place
    from chaos.faults import Fault

CALL: Final = "worker stopped in a call"
DELIVERY: Final = "worker stopped in a delivery"
_ORG: Final = "stopped"
_PATIENCE: Final = 90.0
"""Seconds within which an effect begins, or somebody else has done it."""
_GOES_ON: Final = 3.0
"""Seconds in which a worker that stood still may say what it wants to."""
_HOLDER: Final = """
SELECT a.worker FROM cmis.task_attempts a JOIN cmis.tasks t USING (org_id, task_id) JOIN cmis.orgs o USING (org_id)
 WHERE o.name = 'stopped' AND a.outcome IS NULL AND t.state = 'running'"""
_EXPIRE: Final = """
UPDATE cmis.tasks SET lease_expires_at = clock_timestamp() - interval '1 s'
 WHERE state = 'running' AND lease_owner = %(owner)s"""
_OPEN: Final = """
SELECT count(*) FROM cmis.tasks t JOIN cmis.orgs o USING (org_id)
 WHERE o.name = 'stopped' AND t.state IN ('ready', 'held', 'running')"""
_ATTEMPTS: Final = """
SELECT array_agg(coalesce(a.outcome, 'open') ORDER BY a.fence) AS outcomes, t.state, t.kind
  FROM cmis.tasks t JOIN cmis.orgs o USING (org_id) LEFT JOIN cmis.task_attempts a USING (org_id, task_id)
 WHERE o.name = 'stopped' GROUP BY t.org_id, t.task_id HAVING bool_or(a.outcome = 'lost')"""
_UNDONE: Final = """
SELECT s.instance_id || ':' || s.step_id || ' is ' || s.status FROM cmis.workflow_steps s
  JOIN cmis.orgs o USING (org_id) WHERE o.name = 'stopped' AND s.status <> 'completed'
UNION ALL
SELECT a.idempotency_key || ' is ' || a.status FROM cmis.automation_actions a
  JOIN cmis.orgs o USING (org_id) WHERE o.name = 'stopped' AND a.status <> 'succeeded'"""


@dataclass(frozen=True, slots=True)
class _Effects:
    """An org each of whose effects the receiver holds back until the worker that is at it stands still."""

    arena: Arena
    desk: Desk
    template_id: UUID
    numbers: Iterator[int] = field(default_factory=count)

    @classmethod
    def of(cls, arena: Arena) -> Self:
        """Make the org, and a workflow that calls out."""
        desk = Desk(arena.world.org(_ORG))
        desk.keep("signing", SIGNING)
        params = {"url": "{{ context.url }}", "n": "{{ context.n }}", "seconds": 0}
        post = {"id": "post", "type": "action", "config": {"callable": "chaos.post", "params": params}}
        return cls(arena, desk, Flow(desk).publish(post | {"retry": {"max_retries": 10}}, name="post"))

    def begin(self, kind: str) -> str:
        """Ask for one; returns the path at which it arrives."""
        number = next(self.numbers)
        path = f"/held/{number}"
        self.arena.receiver.hold(path)
        url = f"{self.arena.receiver.url}{path}"
        if kind == CALL:
            Flow(self.desk).start(self.template_id, url=url, n=number)
        else:
            self.desk.webhook(url)
        return path

    def holder(self, kind: str) -> tuple[str, Place] | None:
        """Return who is at one, as its lease says, and the process."""
        family = "worker" if kind == CALL else "deliveries"
        for (owner,) in self.arena.rows(_HOLDER):
            name = owner.partition("@")[0]
            if name.startswith(family):
                return owner, next(place for place in self.arena.crew.running() if place.name == name)
        return None


@dataclass(frozen=True, slots=True)
class _Stopped:
    """A process that stands still: its place, the owner of its lease, and the fault."""

    place: Place
    owner: str
    fault: Fault

    def go_on(self) -> None:
        """Let it."""
        self.place.send(signal.SIGCONT, group=True)
        self.fault.end()


def stop_inside(arena: Arena) -> None:
    """Stop one worker in a call and one in a delivery, for twice their lease; then others, whose lease is cut short."""
    effects = _Effects.of(arena)
    if arena.left > 2 * LEASE_SECONDS:
        _stop(effects, (CALL, DELIVERY), truly=True)
    for kind in in_turn(arena, (CALL, DELIVERY)):
        _stop(effects, (kind,), truly=False)


def _stop(effects: _Effects, kinds: Sequence[str], *, truly: bool) -> None:
    """Let effects begin, and whoever is at them stand still until all are done; `truly`: for twice a lease."""
    arena = effects.arena
    stopped = [one for kind in kinds if (one := _stop_one(effects, kind)) is not None]
    arena.receiver.release()  # its answers wait for the workers
    if truly:
        arena.wait_whatever(2 * LEASE_SECONDS)
    else:
        for one in stopped:
            arena.world.meddle(_EXPIRE, owner=one.owner)
    if not arena.wait_until(lambda: arena.rows(_OPEN)[0][0] == 0, _PATIENCE):
        arena.seen.append(f"nobody else did what was begun within {_PATIENCE:.0f} s: {', '.join(kinds)}")
    for one in stopped:
        one.go_on()
    arena.wait_whatever(_GOES_ON)


def _stop_one(effects: _Effects, kind: str) -> _Stopped | None:
    arena, path = effects.arena, effects.begin(kind)
    came = arena.wait_until(lambda: bool(arena.receiver.requests(path)), _PATIENCE)
    holder = effects.holder(kind)
    if not came or holder is None:
        arena.seen.append(f"{path} was not begun within {_PATIENCE:.0f} s, or nobody holds it")
        return None
    owner, place = holder
    return _Stopped(place, owner, arena.faults.note(kind, place.send(signal.SIGSTOP, group=True)))


def check(arena: Arena) -> Iterator[str]:
    """Each effect came twice under one key, and counts once: whoever stood still wrote nothing."""
    stopped = sum(arena.faults.counts().values())
    twice = arena.rows(_ATTEMPTS)
    if len(twice) < stopped:
        yield f"{stopped} workers were stopped in an effect, and {len(twice)} tasks were taken from them"
    for row in twice:
        if row.state != "succeeded" or row.outcomes.count("succeeded") != 1 or row.outcomes[-1] != "succeeded":
            yield f"a task {row.kind} is {row.state} after {', '.join(row.outcomes)}"
    yield from (str(text) for (text,) in arena.rows(_UNDONE))
    for number in range(stopped):
        requests = arena.receiver.requests(f"/held/{number}")
        if len(requests) < 2 or len({request.key for request in requests}) != 1:  # noqa: PLR2004 - both attempts
            yield f"/held/{number} got {len(requests)} requests under {len({r.key for r in requests})} keys"


SCENARIO: Final = Scenario(
    "C7",
    "a worker stopped for twice its lease inside an effect",
    80,
    stop_inside,
    hands=Hands(workers=2, deliveries=2),
    check=check,
)
