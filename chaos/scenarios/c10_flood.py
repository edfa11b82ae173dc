"""C10: one org floods the queue with thousands of short tasks; another's few do not stand behind them."""

from __future__ import annotations

import statistics
from typing import TYPE_CHECKING, Final

from chaos import backlog
from chaos.scenario import Bound, Scenario
from engine import run_now

if TYPE_CHECKING:
    from collections.abc import Iterator
    from uuid import UUID

    from chaos.arena import Arena
    from tests.world import Org

FLOOD: Final = "flood of another org"
TASKS: Final = 20_000
"""Of the flood; fewer where the time is short."""
_A_SECOND: Final = 700
_FEW: Final = 10
"""Tasks that the other org asks for at once."""
_EVERY: Final = 1.0
_IDLE_ROUNDS: Final = 5
_PATIENCE: Final = 60.0
LEAST: Final = 0.3
"""Seconds; so many may 95 of 100 wait whatever they wait without a flood."""
_TIMES: Final = 3
"""As many times as long as without a flood they may wait, too."""
_NEVER: Final = [{"field": "spend", "operator": "<", "value": 0}]
_WAITS: Final = """
SELECT extract(epoch FROM min(a.started_at) - t.created_at)::float8 AS seconds
  FROM cmis.automation_executions e JOIN cmis.tasks t USING (org_id, task_id)
  JOIN cmis.task_attempts a ON a.org_id = t.org_id AND a.task_id = t.task_id
 WHERE e.execution_id = ANY (:ids) GROUP BY t.org_id, t.task_id, t.created_at"""
_DONE: Final = """
SELECT count(*) FROM cmis.automation_executions e JOIN cmis.orgs o USING (org_id) WHERE o.name = 'backlog'"""
_TAKE_BACK: Final = """
UPDATE cmis.tasks t SET state = 'cancelled', finished_at = cmis.clock(), error = '{"code": "DISCARDED", "message": ""}'
  FROM cmis.orgs o WHERE o.org_id = t.org_id AND o.name = 'backlog' AND t.state = 'ready'"""
_GIVEN_UP: Final = """
SELECT count(*) FROM cmis.tasks t JOIN cmis.orgs o USING (org_id) WHERE o.name = 'backlog' AND t.state = 'cancelled'"""


def flood(arena: Arena) -> None:
    """Measure the few alone; then let the flood come, and measure them beside it."""
    org = arena.world.org("few")
    org.campaign()
    rules = [org.rule(conditions=_NEVER, name=f"few {number}") for number in range(_FEW)]
    idle = _p95(arena, [one for _ in range(_IDLE_ROUNDS) for one in _ask(arena, org, rules)])
    backlog.enqueue(arena.world, _size(arena))
    arena.faults.note(FLOOD)
    beside = _ask(arena, org, rules)
    begun = arena.wait_until(lambda: _done(arena, beside), _PATIENCE)
    if not begun or arena.rows(_DONE)[0][0] >= _size(arena):
        arena.seen.append("the first few did not begin before the flood had passed")
    while arena.left:
        beside += _ask(arena, org, rules)
    waited = _p95(arena, beside)
    arena.waits[FLOOD] = [waited if waited > _TIMES * idle else min(waited, LEAST)]
    arena.world.meddle(_TAKE_BACK)  # two cores would be busy with it for minutes


def _ask(arena: Arena, org: Org, rules: list[UUID]) -> list[UUID]:
    """Ask for a few evaluations at once, as people do; returns their executions a second later."""
    asked = [run_now.queue_rule(arena.world.app, org.context, rule_id).execution_id for rule_id in rules]
    arena.wait_whatever(_EVERY)
    return asked


def _done(arena: Arena, asked: list[UUID]) -> bool:
    return len(arena.rows(_WAITS, ids=asked)) == len(asked)


def _p95(arena: Arena, asked: list[UUID]) -> float:
    """Return within how many seconds 95 of 100 had begun."""
    if not arena.wait_until(lambda: _done(arena, asked), _PATIENCE):
        arena.seen.append(f"of {len(asked)} evaluations some did not begin within {_PATIENCE:.0f} s")
        return _PATIENCE
    seconds = [float(row.seconds) for row in arena.rows(_WAITS, ids=asked)]
    return statistics.quantiles(seconds, n=20)[-1]


def check(arena: Arena) -> Iterator[str]:
    """All of the flood is done, or was taken back."""
    [[done]], [[given_up]] = arena.rows(_DONE), arena.rows(_GIVEN_UP)
    if done + given_up != _size(arena):
        yield f"of the flood's {_size(arena)} tasks {done} were done, and {given_up} taken back"


def _size(arena: Arena) -> int:
    return min(TASKS, int(arena.seconds * _A_SECOND))


SCENARIO: Final = Scenario(
    "C10",
    "one org floods, another asks for a little",
    30,
    flood,
    bounds=(Bound(FLOOD, "wait", LEAST),),
    check=check,
    survives=True,
    drain_seconds=300.0,
)
