"""Bare Celery: an app whose steps do nothing; `python -m … COUNT STEPS` publishes COUNT chains of them.

Its settings are the defaults, but for what would only slow it down: no results, no events. Celery itself takes the
broker from CELERY_BROKER_URL. The last step of a chain also says in the broker that the chain is at its end.
"""

from __future__ import annotations

import os
import sys
from functools import cache
from typing import Final

import redis
from celery import Celery, chain
from celery.signals import worker_ready

QUEUE: Final = "chain"
ENDED: Final = "chain:ended"
"""A list in the broker, with an entry for each chain that is at its end."""
READY: Final = "chain worker ready"

app = Celery("chain")
app.conf.update(task_default_queue=QUEUE, task_ignore_result=True, worker_send_task_events=False)


@app.task(name="step", ignore_result=True)  # type: ignore[untyped-decorator]
def step(number: int) -> None:
    """Do nothing; the number is its input."""


@app.task(name="last", ignore_result=True)  # type: ignore[untyped-decorator]
def last(number: int) -> None:
    """Say that the chain is at its end."""
    _client().rpush(ENDED, number)


@cache
def _client() -> redis.Redis:
    return redis.Redis.from_url(os.environ["CELERY_BROKER_URL"])


@worker_ready.connect  # type: ignore[untyped-decorator]
def _ready(**_: object) -> None:
    sys.stdout.write(f"{READY}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    count, steps = map(int, sys.argv[1:])
    for _ in range(count):
        chain(*(step.si(number) for number in range(1, steps)), last.si(steps)).apply_async()
