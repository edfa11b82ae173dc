"""What must hold after every scenario: the invariants, the load's own list against the rows, the receiver's log."""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from itertools import islice
from typing import TYPE_CHECKING, Any, Final

from chaos.stage import BUDGET
from engine import invariants

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from chaos.arena import Arena
    from chaos.load import Asked, Kind
    from tests.receiver.web import Request

SHOWN: Final = 5
"""Offenders of one kind that are shown; the others are counted."""
_OPEN: Final = """
SELECT concat_ws(' ', 'task', kind, task_id, 'is', state, 'attempt', attempt, 'due', run_at, publish_at, error)
  FROM cmis.tasks WHERE state IN ('ready', 'held', 'running') AND kind <> 'maintain'
UNION ALL
SELECT 'job ' || job_id || ' is due at ' || next_run_at FROM cmis.scheduled_jobs
 WHERE status = 'active' AND (next_run_at <= cmis.clock() OR schedule_type = 'once')
UNION ALL
SELECT 'instance ' || instance_id || ' is ' || status FROM cmis.workflow_instances WHERE finished_at IS NULL"""
_FOUND: Final[Mapping[Kind, str]] = {
    "job": """
SELECT j.name AS key, count(e.execution_id) AS times, min(e.status) AS status FROM cmis.scheduled_jobs j
  LEFT JOIN cmis.occurrences o ON o.org_id = j.org_id AND o.job_id = j.job_id AND o.decision = 'run'
  LEFT JOIN cmis.automation_executions e ON e.org_id = o.org_id AND e.execution_id = o.execution_id
 WHERE j.schedule_type = 'once' GROUP BY 1""",
    "run": """
SELECT execution_id::text AS key, count(*) AS times, min(status) AS status FROM cmis.automation_executions
 WHERE trigger = 'manual' GROUP BY 1""",
    "event": """
SELECT context ->> 'event_id' AS key, count(*) AS times, min(status) AS status FROM cmis.automation_executions
 WHERE trigger = 'event' GROUP BY 1""",
    "workflow": """
SELECT instance_id::text AS key, count(*) AS times, replace(min(status), 'completed', 'success') AS status
  FROM cmis.workflow_instances GROUP BY 1""",
}
_UNFORESEEN: Final = """
SELECT count(*) FROM cmis.automation_executions
 WHERE trigger = 'manual' AND org_id = ANY (:orgs) AND execution_id <> ALL (:known)"""
_RAISED: Final = """
SELECT c.budget - :budget AS raised, count(e.execution_id) AS runs FROM cmis.campaigns c
  LEFT JOIN cmis.automation_executions e ON e.org_id = c.org_id AND e.rule_id = :rule_id AND e.status = 'success'
 WHERE c.org_id = :org_id AND c.campaign_id = :campaign_id GROUP BY c.budget"""
_KEYS: Final = """
SELECT a.idempotency_key AS key, a.status FROM cmis.automation_actions a WHERE a.channel = 'webhook'
UNION ALL
SELECT s.instance_id || ':' || s.step_id, s.status FROM cmis.workflow_steps s WHERE s.step_id = 'post'"""


def open_work(arena: Arena) -> list[str]:
    """Return what is not done yet, in words; nothing = drained."""
    return [str(text) for (text,) in arena.rows(_OPEN)]


def violations(arena: Arena) -> list[str]:
    """Return everything that does not hold, in words. The load has stopped, and all is drained or will not be."""
    found = [*arena.seen]
    if arena.load.broken is not None:
        found.append(f"the load ended early: {arena.load.broken!r}")
    found += _some("not done in time", open_work(arena))
    for check in invariants.check(arena.world.reader, drained=True):
        found += _some(check.name, check.offenders)
    found += _some("asked for and not done once", _lost(arena))
    found += _some("a campaign's budget is not what its evaluations add up to", _miscounted(arena))
    found += _some("the receiver's log", _misdelivered(arena))
    found += _some("the broker holds", _left_in_broker(arena))
    if arena.scenario.survives:
        found += _some(
            "a process ended by itself", (f"{one.name}: status {one.status}" for one in arena.crew.unasked())
        )
    return [*found, *_some("promised besides", arena.scenario.check(arena))]


