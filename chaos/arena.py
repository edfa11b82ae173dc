"""Where a scenario takes place: servers that can be taken away, a crew of processes, a receiver, the load."""

from __future__ import annotations

import logging
import os
import random
import signal
import time
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any, Final

from kombu.connection import Connection
from sqlalchemy.exc import DBAPIError

from chaos import stage
from chaos.crew import KINDS, Crew
from chaos.faults import Faults
from chaos.load import Load
from core.clock import monotonic
from core.db import is_outage
from core.errors import SetupError
from dev.signals import undisturbed
from dev.site import ROOT
from models.enums import Queue
from tasks import depth
from tests.posting import SECRET_KEYS
from tests.receiver.web import Receiver
from tests.world import World

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from chaos.proxy import Proxy
    from chaos.scenario import Scenario
    from chaos.stage import Stage
    from dev.postgres import Postgres
    from dev.provider import Servers
    from dev.site import Site
    from dev.valkey import Valkey

logger = logging.getLogger(__name__)

CLOCKS: Final = ROOT / "chaos" / "clocks"
"""Where processes find what moves their clock, if CHAOS_CLOCK_SHIFT says so."""

_TEND_SECONDS: Final = 0.05
_BACK_SECONDS: Final = 60.0
"""Within which a database that runs again must answer."""


