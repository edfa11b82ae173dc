"""An embedded PostgreSQL, straight from the wheel's programs.

It listens on a Unix socket in a private directory and on nothing else, so that only this user reaches it and no port
can be taken. Its superuser is `postgres`, without a password.
"""

from __future__ import annotations

import os
import signal
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Final

from core.errors import SetupError
from dev.launch import exists, has_ended, is_running, is_zombie, spawn, stop, tail, wait_until
from dev.postgres_account import Account, choose_account, own_directory, reachable_install
from dev.rundir import remove
from dev.wheels import postgres_install

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Mapping

_START_SECONDS = 60.0  # a crash recovery of a large database takes its time
_STOP_SECONDS = 10.0
_REAP_SECONDS = 3.0  # what a container's init may take to reap an orphan
_PORT = 5432  # only part of the socket's name; said aloud, because PGPORT would change both ends' default
_READY_LINE = 7  # of postmaster.pid, counted from 0: `ready` once connections are accepted

# A throw-away server survives crashes of its own processes (its files are in the page cache), not of the machine.
# Commits stay synchronous: after an immediate restart nothing that was committed may be missing.
_THROWAWAY: Final[Mapping[str, str]] = {"fsync": "off", "full_page_writes": "off", "max_wal_size": "512MB"}


@dataclass
class Postgres:
    """One server. `run` is a run directory for the socket and, when throw-away, the log; `data` may not exist yet."""

    data: Path
    run: Path
    durable: bool
    account: Account = field(default_factory=choose_account)
    _process: subprocess.Popen[bytes] | None = field(default=None, init=False)
    _install: Path = field(init=False)

    def __post_init__(self) -> None:
        self._install = reachable_install(self.account, postgres_install(), self.run)
        if self.account.uid is not None:
            self.run.chmod(0o711)  # passed through, not listed

    @property
    def log(self) -> Path:
        """The server's own messages."""
        return (self.data.parent if self.durable else self.run) / "postgres.log"

    @property
    def socket(self) -> Path:
        """The directory of the Unix socket."""
        return self.run / "socket"

    @property
    def pid(self) -> int:
        """The postmaster's pid; 0 when it was never started."""
        return self._process.pid if self._process else 0

    def url(self, database: str = "postgres", user: str = "postgres") -> str:
        """Return the URL of `database` for `user`; no password is asked."""
        return f"postgresql://{user}@/{database}?host={self.socket}&port={_PORT}"

    def has_died(self) -> bool:
        """Tell whether it was started and has ended, unasked."""
        return self._process is not None and has_ended(self._process)

    def start(self) -> None:
        """Create the cluster if it is new, end a leftover server on it, start. Raises SetupError with the log's end."""
        own_directory(self.account, self.socket)
        if not (self.data / "PG_VERSION").exists():
            self._create()
        stop_leftover(self.data)
        death = signal.SIGINT if self.durable else signal.SIGQUIT
        with self.log.open("ab") as log:
            self._process = spawn(self._command(), output=log, death_signal=death, uid=self.account.uid, cwd=Path("/"))
        self._await_ready(self._process)

    def _create(self) -> None:
        """Make the cluster beside its place and move it there when whole: an interrupted one is never started."""
        new = self.data.with_name(f"{self.data.name}.new")
        remove(new)
        own_directory(self.account, new)
        self._initdb(new)
        new.rename(self.data)

    def _initdb(self, new: Path) -> None:
        options = ["-U", "postgres", "-A", "trust", "-E", "UTF8", "--locale=C", "--locale-provider=builtin"]
        sync = [] if self.durable else ["--no-sync"]
        program: list[str | Path] = [*self.account.prefix, self._install / "bin" / "initdb", "-D", new]
        command = [*program, *options, "--builtin-locale=C.UTF-8", *sync]
        with self.log.open("ab") as log:
            initdb = spawn(command, output=log, uid=self.account.uid, cwd=Path("/"))
        try:
            code = initdb.wait()
        finally:
            stop(initdb, signal.SIGTERM, _STOP_SECONDS)
        if code != 0:
            raise SetupError(f"initdb failed:\n{tail(self.log)}\n", f"its log is {self.log}")

    def _command(self) -> list[str | Path]:
        settings: dict[str, object] = {
            "listen_addresses": "",
            "port": _PORT,
            "unix_socket_directories": self.socket,
            "unix_socket_permissions": "0700",
            "timezone": "UTC",
            "log_timezone": "UTC",
            "max_connections": 200,  # several fleets and their pools
            **({} if self.durable else _THROWAWAY),
        }
        flags = [part for name, value in settings.items() for part in ("-c", f"{name}={value}")]
        return [*self.account.prefix, self._install / "bin" / "postgres", "-D", self.data, *flags]

    def _await_ready(self, process: subprocess.Popen[bytes]) -> None:
        ready = wait_until(lambda: has_ended(process) or _is_ready(self.data, process.pid), _START_SECONDS)
        if not ready or has_ended(process):
            self.stop()
            raise SetupError(f"the embedded PostgreSQL did not start:\n{tail(self.log)}\n", f"its log is {self.log}")

    def stop(self) -> None:
        """Stop it: fast, then immediately, then by force."""
        if self._process is None:
            return
        if not has_ended(self._process):
            self._process.send_signal(signal.SIGINT)
            wait_until(lambda: self._process is None or has_ended(self._process), _STOP_SECONDS)
        stop(self._process, signal.SIGQUIT, _STOP_SECONDS)
        self._process = None

    def crash(self) -> None:
        """End it without a checkpoint, as an immediate shutdown does; `start` recovers."""
        if self._process is not None:
            stop(self._process, signal.SIGQUIT, _STOP_SECONDS)
            self._process = None


def _pid_file(data: Path) -> list[str]:
    with suppress(OSError):
        return (data / "postmaster.pid").read_text().splitlines()
    return []


def _is_ready(data: Path, pid: int) -> bool:
    lines = _pid_file(data)
    return len(lines) > _READY_LINE and lines[0] == str(pid) and lines[_READY_LINE].strip() == "ready"


def _serves(pid: int, data: Path) -> bool:
    """Tell whether `pid` is a PostgreSQL on `data`, and not another process that was given an old pid."""
    with suppress(OSError):
        return os.fsencode(data) in Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
    return False


def stop_leftover(data: Path) -> bool:
    """Stop a server that still runs on `data` after its owner is gone; True when there was one.

    The caller must know that the owner is gone (it holds the lock of the data's directory).
    """
    lines = _pid_file(data)
    pid = int(lines[0]) if lines and lines[0].isdigit() else 0
    found = pid != 0 and _serves(pid, data)
    if found:
        _end(pid)
    if pid:
        _forget(data, pid)
    return found


def _end(pid: int) -> None:
    for request in (signal.SIGINT, signal.SIGQUIT, signal.SIGKILL):
        with suppress(ProcessLookupError):
            os.kill(pid, request)
        if wait_until(lambda: not is_running(pid), _STOP_SECONDS):
            return


def _forget(data: Path, pid: int) -> None:
    """Remove a dead server's pid file if its pid is taken (reused, or a zombie): PostgreSQL would give up."""
    wait_until(lambda: not is_zombie(pid), _REAP_SECONDS)
    if exists(pid):
        (data / "postmaster.pid").unlink(missing_ok=True)