def _some(what: str, offenders: Iterable[str]) -> list[str]:
    """Return one violation of all offenders; none if there is none."""
    rest = iter(offenders)
    shown = list(islice(rest, SHOWN))
    more = sum(1 for _ in rest)
    return [f"{what}: {'; '.join(shown)}{f'; and {more} more' if more else ''}"] if shown else []


def _lost(arena: Arena) -> Iterator[str]:
    """Compare what was asked for with what was done: each once, with success."""
    for kind, query in _FOUND.items():
        found = {row.key: row for row in arena.rows(query)}
        for one in arena.load.numbers(kind):
            row = found.get(one.key)
            if row is None or row.times != 1 or row.status != "success":
                yield f"{kind} {one.n} ({one.key}): {'nothing' if row is None else f'{row.times} times, {row.status}'}"
    yield from _unforeseen(arena)


def _unforeseen(arena: Arena) -> Iterator[str]:
    """Look for manual runs that nobody asked for; one whose answer was lost may be there twice."""
    known = [one.key for one in arena.load.numbers("run")]
    orgs = [stage.org.id for stage in arena.stages]  # a scenario may have others of its own
    [[extra]] = arena.rows(_UNFORESEEN, known=known, orgs=orgs)
    if extra > arena.load.repeated["run"]:
        yield f"{extra} manual runs that nobody asked for, {arena.load.repeated['run']} were asked for again"


def _miscounted(arena: Arena) -> Iterator[str]:
    for stage in arena.stages:
        keys = {"budget": BUDGET, "rule_id": stage.raising, "org_id": stage.org.id, "campaign_id": stage.campaign_id}
        [row] = arena.rows(_RAISED, **keys)
        if row.raised != row.runs:
            yield f"org {stage.org.id}: {row.raised} after {row.runs} evaluations"


def _misdelivered(arena: Arena) -> Iterator[str]:
    """Compare the receiver's log with what was asked for, each under one key, and with the database's keys."""
    requests = [*arena.receiver.log]
    keys: dict[tuple[str, int], set[str | None]] = defaultdict(set)
    for request in requests:
        keys[request.path, _number(request)].add(request.key)
    for one in arena.load.asked:
        for path in _paths(one):
            if len(keys[path, one.n]) != 1:
                yield f"{one.kind} {one.n} reached {path} under {len(keys[path, one.n])} keys"
    known = {row.key: row.status for row in arena.rows(_KEYS)}
    came = Counter(request.key for request in requests)
    yield from (f"unknown key {key}" for key in came if key not in known)
    yield from (
        f"{key} is {status}, and never came"
        for key, status in known.items()
        if status in {"succeeded", "completed"} and not came[key]
    )
    yield from (
        f"{key}: {count} effects" for key, count in arena.receiver.effects.items() if key in came and count != 1
    )


def _paths(one: Asked) -> tuple[str, ...]:
    return {"event": ("/told",), "workflow": ("/hook", "/post")}.get(one.kind, ())


def _number(request: Request) -> int:
    """Return which request of the load something was sent for; -1 for none."""
    try:
        body: Any = json.loads(request.body)
        data = body.get("data", {})
        inside = {"/told": data.get("event", {}).get("payload"), "/hook": data.get("context"), "/post": body}
        return int(inside[request.path]["n"])
    except (ValueError, KeyError, TypeError, AttributeError):
        return -1


def _left_in_broker(arena: Arena) -> Iterator[str]:
    """Look for messages of ours that nobody took, once all is done: workers drop what is done already."""
    arena.wait_until(lambda: not any(arena.waiting().values()), SETTLED_SECONDS)
    yield from (f"{count} messages in {queue}" for queue, count in arena.waiting().items() if count)


SETTLED_SECONDS: Final = 15.0
"""Within which workers must have dropped the messages of tasks that are done."""
