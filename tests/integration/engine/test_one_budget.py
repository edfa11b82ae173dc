"""One budget, twenty rules at once, in several operating-system processes: no bound is passed, the chain is whole."""

from __future__ import annotations

import random
from itertools import accumulate
from multiprocessing import get_context
from typing import TYPE_CHECKING
from uuid import UUID

from core.db import Database
from engine.run_rules import service
from tests.integration.engine.guarding import bind
from tests.world import SPENT

if TYPE_CHECKING:
    from collections.abc import Sequence
    from multiprocessing.synchronize import Barrier

    from tests.world import Org, World

PROCESSES = 6
TURNS = 3
FLOOR, MOST = 70, 40
STEPS = (30, -30, 25, -25, 15, -15, 10, -10, 5, -5)


_START: dict[str, Barrier] = {}
"""In each process: where all wait until the last one is there."""


def _meet(barrier: Barrier) -> None:
    _START["together"] = barrier


def _run_all(url: str, org_id: str, task_ids: Sequence[str], seed: int) -> int:
    """Try to claim and run every task, in an order of one's own, as a worker does; returns how many were not taken."""
    app = Database(url, variable="DATABASE_URL", application=f"process {seed}", pool_size=2)
    _START["together"].wait(60)
    mine = random.Random(seed).sample(task_ids, len(task_ids))  # noqa: S311 - an order, no secret
    try:
        found = [service.run(app, UUID(org_id), UUID(task_id), worker=f"process {seed}") for task_id in mine]
    finally:
        app.close()
    return sum(type(one).__name__ != "NotClaimed" for one in found)


def test_twenty_rules_at_once_on_one_budget_pass_no_bound_and_leave_no_hole(world: World, org: Org) -> None:
    campaign = org.campaign(budget=100)
    bind(org, budget_floor=FLOOR, max_daily_net_change=MOST)
    rules = [
        org.rule(SPENT, [{"type": "adjust_budget", "params": {"amount": amount}}], entity_id=campaign)
        for amount in STEPS * 2
    ]
    tasks = [str(world.enqueue({org.id: [rule]})) for _ in range(TURNS) for rule in rules]
    arguments = [(world.site.urls.app, str(org.id), tasks, seed) for seed in range(PROCESSES)]
    context = get_context("spawn")
    with context.Pool(PROCESSES, _meet, [context.Barrier(PROCESSES)]) as pool:
        taken = pool.starmap(_run_all, arguments)
    assert sum(count > 0 for count in taken) > 1  # several of them did work
    world.advance(minutes=1)  # what met a campaign that kept moving is tried again
    world.run_all()

    assert world.one("SELECT count(*) FROM cmis.automation_executions WHERE status <> 'failure'") == len(tasks)
    ledger = world.rows("SELECT before, after, action_id FROM cmis.budget_ledger ORDER BY seq")
    budgets = [row.after for row in ledger]
    changes = [row.after - row.before for row in ledger[1:]]
    assert min(budgets) >= FLOOR
    assert all(abs(net) <= MOST for net in accumulate(changes))
    assert [row.before for row in ledger[1:]] == budgets[:-1]
    assert all(row.action_id for row in ledger[1:])
    assert org.campaign_row(campaign).budget == budgets[-1] == 100 + sum(changes)
    done = dict(map(tuple, world.rows("SELECT status, count(*) FROM cmis.automation_actions GROUP BY 1")))
    assert done["succeeded"] == len(changes) > 1
    assert done["held"] > 0
