"""Moves this process's clock by CHAOS_CLOCK_SHIFT seconds, if that is set: on the path of a scenario's processes only.

Python imports a module of this name before all others. Extension types such as `datetime` refuse new attributes, so
that its methods are replaced in the type's own dictionary; the monotonic clocks stay.
"""

from __future__ import annotations

import ctypes
import gc
import os
import sys
import time
from datetime import UTC, datetime, timedelta, tzinfo


def _shift(seconds: int) -> None:
    true_time, true_time_ns, true_now = time.time, time.time_ns, datetime.now
    step = timedelta(seconds=seconds)

    def shifted_now(_: type[datetime], tz: tzinfo | None = None) -> datetime:
        moment = true_now(UTC) + step
        return moment.astimezone(tz) if tz is not None else moment.astimezone().replace(tzinfo=None)

    def shifted_utcnow(_: type[datetime]) -> datetime:
        return shifted_now(datetime, UTC).replace(tzinfo=None)

    time.time = lambda: true_time() + seconds
    time.time_ns = lambda: true_time_ns() + seconds * 10**9
    [methods] = gc.get_referents(datetime.__dict__)
    methods["now"] = classmethod(shifted_now)
    methods["utcnow"] = classmethod(shifted_utcnow)
    methods["today"] = classmethod(shifted_now)
    ctypes.pythonapi.PyType_Modified(ctypes.py_object(datetime))
    moved = datetime.now(UTC).timestamp() - true_time()
    if abs(moved - seconds) > 1:
        os._exit(70)  # exceptions here are printed and passed over: a scenario must not run on the true clock
    sys.stderr.write(f"clock shifted by {seconds} s\n")


if os.environ.get("CHAOS_CLOCK_SHIFT"):
    _shift(int(os.environ["CHAOS_CLOCK_SHIFT"]))
