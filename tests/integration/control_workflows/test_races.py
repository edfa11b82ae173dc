"""People's verbs race with workers: no deadlock, nothing begins while a run is paused, nothing is done twice."""

from __future__ import annotations

import random
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from threading import Barrier
from typing import TYPE_CHECKING, Any

import pytest

from core.errors import ConflictError
from engine.control_workflows import steps, switch
from engine.control_workflows.approve import approve
from engine.control_workflows.fork import fork
from engine.control_workflows.migrate import Wanted, migrate
from tests.effort import some
from tests.integration.control_workflows.flows import approval, fails, noop, split

if TYPE_CHECKING:
    from collections.abc import Callable
    from uuid import UUID

    from tests.integration.control_workflows.flows import Flows

ROUNDS = some(50)
TOO_LATE = ("cannot be", "is completed", "is running", "is pending", "these steps failed")
DUE = "SELECT count(*) FROM cmis.tasks WHERE state IN ('held', 'ready') AND run_at <= cmis.clock()"
BEGUN_WHILE_PAUSED = """
SELECT s.instance_id, s.step_id FROM cmis.workflow_steps s
  JOIN cmis.automation_audit_log p ON p.entity_id = s.instance_id AND p.action = 'instance_paused'
   AND p.details ->> 'error' IS NULL
  JOIN LATERAL (SELECT min(created_at) AS at FROM cmis.automation_audit_log r
                 WHERE r.entity_id = p.entity_id AND r.action IN ('instance_resumed', 'instance_cancelled')
                   AND r.created_at >= p.created_at) r ON true
 WHERE s.started_at > p.created_at AND s.started_at < r.at
"""
ENDED_TWICE = """
SELECT entity_id, details ->> 'step' FROM cmis.automation_audit_log
 WHERE action IN ('step_completed', 'step_skipped', 'step_cancelled') GROUP BY 1, 2 HAVING count(*) > 1
"""
GRAPH = [
    split("fan", "a1", "b1", "c1"),
    *(noop(f"{one}{place}", f"{one}{place + 1}") for one in "abc" for place in (1, 2)),
    *(noop(f"{one}3", "join") for one in "abc"),
    noop("join", "last"),
    noop("last"),
]


@pytest.fixture(autouse=True)
def _deadlocks_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """Repeat no transaction after a conflict: it comes out, and fails the test."""
    monkeypatch.setattr("core.db._REPEATABLE", frozenset())


def race(flows: Flows, *others: Callable[[], Any]) -> None:
    """Let two workers go through what is ready while each of the others does its part; errors come out."""
    barrier = Barrier(2 + len(others))
    chance = random.Random(flows.world.now().timestamp())  # noqa: S311 - for other interleavings each time

    def worker() -> None:
        barrier.wait()
        for _ in range(6):
            ready = flows.ready()
            chance.shuffle(ready)
            for task_id in ready:
                flows.run(task_id)

    def person(verb: Callable[[], Any]) -> None:
        barrier.wait()
        verb()

    with ThreadPoolExecutor(2 + len(others)) as pool:
        found = [pool.submit(worker), pool.submit(worker), *(pool.submit(person, verb) for verb in others)]
        for each in found:
            each.result()


def unless_over(verb: Callable[[], Any]) -> Callable[[], Any]:
    """Return a verb that does not mind that it came too late."""

    def tried() -> None:
        try:
            verb()
        except ConflictError as error:
            if not any(said in str(error) for said in TOO_LATE):
                raise

    return tried


def settled(flows: Flows, *wanted: str) -> None:
    """Finish what is left, and hold the rows against each other."""
    flows.work()
    flows.check()
    found = {row.status for row in flows.world.rows("SELECT DISTINCT status FROM cmis.workflow_instances")}
    assert found <= set(wanted)
    assert flows.world.rows(BEGUN_WHILE_PAUSED) == []
    assert flows.world.rows(ENDED_TWICE) == []
    assert flows.world.one(DUE) == 0


