"""A broker that forgets everything in the middle of thousands of queued tasks: all are done, once, and it is counted.

`make test` has 1,000 tasks; `CMIS_TEST_TASKS=5000 .venv/bin/pytest tests/acceptance/test_broker_lost.py` five thousand.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Final

import pytest
from kombu.connection import Connection

from chaos import backlog
from dev.fleet import fleet
from dev.launch import wait_until
from engine import invariants
from engine.store import activity
from models.enums import Queue
from tasks import depth

if TYPE_CHECKING:
    from pathlib import Path

    from dev.site import Site
    from dev.valkey import Valkey
    from tests.world import World

TASKS: Final = int(os.environ.get("CMIS_TEST_TASKS", "1000"))
PATIENCE: Final = 120 + TASKS // 10
"""Seconds."""
DONE: Final = "SELECT count(*) FROM cmis.tasks WHERE kind = 'evaluate_rules' AND state = 'succeeded'"


def waiting(broker: Valkey) -> int:
    """Return how many messages wait in the queue of the backlog."""
    with Connection(broker.url) as connection:  # type: ignore[no-untyped-call]
        return depth.waiting(connection, [Queue.RULES])[Queue.RULES]


@pytest.mark.timeout(120 + 2 * PATIENCE)
@pytest.mark.exhaustive
def test_all_that_was_queued_is_done_once_though_the_broker_forgot_it_and_the_counter_shows_it(
    world: World, database: Site, broker: Valkey, tmp_path: Path
) -> None:
    executions = backlog.enqueue(world, TASKS)
    with fleet(1, 2, database.full_env(), tmp_path) as running:
        assert wait_until(lambda: world.one(DONE) > 0, PATIENCE)
        backlog.send(world, broker.url)
        lost = waiting(broker)
        broker.flush()
        done = wait_until(lambda: world.one(DONE) == TASKS, PATIENCE)
        assert done, [member.log.read_text()[-2000:] for member in running.members]
    with world.reader.snapshot() as connection:
        losses = activity.broker_losses(connection)
    assert lost > TASKS // 2
    assert losses.losses == 1
    assert losses.republished >= lost * 0.9  # workers took a few between the count and the loss
    ran = world.rows("SELECT execution_id FROM cmis.automation_executions")
    assert sorted(execution_id for (execution_id,) in ran) == sorted(executions)
    broken = {check.name: check.offenders for check in invariants.check(world.reader, drained=True) if check.offenders}
    assert broken == {}
