"""Fifty processes of the operating system at once on one rule: its throttles hold among them."""

from __future__ import annotations

import json
import subprocess
import sys
from collections import Counter
from decimal import Decimal
from typing import TYPE_CHECKING

import pytest

from dev.site import ROOT
from engine import invariants
from tests.world import SPENT, World

if TYPE_CHECKING:
    from collections.abc import Sequence
    from uuid import UUID

    from tests.world import Org

PROCESSES = 50
CAMPAIGNS = 60
AT_ONCE = 20
"""Campaigns that one execution may change: it takes three to change all."""


@pytest.mark.parametrize(
    ("limit", "reason"),
    [(3, "daily_limit"), pytest.param(PROCESSES, "cooldown", marks=pytest.mark.exhaustive)],
)
def test_of_fifty_processes_that_claim_at_once_on_one_rule_exactly_three_act(
    world: World, limit: int, reason: str
) -> None:
    org = world.org()
    for number in range(CAMPAIGNS):
        org.campaign(name=f"campaign {number}")
    rule_id = org.rule(
        SPENT,
        [{"type": "increase_budget", "value": 10}],
        cooldown_minutes=1440,
        max_executions_per_day=limit,
        guardrails={"max_entities_per_run": AT_ONCE},
    )
    tasks = [world.enqueue({org.id: [rule_id]}) for _ in range(PROCESSES)]
    ended = _at_once(org, tasks)
    assert len(ended) == PROCESSES
    assert set(ended.values()) == {0}
    world.advance(minutes=10)
    world.run_all()  # those that waited for the rule's lock for too long are due again

    executions = world.rows("SELECT * FROM cmis.automation_executions WHERE rule_id = :rule_id", rule_id=rule_id)
    acted = [one for one in executions if one.acted_on is not None]
    assert len(executions) == PROCESSES
    assert [one.results["succeeded"] for one in acted] == [AT_ONCE] * 3
    assert Counter(one.skip_reason for one in executions) == {reason: PROCESSES - 3, None: 3}
    budgets = world.rows("SELECT budget FROM cmis.campaigns")
    assert {budget for (budget,) in budgets} == {Decimal(110)}  # each was raised once: its cooldown held
    workers = {one.worker for one in world.rows("SELECT worker FROM cmis.task_attempts")}
    assert len({name for name in workers if name.startswith("process ")}) > 1
    assert [one.offenders for one in invariants.check(world.reader, drained=False) if one.offenders] == []


def _at_once(org: Org, tasks: Sequence[UUID]) -> dict[str, int]:
    """Run each task in a process of its own; returns exit codes by pid."""
    command = [sys.executable, "-m", "tests.acceptance.crowd", str(org.id), *map(str, tasks)]
    env = org.world.site.full_env() | {"CMIS_TEST_CLOCK": "1"}
    done = subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True, timeout=120, check=True)
    codes: dict[str, int] = json.loads(done.stdout)
    return codes
