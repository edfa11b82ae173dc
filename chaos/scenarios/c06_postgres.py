"""C6: PostgreSQL is restarted immediately, again and again, then stopped for half a minute; then sessions are ended."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import psycopg

from chaos.scenario import Bound, Scenario

if TYPE_CHECKING:
    from chaos.arena import Arena

RESTARTED: Final = "PostgreSQL restarted immediately"
STOPPED: Final = "PostgreSQL stopped for 30 s"
ENDED: Final = "sessions ended"
RESUME_SECONDS: Final = 10
_SECONDS: Final = 100.0
_RESTARTS: Final = 10
_STOPPED_SECONDS: Final = 30.0
_SESSIONS_ENDED: Final = 3
_PAUSE: Final = (2.0, 4.0)
_END_SESSIONS: Final = """
SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"""


def restart_stop_end(arena: Arena) -> None:
    """Do all three; a shorter run has fewer of the first, and a shorter second."""
    share = min(1.0, arena.seconds / _SECONDS)
    for _ in range(max(1, round(_RESTARTS * share))):
        arena.wait_whatever(arena.chance.uniform(*_PAUSE))
        restart_immediately(arena)
    arena.wait_whatever(_PAUSE[1])
    fault = arena.faults.note(STOPPED)
    arena.postgres.stop()
    arena.wait_whatever(_STOPPED_SECONDS * share)
    arena.postgres.start()
    fault.end()
    arena.wait_whatever(RESUME_SECONDS)
    for _ in range(_SESSIONS_ENDED):
        arena.wait_whatever(_PAUSE[1])
        fault = arena.faults.note(ENDED)
        with psycopg.connect(arena.administrator_url(), autocommit=True) as connection:
            connection.execute(_END_SESSIONS)
        fault.end()
    arena.wait_whatever(_PAUSE[1])


def restart_immediately(arena: Arena) -> None:
    """End it without a checkpoint, and start it: it recovers from what it had flushed."""
    fault = arena.faults.note(RESTARTED)
    arena.postgres.crash()
    arena.postgres.start()
    fault.end()


def none_reaped_falsely(arena: Arena) -> list[str]:
    """Look for workers that found a task taken over: they were alive, and no outage may end a lease."""
    times = arena.crew.said("was taken over")
    return [f"{times} tasks were taken from workers that were alive"] if times else []


SCENARIO: Final = Scenario(
    "C6",
    "PostgreSQL restarted, stopped, sessions ended",
    _SECONDS,
    restart_stop_end,
    bounds=(
        Bound(RESTARTED, "resumed", RESUME_SECONDS),
        Bound(STOPPED, "resumed", RESUME_SECONDS),
        Bound(STOPPED, "everyone", RESUME_SECONDS),
        Bound(ENDED, "resumed", RESUME_SECONDS),
    ),
    check=none_reaped_falsely,
    survives=True,
)
