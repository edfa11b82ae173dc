"""A process that breaks after it was ready: `python -m tests.acceptance.broken_process HOW ARGUMENT…`.

`deaf`: a worker that, as after the bugs of brokers' clients, is connected, answers, and asks for no further message.
`hanging`: a worker whose event loop never comes back from a call. `endless`: a scheduler whose pass never ends; `slow`:
one whose pass ends after it was found stuck. The arguments are Celery's, and all else is the product's.
"""

from __future__ import annotations

import sys
import threading
from typing import Any

from celery.__main__ import main
from celery.signals import worker_ready
from kombu.transport.redis import Channel

from scheduler.duties import Duties


def _deafen(**_: Any) -> None:
    setattr(Channel, "_brpop_start", lambda _self, timeout=None: None)  # noqa: ARG005, B010 - it is a method


def _hang(sender: Any, **_: Any) -> None:
    sender.hub.timer.call_after(1.0, threading.Event().wait)


PASSES = {"endless": None, "slow": 11.0}
"""How many seconds a scheduler's pass lasts."""


if __name__ == "__main__":
    how, *arguments = sys.argv[1:]
    if how in PASSES:
        setattr(Duties, "_keep_up", lambda _duties: float(threading.Event().wait(PASSES[how])))  # noqa: B010 - it is a method
    else:
        worker_ready.connect({"deaf": _deafen, "hanging": _hang}[how], weak=False)
    sys.argv = ["celery", "-A", "worker", *arguments]
    main()
