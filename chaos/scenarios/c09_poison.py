"""C9: poison among the work: it kills the process that touches it, takes all memory, or never returns."""

from __future__ import annotations

import os
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final

from chaos import poison
from chaos.scenario import Scenario
from tests.posting import Desk
from tests.stepping import Flow

if TYPE_CHECKING:
    from collections.abc import Iterator
    from uuid import UUID

    from chaos.arena import Arena
    from chaos.stage import Stage

_KINDS: Final = {poison.KILLS: "poison kills", poison.HOARDS: "poison takes all memory", poison.SPINS: "poison spins"}
_STEP: Final = "poison in a workflow"
_PAUSE: Final = 3.0
"""Seconds between two."""
_SPINS_SECONDS: Final = 1
"""The timeout of a job that never returns; its process is killed ten seconds later."""
_DEADLY: Final = (poison.KILLS, poison.HOARDS)
"""Of these a child dies each time. Where one spins, its time may be over first: its run is a failure of its own."""
_MOST_DEATHS: Final = 12
"""Of one poison: a chunk is halved seven times at most until it is alone, and five attempts are its own."""
_RULES: Final = """
SELECT r.name, e.status, e.error ->> 'code' AS code, t.state, t.attempt, t.max_attempts
  FROM cmis.automation_rules r JOIN cmis.occurrences o ON o.org_id = r.org_id AND o.decision = 'run'
  JOIN cmis.scheduled_jobs j ON j.org_id = o.org_id AND j.job_id = o.job_id AND j.rule_id = r.rule_id
  LEFT JOIN cmis.automation_executions e ON e.org_id = o.org_id AND e.execution_id = o.execution_id
  LEFT JOIN cmis.tasks t ON t.org_id = e.org_id AND t.task_id = e.task_id
 WHERE r.name LIKE 'poison%'"""
_RUNS: Final = """
SELECT i.instance_id, i.status, s.status AS step, s.error ->> 'code' AS code
  FROM cmis.workflow_instances i JOIN cmis.workflow_templates t USING (org_id, template_id)
  JOIN cmis.workflow_steps s USING (org_id, instance_id) WHERE t.name = 'poison'"""


def prepare(arena: Arena) -> None:
    """Lay the package for all processes."""
    found = [arena.env.get("PYTHONPATH", ""), str(poison.lay(arena.logs / "poison"))]
    arena.env["PYTHONPATH"] = os.pathsep.join(filter(None, found))


def give(arena: Arena) -> None:
    """Give one of each, in an order by chance, to orgs that have other work; again until the time is over."""
    rules = {stage.org.id: _rules(stage) for stage in arena.stages}
    flows = {stage.org.id: _workflow(stage) for stage in arena.stages}
    while True:
        for kind in arena.chance.sample([*_KINDS, _STEP], len(_KINDS) + 1):
            stage = arena.chance.choice(arena.stages)
            if kind == _STEP:
                Flow(Desk(stage.org)).start(flows[stage.org.id])
            else:
                _fall_due(stage, rules[stage.org.id][kind], kind)
            arena.faults.note(_KINDS.get(kind, _STEP))
            arena.wait(_PAUSE)
        if not arena.left:
            return


def _rules(stage: Stage) -> dict[str, UUID]:
    values: dict[str, Any] = {"entity_type": "campaign", "entity_id": stage.campaign_id}
    return {
        kind: stage.org.rule(actions=[{"type": kind, "params": {}}], name=f"poison: {kind}", **values)
        for kind in _KINDS
    }


def _fall_due(stage: Stage, rule_id: UUID, kind: str) -> None:
    """Let a rule fall due in a moment, with whatever else the org has due then."""
    timeout = {"timeout_seconds": _SPINS_SECONDS} if kind == poison.SPINS else {}
    stage.org.job(rule_id, due_for=timedelta(seconds=-1), **timeout)


def _workflow(stage: Stage) -> UUID:
    step = {"id": "kills", "type": "action", "config": {"callable": poison.STEP}}
    return Flow(Desk(stage.org)).publish(step, name="poison")


def check(arena: Arena) -> Iterator[str]:
    """Each ended as a failure after its attempts; what kills is dead, and has killed each time."""
    faults = arena.faults.counts()
    runs, steps = arena.rows(_RULES), arena.rows(_RUNS)
    given = sum(faults[kind] for kind in _KINDS.values())
    if (len(runs), len(steps)) != (given, faults[_STEP]):
        yield f"{given} rules and {faults[_STEP]} workflows were poison, and {len(runs)} and {len(steps)} are there"
    for row in runs:
        if row.status != "failure" or not _is_given_up(row):
            tried = f"{row.attempt} of {row.max_attempts} attempts"
            yield f"{row.name} is {row.status} ({row.code}) after {tried}, its task {row.state}"
    for row in steps:
        if (row.status, row.step, row.code) != ("failed", "failed", "LOST"):
            yield f"the run {row.instance_id} is {row.status}, its step {row.step} ({row.code})"
    deaths, least = (
        arena.crew.said("a child died of task"),
        sum(row.attempt for row in runs if _kills(row)) + len(steps),
    )
    if not least <= deaths <= _MOST_DEATHS * (given + faults[_STEP]):
        yield f"{deaths} children died of {given + faults[_STEP]} poisons, and {least} at least must have"


def _kills(row: Any) -> bool:
    return row.name in {f"poison: {kind}" for kind in _DEADLY}


def _is_given_up(row: Any) -> bool:
    """Say whether all attempts of what kills are used up, and whether what spins has ended at all."""
    dead = row.state == "dead" and row.attempt == row.max_attempts
    return dead or (row.state == "failed" and not _kills(row))


SCENARIO: Final = Scenario(
    "C9",
    "poison that kills, takes all memory, or spins",
    30,
    give,
    prepare=prepare,
    check=check,
    survives=True,
    drain_seconds=240.0,
)
