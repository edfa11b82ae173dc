"""What a worker does around its tasks: refuse an unsafe role at start, and arm the fault points of each child."""

from __future__ import annotations

import logging
import sys

from celery.signals import celeryd_init, worker_process_init

from core import faults
from core.config import Settings, require
from core.db import Database
from core.errors import SetupError

logger = logging.getLogger(__name__)


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


@worker_process_init.connect
def prepare_child(**_: object) -> None:
    """Arm the fault points of a forked child with chance of its own."""
    faults.arm(Settings.load())
