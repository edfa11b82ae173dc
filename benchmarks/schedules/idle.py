"""`python -m benchmarks.schedules.idle PASSES`: how long a scheduler's pass takes that finds nothing to do, as JSON.

A process of its own, because Celery's app reads the environment when it is imported.
"""

from __future__ import annotations

import json
import statistics
import sys
import time
from typing import Final

from core.config import Settings, require
from core.db import Database
from engine.dispatch import Dispatcher
from scheduler.beat import VARIABLE
from scheduler.duties import Duties

_WARM: Final = 50


def measure(passes: int) -> float:
    """Return the median seconds of `Duties.run()`, its connections open and its statements prepared."""
    url = require(Settings.load().scheduler_database_url, VARIABLE)
    database = Database(url, variable=VARIABLE, application="bench-idle", pool_size=2)
    duties = Duties(database, Dispatcher(database))
    seconds = []
    for _ in range(_WARM + passes):
        begun = time.perf_counter()
        duties.run()
        seconds.append(time.perf_counter() - begun)
    duties.close()
    database.close()
    return statistics.median(seconds[_WARM:])


if __name__ == "__main__":
    sys.stdout.write(json.dumps({"seconds": measure(int(sys.argv[1]))}))
