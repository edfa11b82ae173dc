"""`python -m … ORG TEMPLATE`: starts as many instances as each line of stdin says, and tells the seconds to their end.

The clock runs from the call that starts them, in one transaction, until a look at the database finds the last one
completed. A process of its own, with the product's environment: whatever starts instances is one.
"""

from __future__ import annotations

import json
import sys
import time
from contextlib import closing
from typing import TYPE_CHECKING, Final
from uuid import UUID

import psycopg

from benchmarks.workflows.scale import MANY_SECONDS
from core import clock
from core.config import Settings, require
from core.db import ENGINE_ACTOR, Context, Database
from engine.start_workflow import Start, start
from engine.store.dispatch import Message
from engine.store.instances import TIMEOUT_SECONDS
from engine.store.tasks import PRIORITY
from models.enums import Queue, TaskKind
from models.workflow_enums import InstanceTrigger
from tasks.publish import send

if TYPE_CHECKING:
    from psycopg import Connection
    from psycopg.rows import TupleRow

_ALONE, _TOGETHER = 0.001, 0.005
"""How long after each look the next one comes."""
_COMPLETED: Final = "SELECT count(*) FROM cmis.workflow_instances WHERE org_id = %s AND status = 'completed'"


def _start(database: Database, org_id: UUID, template_id: UUID, count: int) -> None:
    """Start instances and send their tasks' messages, as every caller of the engine does."""
    starts = [Start(template_id, {}, InstanceTrigger.API) for _ in range(count)]
    with database.transaction(Context(org_id, ENGINE_ACTOR)) as connection:
        started = start(connection, org_id, starts, now=clock.now(connection), sent=True)
    kind, queue = TaskKind.RUN_WORKFLOW.value, Queue.WORKFLOWS.value
    begun_by = dict.fromkeys(one.task_id for one in started if one.sent and one.task_id)
    send([Message(org_id, task_id, kind, queue, PRIORITY, TIMEOUT_SECONDS) for task_id in begun_by])


def _completed(watching: Connection[TupleRow], org_id: UUID) -> int:
    row = watching.execute(_COMPLETED, [org_id]).fetchone()
    return 0 if row is None else int(row[0])


def _seconds(database: Database, watching: Connection[TupleRow], org_id: UUID, template_id: UUID, count: int) -> float:
    wanted = _completed(watching, org_id) + count
    every = _ALONE if count == 1 else _TOGETHER
    begun = time.perf_counter()
    _start(database, org_id, template_id, count)
    while _completed(watching, org_id) < wanted:
        if time.perf_counter() > begun + MANY_SECONDS:
            raise TimeoutError(f"{_completed(watching, org_id)} of {wanted} instances are completed")
        time.sleep(every)
    return time.perf_counter() - begun


def main() -> None:
    """Say a line of JSON when ready, and one for each line of stdin."""
    settings = Settings.load()
    url = require(settings.database_url, "DATABASE_URL")
    administrator = require(settings.migration_database_url, "MIGRATION_DATABASE_URL")
    org_id, template_id = map(UUID, sys.argv[1:])
    with (
        closing(Database(url, variable="DATABASE_URL", application="bench-start")) as database,
        psycopg.connect(administrator, autocommit=True) as watching,
    ):
        _tell({})
        for line in sys.stdin:
            _tell({"seconds": _seconds(database, watching, org_id, template_id, int(line))})


def _tell(answer: dict[str, float]) -> None:
    sys.stdout.write(json.dumps(answer) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