def test_pause_and_resume_race_with_workers(flows: Flows) -> None:
    template_id = flows.template(*GRAPH)
    for _ in range(ROUNDS):
        run = flows.start(template_id)
        race(flows, unless_over(partial(switch.pause, flows.hand, run)))
        before = flows.snapshot(run)
        flows.work()
        if before[0].status == "paused":
            assert states(flows.snapshot(run)[1]) == states(before[1])
            race(flows, partial(switch.resume, flows.hand, run))
    settled(flows, "completed")


def states(rows: list[Any]) -> list[tuple[Any, ...]]:
    """Return what steps are; their tasks may change hands."""
    return [(row.step_id, row.status, row.attempt) for row in rows]


def test_cancelling_races_with_workers_and_with_pausing(flows: Flows) -> None:
    template_id = flows.template(*GRAPH)
    for _ in range(ROUNDS):
        run = flows.start(template_id)
        cancel = partial(switch.cancel, flows.hand, run, reason="race")
        race(flows, unless_over(cancel), unless_over(partial(switch.pause, flows.hand, run)))
        ended = flows.snapshot(run)
        assert ended[0].status in {"cancelled", "completed"}
        flows.work()
        assert flows.snapshot(run) == ended
    settled(flows, "cancelled", "completed")


def test_two_answers_race_and_one_is_taken(flows: Flows) -> None:
    ask = approval("ask", "yes", rejected_next="no")
    template_id = flows.template(split("fan", "ask", "b"), ask, noop("yes"), noop("no"), noop("b"))
    for _ in range(ROUNDS):
        run = flows.start(template_id)
        flows.work()
        given: list[bool] = []
        answers = [partial(answer, flows, run, given, approved=approved) for approved in (True, False)]
        race(flows, *answers, unless_over(partial(switch.pause, flows.hand, run)))
        if flows.instance(run).status == "paused":
            switch.resume(flows.hand, run)
        flows.work()
        [approved] = given
        assert flows.statuses(run)["yes" if approved else "no"] == "completed"
    settled(flows, "completed")


def answer(flows: Flows, run: UUID, given: list[bool], *, approved: bool) -> None:
    """Answer, and keep the answer if it was the first."""
    try:
        approve(flows.hand, run, "ask", approved=approved)
    except ConflictError as error:
        if not any(said in str(error) for said in ("was approved by", "was rejected by")):
            raise
    else:
        given.append(approved)


def test_skipping_races_with_the_step_itself(flows: Flows) -> None:
    template_id = flows.template(*GRAPH)
    for _ in range(ROUNDS):
        run = flows.start(template_id)
        skip = partial(steps.skip, flows.hand, run, reason="race")
        race(flows, unless_over(partial(skip, "fan", branch="all")), unless_over(partial(skip, "b1")))
    settled(flows, "completed")


def test_retrying_races_with_a_second_retry_and_with_resuming(flows: Flows) -> None:
    template_id = flows.template(fails("a", "b", on_failure="pause"), noop("b"))
    for _ in range(ROUNDS):
        flows.broken = {"a"}
        run = flows.start(template_id)
        flows.work()
        flows.broken = set()
        retry = unless_over(partial(steps.retry, flows.hand, run, "a"))
        race(flows, retry, retry, unless_over(partial(switch.resume, flows.hand, run)))
        flows.work()
        assert (flows.instance(run).status, flows.step(run, "a").attempt) == ("completed", 2)
        assert len(flows.entries(run, "step_retried")) == 1
    settled(flows, "completed")


def test_forking_and_migrating_race_with_workers(flows: Flows) -> None:
    template_id = flows.template(*GRAPH)
    flows.publish(template_id, 2, *GRAPH[:-1], noop("last", "after"), noop("after"))
    for _ in range(ROUNDS):
        run = flows.start(template_id)
        move = partial(migrate, flows.hand, Wanted(template_id, 2, version=1))
        race(flows, partial(fork, flows.hand, run, "fan"), move)
        flows.work()
        row = flows.instance(run)
        assert (row.status, row.steps_total) == ("completed", 13 if row.version == 2 else 12)
    settled(flows, "completed")
