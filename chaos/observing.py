"""What Flower and `celery inspect` live on, answers to remote control and events: after faults they must come again."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final

from celery import Celery

from core.clock import monotonic

if TYPE_CHECKING:
    from chaos.arena import Arena

_PATIENCE: Final = 20.0
_ANSWER_SECONDS: Final = 2.0


def unobserved(arena: Arena) -> list[str]:
    """Return the workers that answer no ping, or send no heartbeat, any more, in words."""
    names = {place.name for place in arena.crew.running("worker", "deliveries")}
    with Celery("observer", broker=arena.valkey.url, set_as_current=False) as app:
        silent = names - _pinged(arena, app, names)
        unheard = names - _heard(app, names)
    return [f"{name} answers no ping" for name in sorted(silent)] + [
        f"{name} sends no events" for name in sorted(unheard)
    ]


def _pinged(arena: Arena, app: Celery, names: set[str]) -> set[str]:
    found: set[str] = set()

    def all_answered() -> bool:
        found.update(_node(one) for one in app.control.inspect(timeout=_ANSWER_SECONDS).ping() or {})
        return found >= names

    arena.wait_until(all_answered, _PATIENCE)
    return found


def _heard(app: Celery, names: set[str]) -> set[str]:
    """Listen until each has sent something: a heartbeat comes every two seconds."""
    found: set[str] = set()
    ends = monotonic() + _PATIENCE
    with app.connection_for_read() as connection:
        receiver = app.events.Receiver(connection)

        def hear(event: dict[str, Any]) -> None:
            found.add(_node(event.get("hostname", "")))
            receiver.should_stop = found >= names or monotonic() > ends

        receiver.handlers = {"*": hear}
        with suppress(TimeoutError):
            receiver.capture(limit=None, timeout=_PATIENCE, wakeup=False)
    return found


def _node(hostname: str) -> str:
    return hostname.partition("@")[0]
