"""Workers that die, or stand still, for real: each in a process of its own, with its own connections."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import TYPE_CHECKING, Final

from core.db import Database
from engine.callables.base import step
from engine.run_workflow import service
from engine.run_workflow.work import Finished, NotClaimed

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any
    from uuid import UUID

    from engine.callables.base import Call
    from tests.world import Org

FINISHED, NOT_CLAIMED, OTHERWISE = 0, 3, 4
_SAID: Final = {Finished: FINISHED, NotClaimed: NOT_CLAIMED}


@step("test.kill", internal=True)
def kill(call: Call) -> Mapping[str, Any]:
    """Kill the worker that calls it, if the context says so."""
    if call.context.get("kills"):
        os.kill(os.getpid(), signal.SIGKILL)
    return {"lived": True}


@step("test.stand")
def stand(call: Call) -> Mapping[str, Any]:
    """Say that it has begun, and end when the pipe is closed at its other end; the second attempt ends at once."""
    if call.attempt == 1:
        Path(call.context["begun"]).write_bytes(b".")
        Path(call.context["goes_on"]).read_bytes()
    return {"attempt": call.attempt}


def worker(org: Org, task_id: UUID) -> int:
    """Start a worker that gets one message, and ends; returns its pid."""
    pid = os.fork()
    if pid:
        return pid
    code = OTHERWISE
    try:
        database = Database(org.world.site.urls.app, variable="DATABASE_URL", application="dying")
        result = service.run(database, org.id, task_id, worker="dying", send=lambda _: None)
        code = _SAID.get(type(result), OTHERWISE)
    finally:
        os._exit(code)


def ended(pid: int) -> int:
    """Wait for a worker; returns its exit code, negative for a signal."""
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
