"""Workers in processes of their own that stand still where the test wants them to, as under SIGSTOP, and then go on."""

from __future__ import annotations

import os
import signal
import traceback
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from sqlalchemy import event

from core import faults
from core.db import Database
from dev.launch import wait_until

if TYPE_CHECKING:
    from collections.abc import Callable

    from dev.site import Site

_SECONDS: Final = 60.0
_FAILED: Final = 70


@dataclass
class Worker:
    """A forked process."""

    pid: int
    code: int | None = None
    """Its exit code once it has ended, negative for a signal."""

    def has_ended(self) -> bool:
        """Say whether it has."""
        if self.code is None:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            self.code = os.waitstatus_to_exitcode(status) if pid else None
        return self.code is not None

    def wait_until_it_stands(self) -> None:
        """Wait for the place where it stops itself."""
        _, status = os.waitpid(self.pid, os.WUNTRACED)
        assert os.WIFSTOPPED(status), f"it ended before: {status}"

    def go_on(self) -> None:
        """Let it go on from where it stands."""
        os.kill(self.pid, signal.SIGCONT)

    def end(self) -> int:
        """Wait for its end; returns its exit code."""
        assert wait_until(self.has_ended, _SECONDS)
        assert self.code is not None
        return self.code


def fork(
    site: Site, work: Callable[[Database], object], *, stops_at: str | None = None, mutation: Callable[[], None] | None
) -> Worker:
    """Start a worker that does one piece of work, and stands still when it first comes to a fault point."""
    pid = os.fork()
    if pid:
        return Worker(pid)
    code = _FAILED
    try:
        if mutation is not None:
            mutation()
        if stops_at is not None:
            _stop_once(stops_at)
        work(_patient(site))
        code = 0
    except BaseException:  # noqa: BLE001 - the process ends here, and says why
        traceback.print_exc()
    finally:
        os._exit(code)


def _stop_once(place: str) -> None:
    """Make a fault point the place where this process stops itself, once."""
    left = [place]

    def crash(name: str) -> None:
        if name in left:
            left.remove(name)
            os.kill(os.getpid(), signal.SIGSTOP)

    faults.crash = crash


def _patient(site: Site) -> Database:
    """Connect as the app role does, but for the limits that end what stands still: a test waits as long as it takes."""
    database = Database(site.urls.app, variable="DATABASE_URL", application="standing")

    def wait(connection: Any, _record: object) -> None:
        for limit in ("idle_in_transaction_session_timeout", "statement_timeout"):
            connection.execute(f"SET {limit} = '{_SECONDS:.0f}s'")
        connection.commit()

    event.listen(database._engine, "connect", wait)
    return database
