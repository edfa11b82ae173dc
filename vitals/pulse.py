"""The pulse: a thread of each worker's main process and scheduler that looks, judges, and writes the heartbeat row.

It has a connection of its own for each beat and leaves none open between two: the children that the pool forks must not
inherit one. No fork happens during a look, either: a child would inherit the locks that this thread holds then.
"""

from __future__ import annotations

import logging
import math
import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import psycopg
from sqlalchemy.exc import DBAPIError, SQLAlchemyError

from core.clock import monotonic
from core.db import first_line
from core.forking import unforked
from engine.store import processes
from models.process_enums import ProcessState
from vitals.liveness import LOOKS, Judgement, Liveness, Seen

if TYPE_CHECKING:
    from collections.abc import Callable

    from core.db import Database

logger = logging.getLogger(__name__)

BEAT_SECONDS: Final = 10.0
_JOIN_SECONDS: Final = 8.0


@dataclass(frozen=True, slots=True)
class Look:
    """What the process's own code reports at a look; times on the monotonic clock."""

    seen: Seen
    tasks: int
    claimed_at: float | None


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The last look, for whoever asks without wanting to wait."""

    identity: processes.Identity
    judgement: Judgement
    tasks: int
    claimed_at: float | None
    polled_at: float | None
    looked_at: float
    unwritten: str | None
    """Why the row could not be written."""


class Pulse:
    """Looks six times in `watchdog_seconds`, or each ten seconds if that is more often.

    Calls `stuck`, once, when nothing good was seen for so long.
    """

    def __init__(
        self,
        identity: processes.Identity,
        database: Database,
        look: Callable[[], Look],
        stuck: Callable[[str], None],
        watchdog_seconds: float,
    ) -> None:
        self.identity = identity
        looks = max(LOOKS, math.ceil(watchdog_seconds / BEAT_SECONDS))  # who looks more seldom is taken for lost
        self.every = watchdog_seconds / looks
        self.snapshot: Snapshot | None = None
        self._database = database
        self._look = look
        self._stuck = stuck
        self._liveness = Liveness(self.every, looks)
        self._polled_at: float | None = None
        self._beat_at: float | None = None
        self._ended = False
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="pulse", daemon=True)

    def start(self) -> None:
        """Begin; the first look is at once."""
        self._thread.start()

    def stop(self, reason: str) -> None:
        """Write the last row and end. A database that is away is not waited for: its reader sees the row grow old."""
        self._stop.set()
        self._thread.join(_JOIN_SECONDS)
        last = self.snapshot
        if last is None or self._thread.is_alive():
            return
        ended = Judgement(ProcessState.STOPPED, reason, polled=False)
        self._write(ended, last.tasks, last.claimed_at)
        self._database.close()

    def _run(self) -> None:
        while True:
            try:
                with unforked():
                    self._look_once()
            except Exception:
                # this thread is what notices that something is wrong: it must outlive whatever is
                logger.exception("a look at this process failed")
            if self._stop.wait(self.every):
                return

    def _look_once(self) -> None:
        look = self._look()
        judgement = self._liveness.judge(look.seen)
        now = monotonic()
        if judgement.polled:
            self._polled_at = now
        changed = self.snapshot is None or self.snapshot.judgement.state is not judgement.state
        unwritten = self.snapshot.unwritten if self.snapshot else None
        if changed or self._beat_at is None or now - self._beat_at >= BEAT_SECONDS - self.every / 2:
            unwritten = self._write(judgement, look.tasks, look.claimed_at)
            self._beat_at = now
        self.snapshot = Snapshot(
            self.identity, judgement, look.tasks, look.claimed_at, self._polled_at, monotonic(), unwritten
        )
        if judgement.state is ProcessState.STUCK and not self._ended:
            self._ended = True
            self._stuck(judgement.reason or "")

    def _write(self, judgement: Judgement, tasks: int, claimed_at: float | None) -> str | None:
        """Write the row; returns why it could not be."""
        said = processes.Beat(_ago(claimed_at), _ago(self._polled_at), tasks, judgement.state.value, judgement.reason)
        try:
            with self._database.transaction(None) as connection:
                processes.beat(connection, self.identity, said)
        except (SQLAlchemyError, psycopg.Error) as error:
            reason = first_line(error) if isinstance(error, DBAPIError) else type(error).__name__
            if self.snapshot is None or self.snapshot.unwritten is None:
                logger.warning("the heartbeat row was not written, the next one will be: %s", reason)
            return f"{self._database.variable} cannot be used: {reason}"
        finally:
            self._database.close()
        return None


def _ago(moment: float | None) -> float | None:
    return None if moment is None else max(0.0, monotonic() - moment)
