"""An embedded Valkey on 127.0.0.1, with a random password.

TCP and not a Unix socket, because every client (Celery, Flower, redis-py, a fault proxy) takes the same URL.
The password keeps other users of the machine out; it reaches the server on its standard input, not in `ps`.
"""

from __future__ import annotations

import random
import secrets
import signal
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from core.errors import SetupError
from dev.launch import has_ended, spawn, stop, tail, wait_until
from dev.wheels import valkey_program

if TYPE_CHECKING:
    import subprocess
    from pathlib import Path

_START_SECONDS = 20.0
_STOP_SECONDS = 5.0
_ATTEMPTS = 20
_PORTS = range(15_000, 32_000)  # below every system's ephemeral range: no outgoing connection can take a port of ours


@dataclass
class Valkey:
    """One server; `run` is a run directory for its log. The URL stays the same over `kill` and `start`."""

    run: Path
    password: str = field(default_factory=lambda: secrets.token_urlsafe(18))
    port: int = field(default=0, init=False)
    _process: subprocess.Popen[bytes] | None = field(default=None, init=False)

    @property
    def url(self) -> str:
        """Return the broker URL."""
        return f"redis://:{self.password}@127.0.0.1:{self.port}/0"

    @property
    def log(self) -> Path:
        """The server's own messages."""
        return self.run / "valkey.log"

    @property
    def pid(self) -> int:
        """The server's pid; 0 when it does not run."""
        return self._process.pid if self._process else 0

    def has_died(self) -> bool:
        """Tell whether it was started and has ended, unasked."""
        return self._process is not None and has_ended(self._process)

    def start(self) -> None:
        """Start it, at first on a port that proves free, later on the same. Raises SetupError with the log's end."""
        ports = [self.port] * _ATTEMPTS if self.port else random.SystemRandom().sample(_PORTS, _ATTEMPTS)
        for self.port in ports:  # a port is free when binding it worked, not when looking said so
            self._process = self._spawn()
            if self._is_up(self._process):
                return
            self.kill()
        raise SetupError(f"the embedded Valkey did not start:\n{tail(self.log)}\n", f"its log is {self.log}")

    def _spawn(self) -> subprocess.Popen[bytes]:
        settings = (
            f"bind 127.0.0.1\nport {self.port}\nrequirepass {self.password}\ndir {self.run}\n"
            'save ""\nappendonly no\nmaxmemory-policy noeviction\n'  # disposable by design; never drops by itself
        )
        with self.log.open("ab") as log:
            return spawn([valkey_program(), "-"], output=log, feed=settings.encode())

    def _is_up(self, process: subprocess.Popen[bytes]) -> bool:
        """Wait until our own process answers; False when it ended, because its port was taken for example."""
        return wait_until(lambda: has_ended(process) or self._answers(), _START_SECONDS) and not has_ended(process)

    def _answers(self) -> bool:
        try:
            with redis.Redis.from_url(self.url, socket_timeout=1, retry=Retry(NoBackoff(), 0)) as client:
                return bool(client.ping())
        except redis.RedisError:  # not yet, or somebody else's server, which has another password
            return False

    def flush(self) -> None:
        """Forget everything in it."""
        with redis.Redis.from_url(self.url) as client:
            client.flushall()

    def kill(self) -> None:
        """End it at once; what was in it is gone."""
        self._end(signal.SIGKILL)

    def stop(self) -> None:
        """End it in good order."""
        self._end(signal.SIGTERM)

    def _end(self, how: signal.Signals) -> None:
        if self._process is not None:
            stop(self._process, how, _STOP_SECONDS)
            self._process = None
