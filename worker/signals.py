"""What a worker does around its tasks: look at its environment at start, and arm the fault points of each child."""

from __future__ import annotations

import gc
import logging
import sys
from typing import Final

from celery.signals import celeryd_init, worker_process_init

from core import faults
from core.config import Settings, require
from core.db import Database
from core.errors import SetupError
from tasks.broker import app, broker_errors

logger = logging.getLogger(__name__)

_COLLECT_AFTER: Final = 50_000


@celeryd_init.connect
def check_environment(**_: object) -> None:
    """End the process with a clear message if the database is missing, or its role could pass row-level security."""
    settings = Settings.load()
    try:
        database = Database(
            require(settings.database_url, "DATABASE_URL"), variable="DATABASE_URL", application="cmis-worker-check"
        )
        database.check(test_clock=settings.test_clock)
        database.close()
        faults.arm(settings)
    except SetupError as error:
        sys.exit(f"error: {error}")
    _warn_of_broker()


def _warn_of_broker() -> None:
    """Say which variable to look at if the broker is out of reach. The worker starts, and comes back by itself."""
    with app.connection_for_read() as connection:
        try:
            connection.ensure_connection(max_retries=1, interval_start=0, timeout=3)
        except broker_errors(connection) as error:
            remedy = "check that the broker runs and that BROKER_URL is right; trying on until it answers"
            sys.stderr.write(f"warning: BROKER_URL cannot be reached: {error} ({remedy})\n")


@worker_process_init.connect
def prepare_child(**_: object) -> None:
    """Arm the fault points of a forked child with chance of its own, and let its collector look rarely.

    What a task makes is freed by reference counts; what was imported, and the definitions of rules that a child keeps,
    are many objects to look through for cycles that are not there.
    """
    faults.arm(Settings.load())
    gc.freeze()
    gc.set_threshold(_COLLECT_AFTER, 20, 20)