class Arena:
    """One scenario's place, on a database of its own. Only the main thread uses it, besides the load's.

    A scenario reads and does: `crew` (processes), `postgres`, `valkey`, `receiver`, `world` (the database as each
    role), `chance` (seeded), `faults` (to note each in), `wait` and `left`. While it prepares it may change `env`.
    """

    def __init__(self, made: Servers, site: Site, scenario: Scenario, *, seconds: float, seed: int, logs: Path) -> None:
        self._made = made
        self.site = site
        self.scenario = scenario
        self.seconds = seconds
        self.seed = seed
        self.logs = logs
        self.chance = random.Random(seed)
        self.faults = Faults()
        self.seen: list[str] = []
        """What a scenario saw during its faults that must not be: violations, in words."""
        self.stack = ExitStack()
        """Closed at the end, before the servers: for a scenario's own proxies and files."""
        self.receiver = self.stack.enter_context(Receiver())
        self.world = World.open(site)
        self.stack.callback(self.world.close)
        self.env: dict[str, str] = self._environment()
        """What processes are started with."""
        self.crew = Crew(self.env, logs / "processes")
        self.stack.callback(self.end_crew)
        self.waits: dict[str, list[float]] = {}
        """What a scenario has measured itself, in seconds, by kind of fault."""
        self.proxies: dict[str, Proxy] = {}
        """A scenario's proxies, by what they stand before."""
        self._ends = float("inf")

    def _environment(self) -> dict[str, str]:
        given = {
            "CMIS_EGRESS_ALLOW": "127.0.0.1",
            "CMIS_SECRET_KEYS": SECRET_KEYS,
            "CMIS_ORG_DELIVERIES": "100000",
            "CMIS_FAULTS_SEED": str(self.seed),
            "PYTHONPATH": os.pathsep.join(map(str, (stage.lay_callables(self.logs / "packages"), CLOCKS))),
        }
        return self.site.full_env() | given

    @property
    def postgres(self) -> Postgres:
        """The database's server: `.crash()` and `.start()`, `.stop()`, `.pid`."""
        if self._made.postgres is None:
            raise SetupError("chaos needs a PostgreSQL of its own", "unset DATABASE_URL")
        return self._made.postgres

    @property
    def valkey(self) -> Valkey:
        """The broker: `.kill()` and `.start()`, `.flush()`, `.pid`, `.url`."""
        if self._made.valkey is None:
            raise SetupError("chaos needs a broker of its own", "unset BROKER_URL")
        return self._made.valkey

    @property
    def left(self) -> float:
        """Seconds that are left for faults; 0 when it is time to end."""
        return max(0.0, self._ends - monotonic())

    def prepare(self) -> None:
        """Make the orgs, start the processes, and wait for them; then the load, and the scenario's time begin."""
        self.stages: Sequence[Stage] = stage.make(self.world, self.receiver.url)
        self.scenario.prepare(self)
        self.crew.env = self.env | dict(self.scenario.env)
        hands = self.scenario.hands
        for kind, number in zip(KINDS, (hands.workers, hands.deliveries, hands.schedulers), strict=True):
            for _ in range(number):
                self.crew.add(kind, self.scenario.env_of(kind, len(self.crew.of(kind)) + 1))
        self.crew.await_ready()
        self.load = Load(self.world, self.stages, self.seed, self.scenario.rate)
        self.load.start()
        self._ends = monotonic() + self.seconds

    def wait(self, seconds: float) -> None:
        """Let time pass: processes that ended are started again meanwhile. Never longer than faults may go on."""
        self.wait_whatever(min(seconds, self.left))

    def wait_whatever(self, seconds: float) -> None:
        """Let time pass, though the time for faults be over: to end one that has begun."""
        ends = monotonic() + seconds
        while True:
            self.crew.tend()
            left = ends - monotonic()
            if left <= 0:
                return
            time.sleep(min(_TEND_SECONDS, left))

    def wait_until(self, ready: Any, seconds: float) -> bool:
        """Let time pass until `ready()` is true; False if it is not within so many seconds."""
        ends = monotonic() + seconds
        while not ready():
            if monotonic() > ends:
                return False
            self.wait_whatever(_TEND_SECONDS)
        return True

    def heal(self) -> None:
        """End all faults: what was stopped goes on, servers run, and processes start without fault points."""
        self.receiver.release()
        for place in self.crew.running():
            place.send(signal.SIGCONT, group=True)
        for server in (self.postgres, self.valkey):
            if server.pid == 0 or server.has_died():
                server.start()
            else:
                os.kill(server.pid, signal.SIGCONT)
        if self.scenario.env:
            self._disarm()

    def _disarm(self) -> None:
        """Ask all to end, so that they start again without the scenario's variables."""
        self.crew.env = dict(self.env)
        for place in self.crew.running():
            place.terminate()

    def rows(self, query: str, **values: Any) -> Sequence[Any]:
        """Read from all orgs; a database that has just come back is given the time to answer."""
        ends = monotonic() + _BACK_SECONDS
        while True:
            try:
                return self.world.rows(query, **values)
            except DBAPIError as error:
                if not is_outage(error) or monotonic() > ends:
                    raise
            self.wait_whatever(_TEND_SECONDS)

    def at_work(self, prefix: str = "") -> dict[int, str]:
        """Return the processes that own a task now, by pid, with their names; those whose name begins so."""
        owners = [str(owner) for (owner,) in self.rows("SELECT lease_owner FROM cmis.tasks WHERE state = 'running'")]
        found = (owner.rpartition(":") for owner in owners if owner.startswith(prefix))
        return {int(pid): name for name, _, pid in found}

    def waiting(self) -> dict[str, int]:
        """Return how many messages wait in each queue of the broker."""
        with Connection(self.valkey.url) as connection:  # type: ignore[no-untyped-call]
            return depth.waiting(connection, [queue.value for queue in Queue])

    def administrator_url(self) -> str:
        """Return the administrator's URL of the scenario's database: for faults such as ended sessions."""
        return self.site.urls.migration

    def end_crew(self) -> dict[str, int]:
        """Ask all processes to end; their exit statuses by name."""
        with undisturbed():
            return self.crew.stop()


@contextmanager
def arena(made: Servers, scenario: Scenario, *, seconds: float, seed: int, logs: Path) -> Iterator[Arena]:
    """Make a scenario's place on a database of its own, with an empty broker; all of it is gone at the end."""
    if made.valkey is not None:
        made.valkey.flush()
    with made.clone() as site:
        place = Arena(made, site, scenario, seconds=seconds, seed=seed, logs=logs)
        try:
            yield place
        finally:
            place.stack.close()
            _put_back(made)


def _put_back(made: Servers) -> None:
    """Leave both servers running, whatever a scenario broke off in."""
    for server in (made.postgres, made.valkey):
        if server is not None and (server.pid == 0 or server.has_died()):
            server.start()
