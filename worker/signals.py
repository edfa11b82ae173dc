"""What a worker does around its tasks: at its start, beside its work, and at its end."""

from __future__ import annotations

import gc
import logging
import os
import sys
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from celery.signals import (
    celeryd_after_setup,
    celeryd_init,
    task_received,
    worker_process_init,
    worker_shutdown,
    worker_shutting_down,
)
from celery.worker import state

from core import exits, faults
from core.config import Settings, require
from core.db import Database
from core.errors import SetupError
from core.starting import check_when_reached
from tasks.broker import app, broker_errors
from vitals import healthz, identity
from vitals.ending import STUCK_SECONDS, end_within
from vitals.pulse import Pulse
from worker.hands import Hands, Turning

if TYPE_CHECKING:
    from celery.worker import WorkController

logger = logging.getLogger(__name__)

_COLLECT_AFTER: Final = 50_000

app.steps["worker"].add(Turning)


def _database(settings: Settings, application: str) -> Database:
    url = require(settings.database_url, "DATABASE_URL")
    return Database(url, variable="DATABASE_URL", application=application, pool_size=1)


@celeryd_init.connect
def check_environment(**_: object) -> None:
    """Wait for the database, and end with a clear message if its role could pass row-level security."""
    try:
        settings = Settings.load()
        database = _database(settings, "cmis-worker-check")
        check_when_reached(database, test_clock=settings.test_clock)
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


@celeryd_after_setup.connect
def show_signs_of_life(instance: WorkController, **_: object) -> None:
    """Start the pulse of this main process, and answer `/healthz` where that is wanted."""
    settings = Settings.load()
    queues = sorted(app.amqp.queues.consume_from)
    hands = Turning.hands = Hands(instance)
    task_received.connect(hands.take, weak=False)
    database = _database(settings, "cmis-worker-pulse")
    pulse = Pulse(
        identity.of_worker(queues), database, hands.look, partial(_end_stuck, hands), settings.watchdog_seconds
    )
    pulse.start()
    if settings.health_port is not None:
        healthz.serve(pulse, settings.health_host, settings.health_port)
    _bind_end(pulse, hands, settings.stop_seconds)


def _end_stuck(hands: Hands, reason: str) -> None:
    """End as if asked to, where the loop still turns; else at once. The exit code asks for another start."""
    state.should_stop = exits.STUCK
    end_within(STUCK_SECONDS, exits.STUCK, hands.busy_with, hands.cut_off)
    logger.critical("this worker is stuck and ends, to be started again (exit code %d): %s", exits.STUCK, reason)


def _bind_end(pulse: Pulse, hands: Hands, seconds: int) -> None:
    """Bound the time of a warm shutdown, and write a last heartbeat after it."""
    owner = os.getpid()

    def bound(how: str, exitcode: int, **_: Any) -> None:
        hands.ending = True
        if how == "Warm":
            end_within(seconds, exitcode or 0, hands.busy_with, hands.cut_off)

    def stopped(**_: object) -> None:
        if os.getpid() == owner:
            pulse.stop("ended as asked" if state.should_stop != exits.STUCK else "ended because it was stuck")

    worker_shutting_down.connect(bound, weak=False)
    worker_shutdown.connect(stopped, weak=False)


@worker_process_init.connect
def prepare_child(**_: object) -> None:
    """Arm the fault points of a forked child with chance of its own, and let its collector look rarely.

    What a task makes is freed by reference counts; what was imported, and the definitions of rules that a child keeps,
    are many objects to look through for cycles that are not there.
    """
    faults.arm(Settings.load())
    gc.freeze()
    gc.set_threshold(_COLLECT_AFTER, 20, 20)
