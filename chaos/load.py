"""A steady load for the whole of a scenario, and the list of all that it asked for.

Each request is repeated until it is answered, under a name or key of its own: what the list holds was acknowledged, and
must be found afterwards, once. What was asked is told by a seed; when, by the clock.
"""

from __future__ import annotations

import logging
import random
import threading
from collections import Counter, deque
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Final, Literal, TypeAlias, TypeVar

import psycopg
from sqlalchemy.exc import SQLAlchemyError

from chaos.stage import REPLIED, TOLD
from core import clock
from core.db import ENGINE_ACTOR, Context
from core.errors import ConflictError, TransientError
from engine import emit, run_now
from engine.define_jobs import create_job
from engine.start_workflow import Start, start
from models.workflow_enums import InstanceTrigger

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from uuid import UUID

    from chaos.stage import Stage
    from tests.world import World

logger = logging.getLogger(__name__)

T = TypeVar("T")
Kind: TypeAlias = Literal["job", "run", "event", "workflow"]

LEAD: Final = timedelta(seconds=3)
"""How long after it is made a job is due."""
_WEIGHTS: Final[dict[Kind, int]] = {"job": 4, "run": 1, "event": 2, "workflow": 1}
_PAUSE: Final = 0.2
"""Seconds until a request is made again that the database did not answer."""
_REPLY_AFTER: Final = 1.0
_OUT_OF_REACH: Final = (SQLAlchemyError, psycopg.Error, OSError, TransientError)


@dataclass(frozen=True, slots=True)
class Asked:
    """One request that was acknowledged. `key` names what was made: a job's name, an execution's id, …."""

    n: int
    kind: Kind
    org_id: UUID
    key: str
    sure: bool
    """Whether it was made once for certain: a manual run has no key, so that one asked for twice may be there twice."""


@dataclass
class Load:
    """The thread that asks. `asked` is what was acknowledged, by number; stop it before reading."""

    world: World
    stages: Sequence[Stage]
    seed: int
    rate: float
    asked: list[Asked] = field(default_factory=list)
    repeated: Counter[str] = field(default_factory=Counter)
    """Requests that had to be made again, by kind."""
    broken: BaseException | None = None
    """What ended the thread, if it is not `stop`."""

    def __post_init__(self) -> None:
        self._chance = random.Random(self.seed)
        self._ending = threading.Event()
        self._due = 0.0
        self._replies: deque[tuple[float, int, Stage]] = deque()
        self._thread = threading.Thread(target=self._run, name="load", daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    @property
    def lives(self) -> bool:
        """Whether it is still at work, or not begun."""
        return self._thread.is_alive()

    def end(self) -> None:
        """Ask for nothing more, answer what waits, and let no minute fall due any more; it `lives` until then."""
        self._ending.set()

    def stop(self) -> None:
        """Say that it should have ended by now."""
        self.end()
        if self.lives:
            self.broken = self.broken or TimeoutError("it waits for the database still")

    def numbers(self, kind: Kind) -> list[Asked]:
        """Return what was asked of a kind."""
        return [one for one in self.asked if one.kind == kind]

    def pace(self, rate: float) -> None:
        """Ask at another rate from now on; what is behind is not made up for."""
        self.rate, self._due = rate, clock.monotonic()

    def _run(self) -> None:
        try:
            self._ask_on()
            for stage in self.stages:
                self._insist("close", stage.close)
        except BaseException as error:
            logger.exception("the load ended")
            self.broken = error

    def _ask_on(self) -> None:
        n, self._due = 0, clock.monotonic()
        while not self._ending.wait(max(0.0, self._due - clock.monotonic())):
            [kind] = self._chance.choices(list(_WEIGHTS), list(_WEIGHTS.values()))
            self._ask(n, kind, self._chance.choice(self.stages))
            self._reply(clock.monotonic())
            n, self._due = n + 1, self._due + 1 / self.rate
        self._reply(float("inf"))

    def _ask(self, n: int, kind: Kind, stage: Stage) -> None:
        before = self.repeated[kind]
        ask = {"job": self._job, "run": self._manual, "event": self._event, "workflow": self._workflow}[kind]
        key = self._insist(kind, lambda: ask(n, stage))
        if kind == "workflow":
            self._replies.append((clock.monotonic() + _REPLY_AFTER, n, stage))
        self.asked.append(Asked(n, kind, stage.org.id, key or "", kind != "run" or before == self.repeated[kind]))

    def _reply(self, until: float) -> None:
        """Tell the events that runs wait for, as far as it is time."""
        while self._replies and self._replies[0][0] <= until:
            _, n, stage = self._replies.popleft()
            event = emit.read(REPLIED, {"n": n}, idempotency_key=f"reply {n}")
            self._insist("reply", lambda event=event, stage=stage: self._emit(stage, event))  # type: ignore[misc]

    def _insist(self, what: str, ask: Callable[[], T]) -> T:
        """Ask until it is answered."""
        while True:
            try:
                return ask()
            except _OUT_OF_REACH as error:
                logger.info("asked again for a %s: %s", what, type(error).__name__)
                self.repeated[what] += 1
            threading.Event().wait(_PAUSE)

    def _job(self, n: int, stage: Stage) -> str:
        due = (datetime.now(UTC) + LEAD).replace(microsecond=0)
        name = f"job {n}"
        document = {"rule": str(stage.raising), "name": name, "schedule_type": "once", "start_date": due.isoformat()}
        try:
            create_job(self.world.app, stage.context, document)
        except ConflictError:  # its name is taken: the first time has arrived, though not its answer
            if not self.repeated["job"]:
                raise
        return name

    def _manual(self, _: int, stage: Stage) -> str:
        return str(run_now.queue_rule(self.world.app, stage.context, stage.raising).execution_id)

    def _event(self, n: int, stage: Stage) -> str:
        return self._emit(stage, emit.read(TOLD, {"n": n}, idempotency_key=f"event {n}"))

    def _emit(self, stage: Stage, event: emit.Event) -> str:
        return str(emit.emit(self.world.app, stage.context, event).event_id)

    def _workflow(self, n: int, stage: Stage) -> str:
        one = Start(stage.template_id, {"n": n}, InstanceTrigger.API, idempotency_key=f"run {n}")
        with self.world.app.transaction(Context(stage.org.id, ENGINE_ACTOR)) as connection:
            [started] = start(connection, stage.org.id, [one], now=clock.now(connection))
        return str(started.instance_id)
