"""`cmis dev run`: any command against fresh servers."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Final

from core.errors import SetupError
from dev.fleet import fleet
from dev.launch import guarded
from dev.provider import servers
from dev.signals import exit_code

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from types import FrameType

PIDS: Final = "CMIS_DEV_PIDS"
_FROM_TERMINAL: Final = (signal.SIGINT, signal.SIGQUIT)
_OTHERS: Final = (signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2)


def run(command: Sequence[str], *, demo: bool, workers: int, schedulers: int) -> int:
    """Run `command` in the current directory against throw-away servers and, if wanted, a fleet; its exit code."""
    if named := os.environ.get(PIDS):  # one that cannot be written is told of before anything is started
        _write_pids(Path(named), {})
    if shutil.which(command[0]) is None:  # no servers are needed for that; the guard says what it says
        return run_command(command, os.environ)
    with ExitStack() as stack:
        made = stack.enter_context(servers(demo=demo))
        env = made.site.full_env()
        processes = stack.enter_context(fleet(workers, schedulers, env, made.run / "logs"))
        pids = Path(env.get(PIDS) or made.run / "pids.json")
        _write_pids(pids, processes.pids())
        stack.callback(pids.unlink, missing_ok=True)
        return run_command(command, {**env, PIDS: str(pids.absolute())})


def _write_pids(path: Path, pids: Mapping[str, Sequence[int]]) -> None:
    try:
        path.write_text(json.dumps(pids), encoding="ascii")
    except OSError as error:
        message = f"{PIDS} names {path}, which cannot be written: {error.strerror or type(error).__name__}"
        raise SetupError(message, "name a file in a directory that exists, or leave it unset") from error


def run_command(command: Sequence[str], env: Mapping[str, str]) -> int:
    """Run `command` in our place: our terminal, our directory, our signals; its exit code as a shell tells it."""
    process = subprocess.Popen(guarded(command, signal.SIGTERM), env=dict(env))
    with _forwarding(process):
        return exit_code(process.wait())


@contextmanager
def _forwarding(process: subprocess.Popen[bytes]) -> Iterator[None]:
    """Pass signals on to `process` and wait for what it makes of them."""

    def forward(number: int, _frame: FrameType | None) -> None:
        if number not in _FROM_TERMINAL or not _is_foreground():  # else the terminal has told it already
            process.send_signal(number)

    before = {number: signal.signal(number, forward) for number in (*_FROM_TERMINAL, *_OTHERS)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _is_foreground() -> bool:
    """Tell whether Ctrl-C on the controlling terminal reaches our process group, of which the command is a member."""
    try:
        with Path("/dev/tty").open("rb", buffering=0) as terminal:
            return os.tcgetpgrp(terminal.fileno()) == os.getpgrp()
    except OSError:
        return False
