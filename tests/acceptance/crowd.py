"""Run tasks of one org in as many processes, all at once: `python -m tests.acceptance.crowd ORG_ID TASK_ID …`.

Forked after the imports, so that they stand at the barrier together; each has connections of its own.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import sys
from typing import TYPE_CHECKING
from uuid import UUID

from core import clock
from core.db import Database
from engine.run_rules import service

if TYPE_CHECKING:
    from multiprocessing.synchronize import Barrier

_PATIENCE = 60


def _work(org_id: UUID, task_id: UUID, ready: Barrier) -> None:
    database = Database(os.environ["DATABASE_URL"], variable="DATABASE_URL", application="crowd")
    with database.transaction(None) as connection:
        clock.now(connection)  # connected before it starts
    ready.wait(_PATIENCE)
    service.run(database, org_id, task_id, worker=f"process {os.getpid()}")
    database.close()


def main() -> None:
    """Start the processes, and print their exit codes by pid as JSON."""
    org_id, *task_ids = map(UUID, sys.argv[1:])
    forking = multiprocessing.get_context("fork")
    ready = forking.Barrier(len(task_ids))
    started = [forking.Process(target=_work, args=(org_id, task_id, ready)) for task_id in task_ids]
    for one in started:
        one.start()
    for one in started:
        one.join()
    sys.stdout.write(json.dumps({one.pid: one.exitcode for one in started}))


if __name__ == "__main__":
    main()
