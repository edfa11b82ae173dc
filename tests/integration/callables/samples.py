"""Callables that behave as badly as those of other packages may; what they start they tell in `params["file"]`."""

from __future__ import annotations

import ctypes
import json
import logging
import os
import random
import signal
import subprocess
import sys
import threading
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from core.errors import PermanentError, TransientError
from engine.callables.base import step

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from engine.callables.base import Call

remembered: list[str] = []


class QuotaError(PermanentError):
    """An error with a code of its own."""

    code = "QUOTA"


class SlowServerError(ConnectionError):
    """An error of another package."""


class MuteError(Exception):
    """An error that fails at telling what it is."""

    def __str__(self) -> str:
        raise ValueError


@step("test.echo")
def echo(call: Call) -> Mapping[str, Any]:
    """Return the call."""
    return {**call.document(), "key": call.idempotency_key}


@step("test.surroundings")
def surroundings(call: Call) -> Mapping[str, Any]:
    """Return what a call finds around it; `params["remember"]` changes this process."""
    remembered.append(str(call.params.get("remember")))
    opened = {}
    for fd in list(Path("/proc/self/fd").iterdir()):
        with suppress(OSError):  # the one of the listing
            opened[fd.name] = str(fd.readlink())
    return {
        "pid": os.getpid(),
        "group": os.getpgrp(),
        "remembered": remembered,
        "opened": opened,
        "chance": random.random(),  # noqa: S311 - whether it repeats is the point
        "ignored": [n for n in signal.valid_signals() if signal.getsignal(n) is signal.SIG_IGN],
        "blocked": sorted(signal.pthread_sigmask(signal.SIG_BLOCK, ())),
        "main": threading.current_thread() is threading.main_thread(),
        "oom": Path("/proc/self/oom_score_adj").read_text(encoding="ascii").strip(),
        "loaded": sorted({"sqlalchemy", "celery", "psycopg"} & set(sys.modules)),
    }


@step("test.fail")
def fail(call: Call) -> Mapping[str, Any]:
    """Raise what `params["error"]` names."""
    errors: dict[str, BaseException] = {
        "quota": QuotaError("no calls left today"),
        "busy": TransientError("busy"),
        "slow": SlowServerError("no answer"),
        "bug": KeyError("campaign"),
        "exit": SystemExit(3),
        "mute": MuteError(),
        "long": ValueError("\x00\ud800" + "x" * 10_000),
    }
    raise errors[call.params["error"]]


@step("test.output")
def output(call: Call) -> Any:
    """Return what `params["output"]` names."""
    deep: dict[str, Any] = {}
    for _ in range(20):
        deep = {"in": deep}
    looped: dict[str, Any] = {}
    looped["self"] = looped
    return {
        "nothing": None,
        "list": [1],
        "object": {"at": object()},
        "nan": {"ratio": float("nan")},
        "nul": {"text": "a\x00"},
        "surrogate": {"\ud800": 1},
        "deep": deep,
        "looped": looped,
        "large": {"text": "ü" * 131_072},
        "largest": {"text": "x" * (256 * 1024 - 11)},
        "loose": {"pair": (1, 2), 3: True},
    }[call.params["output"]]


@step("test.spin")
def spin(call: Call) -> None:
    """Never end, in Python."""
    _write(call, [os.getpid()])
    while True:
        pass


@step("test.sleep")
def sleep(call: Call) -> None:
    """Sleep in C, with every signal blocked that can be, and all ignored."""
    signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
    _write(call, [os.getpid()])
    ctypes.CDLL(None).sleep(3600)


@step("test.brood")
def brood(call: Call) -> Mapping[str, Any]:
    """Ignore signals and start processes, one in the group, one in a session of its own, one whose parent is gone."""
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGALRM):
        signal.signal(number, signal.SIG_IGN)
    idle = [sys.executable, "-c", "import time; time.sleep(3600)"]
    quiet = "start_new_session=True, stdout=-3, stderr=-3"  # -3: DEVNULL
    leave = f"import subprocess; print(subprocess.Popen({idle!r}, {quiet}).pid)"
    orphan = subprocess.run([sys.executable, "-c", leave], capture_output=True, check=True)
    children = [subprocess.Popen(idle), subprocess.Popen(idle, start_new_session=True)]
    _write(call, [os.getpid(), int(orphan.stdout), *(child.pid for child in children)])
    if call.params.get("ends") == "return":
        return {"left": 3}
    if call.params.get("ends") == "die":
        os._exit(7)
    while True:
        time.sleep(3600)


@step("test.die")
def die(call: Call) -> None:
    """End its process as `params["how"]` says."""
    _DEATHS[call.params["how"]]()


def _scatter(text: bytes, times: int = 1) -> None:
    """Write to whatever is open."""
    for fd in range(3, 16):
        with suppress(OSError):
            for _ in range(times):
                os.write(fd, text)
    os._exit(0)


def _close_all() -> None:
    os.closerange(3, 256)
    os._exit(5)


_DEATHS: Final[Mapping[str, Callable[[], object]]] = {
    "exit": lambda: os._exit(0),
    "status": lambda: os._exit(42),
    "group": lambda: os.killpg(os.getpgrp(), signal.SIGKILL),
    "segfault": lambda: ctypes.string_at(0),
    "closed": _close_all,
    "babble": lambda: _scatter(b"\x00\x00\x00\x02{]"),
    "nonsense": lambda: _scatter(b"\x00\x00\x00\x0d" + json.dumps({"raised": 1}).encode() + b" "),
    "flood": lambda: _scatter(b"\xff" * 65_536, 100),
}


@step("test.talk")
def talk(call: Call) -> None:
    """Write to stdout, stderr and a log; `params["bytes"]` more of it."""
    sys.stdout.write("to stdout\n")
    sys.stderr.write("to stderr \x1b[31m\n")
    logging.getLogger("package").info("to the log of %s", call.step_id)
    os.write(1, b"\xff raw\n")
    line = "x" * 99 + "\n"
    for _ in range(call.params.get("bytes", 0) // 100):
        sys.stdout.write(line)
    sys.stdout.write("the end")


@step("test.threads")
def threads(_call: Call) -> Mapping[str, Any]:
    """Return while a thread of its own goes on."""
    threading.Thread(target=time.sleep, args=(3600,)).start()
    return {}


def _write(call: Call, pids: list[int]) -> None:
    """Tell who runs, whole or not at all."""
    if "file" in call.params:
        file = Path(call.params["file"])
        part = file.with_suffix(".part")
        part.write_text(json.dumps(pids), encoding="ascii")
        part.rename(file)
