"""Ending in good order when asked to, whoever asks."""

from __future__ import annotations

import signal
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final, NoReturn

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from types import FrameType

DIE: Final = signal.SIGKILL
_ASKED: Final = (signal.SIGTERM, signal.SIGHUP)
_SHELL_BASE: Final = 128


def exit_code(status: int) -> int:
    """Return a child's exit status as a shell tells it: 128 + the signal when one killed it."""
    return status if status >= 0 else _SHELL_BASE - status


def _end(number: int, _frame: FrameType | None) -> NoReturn:
    raise SystemExit(exit_code(-number))


@contextmanager
def _handling(action: Callable[[int, FrameType | None], NoReturn] | signal.Handlers, *numbers: int) -> Iterator[None]:
    if threading.current_thread() is not threading.main_thread():
        yield  # only the main thread may set handlers
        return
    before = {number: signal.signal(number, action) for number in numbers}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def ending_on_signals() -> Iterator[None]:
    """Turn SIGTERM and SIGHUP into SystemExit, as Ctrl-C is KeyboardInterrupt, so that everything opened is closed."""
    unhandled = [number for number in _ASKED if signal.getsignal(number) is signal.SIG_DFL]  # nohup's SIG_IGN stays
    with _handling(_end, *unhandled):
        yield


@contextmanager
def undisturbed() -> Iterator[None]:
    """Ignore requests to end while things are taken down; each of those steps has a deadline of its own."""
    with _handling(signal.SIG_IGN, signal.SIGINT, *_ASKED):
        yield
