"""A Celery application whose one task runs a sample apart and writes down what became of it."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from celery import Celery

from engine.callables.base import Call
from engine.callables.process import run_apart
from tests.integration.callables import samples

app = Celery("callables", broker=os.environ["BROKER_URL"])
app.conf.update(
    task_default_queue=os.environ["TEST_QUEUE"],
    broker_transport_options={"global_keyprefix": os.environ.get("BROKER_PREFIX", "")},
    task_ignore_result=True,
    worker_hijack_root_logger=False,
    worker_redirect_stdouts=False,
    broker_connection_retry_on_startup=True,
)


@app.task(name="run")  # type: ignore[untyped-decorator]  # Celery ships no types
def run(sample: str, params: dict[str, Any], timeout: float | None, file: str) -> None:
    """Write `{worker, outcome}` to `file`, `outcome` as its repr."""
    call = Call(org_id="org", instance_id="instance", step_id="step", params=params)
    outcome = run_apart(getattr(samples, sample), call, timeout=timeout, stopped=lambda: False)
    part = Path(f"{file}.part")
    part.write_text(json.dumps({"worker": os.getpid(), "outcome": repr(outcome)}), encoding="utf-8")
    part.rename(file)
