"""Workers that die of a rule for real: each in a process of its own, with its own connections."""

from __future__ import annotations

import faulthandler
import os
import resource
import signal
from typing import TYPE_CHECKING

from core.db import Database
from engine.run_rules import group, service

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import Any
    from uuid import UUID

    from tests.world import World

LIVED, OTHERWISE = 0, 4
EXPIRE = "UPDATE cmis.tasks SET lease_expires_at = clock_timestamp() - interval '1 s' WHERE task_id = %(id)s"


def kill() -> None:
    """Die as by the kernel's hand, when it has no memory left."""
    os.kill(os.getpid(), signal.SIGKILL)


def spin() -> None:
    """Never return, whatever it is told; its time limit kills it, which is the pool's in a worker."""
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    signal.setitimer(signal.ITIMER_REAL, 0.2)
    while True:
        pass


def hoard() -> None:
    """Take more memory than there is, in a library that aborts then."""
    faulthandler.disable()
    resource.setrlimit(resource.RLIMIT_AS, (2 << 30, 2 << 30))
    try:
        bytearray(3 << 30)
    except MemoryError:
        os.abort()


def message(world: World, org_id: UUID, task_id: UUID, poison: Mapping[UUID, Callable[[], None]]) -> int:
    """Be a worker that gets one message and ends; returns its exit code, negative for a signal.

    It does to itself what `poison` says as soon as it begins to evaluate a wave with such a rule.
    """
    pid = os.fork()
    if pid:
        return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    code = OTHERWISE
    try:
        service.run_wave = _poisoned(poison)  # type: ignore[attr-defined]
        database = Database(world.site.urls.app, variable="DATABASE_URL", application="dying")
        service.run(database, org_id, task_id, worker="dying")
        code = LIVED
    finally:
        os._exit(code)


def _poisoned(poison: Mapping[UUID, Callable[[], None]]) -> Callable[..., Any]:
    def run_wave(connection: Any, wave: Any) -> Any:
        for item in wave.items:
            if item.rule_id in poison:
                poison[item.rule_id]()
        return group.run_wave(connection, wave)

    return run_wave
