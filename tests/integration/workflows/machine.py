"""Runs of random workflows as a state machine: what workers, people, clocks and crashes do to them, in any order."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any, ClassVar, Final

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from core import clock
from core.db import ENGINE_ACTOR, Context
from core.errors import CmisError, PermanentError
from engine import emit, rescue
from engine.callables.base import Call, Registered
from engine.callables.outcome import run_here
from engine.control_workflows import approve, steps, switch
from engine.control_workflows.steering import Hand
from engine.run_workflow import service
from engine.run_workflow.work import GaveUp, NotClaimed
from engine.start_workflow import Start, start
from engine.store import instances, invariants, workflow_invariants
from models.workflow_enums import InstanceTrigger
from tests.stepping import Flow
from tests.unit.workflows.graphs import documents

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from uuid import UUID

    from engine.callables.outcome import Outcome
    from tests.world import World

ENDS: Final = ("completed", "failed", "skipped", "cancelled")
PICKS: Final = st.integers(0, 11)
"""Which of those that there are: what is drawn must not depend on what the database holds."""
EXPIRE: Final = "UPDATE cmis.tasks SET lease_expires_at = clock_timestamp() - interval '1 s' WHERE state = 'running'"
POINTS: Final = ("claimed", "before_commit", "committed", "called")
"""Where a worker may vanish (the fault points `workflow.…`)."""
KINDS: Final = ("call", "call", "call", "condition", "parallel", "merge", "delay", "approval", "event", "event")
"""All but weighted splits: which way an instance takes there follows from its id, and examples must be repeatable."""
SAID: Final = st.sampled_from(["yes", "no", None])
FAILS: Final = st.sampled_from([0, 0, 0, 0, 0, 1, 2, 9, -1])
"""How many attempts of a step fail; -1 = the first one, for good."""


class VanishedError(BaseException):
    """The worker is gone, as by SIGKILL: nothing that it would do at its end is done."""


def told(call: Call) -> Mapping[str, Any]:
    """Succeed or fail as the context says."""
    fails = call.context["fails"].get(call.step_id, 0)
    if fails < 0:
        raise PermanentError("it fails for good")
    if call.attempt <= fails:
        raise ValueError("it fails this time")
    return {"attempt": call.attempt}


CALLABLES: Final = {
    "test.told": Registered("test.told", told, internal=True),
    "test.apart": Registered("test.apart", told, internal=False),
}


class Machine(RuleBasedStateMachine):
    """One org and its runs. Whatever happens, the invariants hold; and at the end all runs come to theirs."""

    world: ClassVar[World]
    meanwhile: ClassVar[Callable[[], None] | None] = None
    """What happens while a callable is called apart."""
    dies_at: ClassVar[str | None] = None
    seen: ClassVar[Counter[str]] = Counter()
    """What happened, over all examples."""

    @classmethod
    def crash(cls, name: str) -> None:
        """Be `core.faults.crash` for the engine."""
        if cls.dies_at == name.removeprefix("workflow."):
            cls.dies_at = None
            cls.seen[f"vanished {name}"] += 1
            raise VanishedError

    @classmethod
    def run_apart(cls, registered: Registered, call: Call, *, timeout: float, stopped: Callable[[], bool]) -> Outcome:
        """Call in this process, and let something happen meanwhile."""
        del timeout, stopped
        came = run_here(registered, call)
        happens, cls.meanwhile = cls.meanwhile, None
        if happens is not None:
            happens()
        return came

    @initialize(data=st.data())
    def begin(self, data: st.DataObject) -> None:
        """Publish a workflow and start a few runs of it, together in one task or each in its own."""
        self.org = self.world.org(f"org {self.world.one('SELECT count(*) FROM cmis.orgs')}")
        self.hand = Hand(self.world.app, self.org.context, lambda _: None)
        self.attempts: dict[UUID, int] = {}
        calls = tuple(CALLABLES)
        document = data.draw(documents(least=3, most=7, kinds=KINDS, calls=calls), label="workflow")
        template_id = Flow(_Desk(self.org)).publish(*document["steps"])  # type: ignore[arg-type]
        names = [step["id"] for step in document["steps"]]
        starts = []
        for _ in range(data.draw(st.integers(1, 3), label="runs")):
            context: dict[str, Any] = {name: data.draw(SAID) for name in names}
            context = {name: value for name, value in context.items() if value is not None}
            context["fails"] = {name: data.draw(FAILS) for name in names}
            late = data.draw(st.sampled_from([None, None, 600.0]))
            starts.append(Start(template_id, context, InstanceTrigger.MANUAL, timeout_seconds=late))
        with self.world.app.transaction(Context(self.org.id, ENGINE_ACTOR)) as connection:
            made = start(connection, self.org.id, starts, now=clock.now(connection), sent=True)
        self.runs = [one.instance_id for one in made]

    def ready(self) -> Sequence[UUID]:
        """Return the tasks that can be claimed."""
        query = """SELECT task_id FROM cmis.tasks WHERE org_id = :org AND kind = 'run_workflow' AND state = 'ready'
                      AND run_at <= cmis.clock() ORDER BY task_id"""
        return [task_id for (task_id,) in self.world.rows(query, org=self.org.id)]

    def all_steps(self, *statuses: str) -> Sequence[Any]:
        """Return the steps of all runs, of these statuses."""
        query = "SELECT * FROM cmis.workflow_steps WHERE org_id = :org ORDER BY instance_id, position"
        return [one for one in self.world.rows(query, org=self.org.id) if not statuses or one.status in statuses]

    def all_runs(self) -> dict[UUID, Any]:
        """Return the runs."""
        query = "SELECT * FROM cmis.workflow_instances WHERE org_id = :org"
        return {one.instance_id: one for one in self.world.rows(query, org=self.org.id)}

    def open_runs(self) -> list[UUID]:
        """Return the runs that have not ended."""
        found = self.all_runs()
        return [one for one in self.runs if found[one].finished_at is None]

    def work(self, task_id: UUID, commit_steps: int = 1000) -> object:
        """Be a worker that gets a message; returns what it says, or None if it vanished."""
        try:
            result = service.run(
                self.world.app, self.org.id, task_id, worker="w", send=lambda _: None, commit_steps=commit_steps
            )
        except VanishedError:
            return None
        finally:
            Machine.dies_at = Machine.meanwhile = None
        assert not isinstance(result, GaveUp)
        return result

    def lose_leases(self) -> None:
        """Let the leases of all who work expire, and the reaper take their tasks."""
        self.world.meddle(EXPIRE)
        Machine.seen["reaped"] += rescue.reap(self.world.scheduler)

    def task(self, pick: int) -> UUID | None:
        """Return one of the tasks that can be claimed, if there is one."""
        found = self.ready()
        return found[pick % len(found)] if found else None

    @rule(pick=PICKS, few=st.sampled_from([1000, 1000, 1, 2]), again=st.booleans())
    def run_a_task(self, pick: int, few: int, again: bool) -> None:  # noqa: FBT001 - drawn
        """Run a task, whichever; then its message may come once more, and finds nothing."""
        task_id = self.task(pick)
        if task_id is None:
            return
        self.work(task_id, few)
        if again and self.world.task(task_id).state != "ready":
            assert self.work(task_id) == NotClaimed()

    @rule(few=st.sampled_from([1000, 1, 2]))
    def run_what_is_ready(self, few: int) -> None:
        """Run all tasks that are ready now, once."""
        for task_id in self.ready():
            self.work(task_id, few)

    @rule(
        pick=PICKS,
        point=st.sampled_from(POINTS),
        few=st.sampled_from([1000, 1]),
        later=st.booleans(),
        late=st.booleans(),
    )
    def vanish(self, pick: int, point: str, few: int, later: bool, late: bool) -> None:  # noqa: FBT001 - drawn
        """Let the worker of a task vanish somewhere, on a later delivery too; sooner or later the reaper notices."""
        task_id = self.task(pick)
        if task_id is None:
            return
        if later:
            self.world.meddle("UPDATE cmis.tasks SET delivery = 2 WHERE task_id = %(id)s", id=task_id)
        Machine.dies_at = point
        self.work(task_id, few)
        if not late:
            self.lose_leases()

    @rule()
    def reap(self) -> None:
        """Take tasks from who has vanished."""
        self.lose_leases()

    @rule(pick=PICKS)
    def stall(self, pick: int) -> None:
        """Let a worker stand still in a call beyond its lease: a successor goes on, and it writes nothing."""
        task_id, seen = self.task(pick), list[Any]()
        if task_id is None:
            return

        def stands_still() -> None:
            self.lose_leases()
            self.work(task_id)
            seen.append((self.all_steps(), self.all_runs()))

        Machine.meanwhile = stands_still
        result = self.work(task_id)
        if seen:
            Machine.seen["stalled"] += 1
            assert result == NotClaimed()
            assert seen == [(self.all_steps(), self.all_runs())]

    @rule(pick=PICKS, verb=st.sampled_from(["pause", "cancel", "resume"]))
    def steer_during_a_call(self, pick: int, verb: str) -> None:
        """Pause or cancel runs while a worker is in a call."""
        task_id = self.task(pick)

        def steered() -> None:
            for one in self.runs:
                self.steer(verb, one)

        if task_id is not None:
            Machine.meanwhile = steered
            self.work(task_id)

    def steer(self, verb: str, instance_id: UUID) -> None:
        """Do what a person does, who may be told that it cannot be done."""
        try:
            match verb:
                case "pause":
                    switch.pause(self.hand, instance_id)
                case "resume":
                    switch.resume(self.hand, instance_id)
                case _:
                    switch.cancel(self.hand, instance_id, reason="no longer")
        except CmisError:
            return
        Machine.seen[verb] += 1

    @rule(pick=PICKS, verb=st.sampled_from(["pause", "pause", "resume", "resume", "cancel"]))
    def steer_one(self, pick: int, verb: str) -> None:
        """Pause, resume or cancel a run."""
        self.steer(verb, self.runs[pick % len(self.runs)])

    @rule(pick=PICKS, approved=st.booleans(), twice=st.booleans())
    def answer(self, pick: int, approved: bool, twice: bool) -> None:  # noqa: FBT001 - drawn
        """Answer an approval, perhaps twice."""
        asked = [one for one in self.all_steps("waiting") if one.waits_for == "approval"]
        if asked:
            one = asked[pick % len(asked)]
            approve.approve(self.hand, one.instance_id, one.step_id, approved=approved)
            Machine.seen["answered"] += 1
            if twice:
                assert approve.approve(self.hand, one.instance_id, one.step_id, approved=approved).already

    @rule(pick=PICKS, twice=st.booleans())
    def happen(self, pick: int, twice: bool) -> None:  # noqa: FBT001 - drawn
        """Tell an event; its signal may come twice, or for a step that does not wait any more."""
        if pick and not [one for one in self.all_steps("waiting") if one.waits_for == "event"]:
            return  # a step that comes to wait takes what happened before: most shall wait for what happens after
        event = emit.read("thing.happened", {"n": 1})
        emitted = emit.emit(self.world.app, self.org.context, event)
        Machine.seen["woken"] += emitted.woken
        if twice:
            known = self.all_steps()
            one = known[pick % len(known)]
            signal = {"kind": "event", "event_id": str(emitted.event_id)}
            with self.world.app.transaction(Context(self.org.id, ENGINE_ACTOR)) as connection:
                now = clock.now(connection)
                instances.wake(connection, self.org.id, [(one.instance_id, one.step_id, signal)], now=now)

    @rule(minutes=st.integers(1, 4))
    def pass_time(self, minutes: int) -> None:
        """Let time pass: delays end, waits run out, retries come due."""
        self.world.advance(minutes=minutes)

    @rule(pick=PICKS, skipped=st.booleans())
    def mend(self, pick: int, skipped: bool) -> None:  # noqa: FBT001 - drawn
        """Retry or skip a failed step that a person must decide on."""
        if found := self.stopped():
            self.decide_on(found[pick % len(found)], skipped=skipped)

    def stopped(self) -> list[Any]:
        """Return the failed steps that wait for a person."""
        paused = {key for key, row in self.all_runs().items() if row.status == "paused"}
        return [one for one in self.all_steps("failed") if one.instance_id in paused and one.branch_taken is None]

    def decide_on(self, one: Any, *, skipped: bool) -> None:
        """Retry or skip a step."""
        if not skipped:
            steps.retry(self.hand, one.instance_id, one.step_id)
            Machine.seen["retried"] += 1
            return
        branch = {"condition": "true", "split": "all", "approval": "next"}.get(one.type)
        steps.skip(self.hand, one.instance_id, one.step_id, reason="not needed", branch=branch)
        Machine.seen["skipped"] += 1

    @invariant()
    def all_holds(self) -> None:
        """The invariants of runs hold after whatever has happened."""
        if not hasattr(self, "runs"):
            return
        with self.world.reader.snapshot() as connection:
            found = {name: invariants.offenders(connection, name) for name in workflow_invariants.CHECKS}
        assert {name: offenders for name, offenders in found.items() if offenders} == {}

    @invariant()
    def nothing_of_a_paused_run_begins(self) -> None:
        """While a run is paused no attempt of a step begins."""
        if not hasattr(self, "runs"):
            return
        paused = {key for key, row in self.all_runs().items() if row.status == "paused"}
        attempts = Counter[Any]()
        for one in self.all_steps():
            attempts[one.instance_id] += one.attempt
        for key in paused & self.attempts.keys():
            assert attempts[key] == self.attempts[key]
        self.attempts = {key: attempts[key] for key in paused}

    @invariant()
    def a_task_has_one_step_of_a_run(self) -> None:
        """A task executes one step of a run at a time: its own retry is that step's."""
        if not hasattr(self, "runs"):
            return
        query = """SELECT s.instance_id FROM cmis.workflow_steps s JOIN cmis.tasks t USING (org_id, task_id)
                    WHERE s.org_id = :org AND s.status IN ('queued', 'running', 'retrying')
                      AND t.state IN ('ready', 'held', 'running')
                    GROUP BY s.instance_id, s.task_id HAVING count(*) > 1"""
        assert self.world.rows(query, org=self.org.id) == []

    def go_on(self, **time: float) -> None:
        """Let time pass, and workers that live do what there is to do."""
        self.lose_leases()
        self.world.advance(**time)
        for task_id in self.ready():
            self.work(task_id)

    def teardown(self) -> None:
        """Let everything come to its end: nothing is stuck, and nothing is left over."""
        if not hasattr(self, "runs"):
            return
        for _ in range(60):
            if not self.open_runs():
                break
            for one in self.stopped():
                self.decide_on(one, skipped=True)
            for instance_id in self.open_runs():
                self.steer("resume", instance_id)
            self.go_on(minutes=5)
            self.all_holds()
        assert self.open_runs() == []
        for _ in range(3):
            self.go_on(days=1)
        left = "SELECT payload, run_at FROM cmis.tasks WHERE org_id = :org AND state IN ('ready', 'held', 'running')"
        assert self.world.rows(left, org=self.org.id) == []
        for row in self.all_runs().values():
            Machine.seen[f"run {row.status}"] += 1
            ended = row.steps_completed + row.steps_failed + row.steps_skipped + row.steps_cancelled
            assert ended == row.steps_total


class _Desk:
    """What `Flow` needs to publish."""

    def __init__(self, org: Any) -> None:
        self.org = org
