"""Bare Celery: an app with a task that does nothing, with messages like ours; `python -m … N` publishes N of them.

Its settings are the defaults, but for what would only slow it down: no results, no events. Celery itself takes the
broker from CELERY_BROKER_URL.
"""

from __future__ import annotations

import sys
import uuid
from typing import Final

from celery import Celery
from celery.signals import worker_ready

QUEUE: Final = "noop"
READY: Final = "noop worker ready"

app = Celery("noop")
app.conf.update(task_default_queue=QUEUE, task_ignore_result=True, worker_send_task_events=False)


@app.task(name="noop", ignore_result=True)  # type: ignore[untyped-decorator]
def noop(org_id: str, task_id: str) -> None:
    """Do nothing; the two ids are what our messages carry."""


@worker_ready.connect  # type: ignore[untyped-decorator]
def _ready(**_: object) -> None:
    sys.stdout.write(f"{READY}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    org_id = str(uuid.uuid4())
    for _ in range(int(sys.argv[1])):
        noop.delay(org_id, str(uuid.uuid4()))
