"""One transaction's share of a task: what a worker decides at its desk, and how long it goes on."""

from __future__ import annotations

from dataclasses import dataclass, field
from math import ceil
from typing import TYPE_CHECKING, Any, Final

import orjson

from core import clock
from engine.run_workflow.desk import Desk
from engine.store import instances
from engine.workflows.reading import size_of

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime, timedelta
    from uuid import UUID

    from sqlalchemy import Connection

    from engine.run_workflow.came import Apart
    from engine.run_workflow.run import Run
    from engine.store.tasks import Claim

COMMIT_SECONDS: Final = 0.5
"""How long a transaction goes on executing steps."""
COMMIT_BYTES: Final = 8 * 1024 * 1024
"""Bytes of inputs and outputs, as JSON, after which a transaction executes no further step: they are one statement."""
MARGIN_SECONDS: Final = 15
"""What a task needs besides the time of a callable that it calls."""


@dataclass(slots=True)
class Turn(Desk):
    """One transaction's share of a task."""

    claim: Claim = field(kw_only=True)
    claimed: float = field(kw_only=True)
    """When the task was claimed, on the process's monotonic clock."""
    commit_steps: int = field(kw_only=True)
    since: float = field(default_factory=clock.monotonic)
    """When it had locked its instances: how long it has waited for them is no time that it kept others waiting."""
    executed: int = 0
    """Steps that were executed."""
    bytes: int = 0
    """What went into them and came out."""
    retry: tuple[timedelta, dict[str, Any]] | None = None
    """When the task is to be tried again, and why: its step is."""

    @classmethod
    def of(
        cls,
        connection: Connection,
        claim: Claim,
        now: datetime,
        claimed: float,
        commit_steps: int,
        *,
        begun: float | None = None,
    ) -> Turn:
        """Return the turn of a claimed task. `begun`: when `now` was read, if that was not just now."""
        read = clock.monotonic() if begun is None else begun
        return cls(connection, claim.org_id, now, begun=read, claim=claim, claimed=claimed, commit_steps=commit_steps)

    @property
    def task_id(self) -> UUID:
        """The task."""
        return self.claim.task_id

    @property
    def single(self) -> bool:
        """Whether the task carries one instance: its own retry is that of its step."""
        return len(self.claim.payload["items"]) == 1

    def is_full(self, run: Run) -> bool:
        """Whether it is time to commit what was decided about an instance.

        Nobody can pause, cancel or answer what is locked; but one step is always done.
        """
        spent = self.bytes >= COMMIT_BYTES or clock.monotonic() - self.since >= COMMIT_SECONDS
        return run.executed >= self.commit_steps or (spent and self.executed > 0)

    def weigh(self, *documents: Mapping[str, Any] | None) -> None:
        """Count what is to be written of a step."""
        self.bytes += sum(_size(one) for one in documents if one)

    def can_call(self, apart: Apart) -> bool:
        """Whether this task may call a callable apart: it keeps no other instance waiting, and has the time."""
        left = self.claim.timeout_seconds - (clock.monotonic() - self.claimed)
        return self.single and left >= apart.timeout + MARGIN_SECONDS

    @staticmethod
    def seconds_for(apart: Apart) -> int:
        """Return how long the task of a call of its own may take."""
        return ceil(apart.timeout) + 4 * MARGIN_SECONDS

    def context(self, run: Run) -> Mapping[str, Any]:
        """Return an instance's context; with it are read those of all others that the task carries."""
        if run.context is None:
            missing = [other.instance_id for other in self.runs.values() if other.context is None]
            for instance_id, found in instances.contexts(self.connection, self.org_id, missing).items():
                self.runs[instance_id].context = found
        return run.context or {}

    def resume(self, runs: Mapping[UUID, Run]) -> list[Run]:
        """Lock the instances of the transaction before this one; those that were written meanwhile are read anew.

        Returns the latter.
        """
        found = instances.lock(self.connection, self.org_id, list(runs))
        same = [row for row in found if row.revision == runs[row.instance_id].row.revision]
        for row in same:
            runs[row.instance_id].row = row
            self.runs[row.instance_id] = runs[row.instance_id]
        others = [row.instance_id for row in found if row.instance_id not in self.runs]
        self.lock(others)
        return [self.runs[instance_id] for instance_id in others]

    def hold(self, run: Run, item: Mapping[str, Any]) -> None:
        """Keep an item of a paused instance, and the steps that the task has of it, for when it goes on."""
        self.pass_on(run, item, state="held")

    def pass_on(self, run: Run, item: Mapping[str, Any], **others: Any) -> UUID:
        """Give an item, and the steps that this task has of its instance, to another task; they stay as they are.

        Returns that task.
        """
        task_id = self.carry(item, **others)
        for step_id in run.assigned(self.task_id):
            run.known(step_id).task_id = task_id
            self.assigned.append({"instance_id": run.instance_id, "step_id": step_id, "task_id": task_id})
        return task_id


def _size(document: Mapping[str, Any]) -> int:
    """Return its bytes as JSON, quickly: each step is weighed."""
    try:
        return len(orjson.dumps(document))
    except TypeError:  # an integer of more than 64 bits
        return size_of(document)
