"""Real worker and scheduler processes: their work, their end, and what they must survive."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import pytest
import redis

from core.clock import monotonic
from dev.fleet import fleet
from dev.launch import wait_until
from engine import invariants
from engine.store import activity
from engine.store.dropped import dropped_messages
from tests.acceptance.load import create_due_org
from tests.world import NOTIFY, SPENT

if TYPE_CHECKING:
    from celery import Celery

    from dev.fleet import Fleet, Member
    from dev.provider import Servers
    from dev.valkey import Valkey
    from tests.world import Org, World

EVALUATE = "automation.evaluate_rules"


def _pending(world: World) -> int:
    with world.reader.snapshot() as connection:
        return activity.pending(connection)


def _drained(world: World, seconds: float = 40) -> bool:
    return wait_until(lambda: _pending(world) == 0, seconds)


def _end(member: Member) -> tuple[int, float]:
    """Ask a process to end; its exit code, and how long it took."""
    started = monotonic()
    os.kill(member.pid, signal.SIGTERM)
    assert wait_until(lambda: not member.is_alive(), 30), member.log.read_text()[-3000:]
    return member.process.wait(), monotonic() - started


def test_messages_that_make_no_sense_are_dropped_and_a_due_job_is_done_by_the_same_worker(
    world: World, celery: Celery, broker: Valkey, tmp_path: Path
) -> None:
    north, south = world.org("north"), world.org("south")
    campaign = north.campaign()
    theirs = str(world.enqueue({north.id: [north.rule(SPENT, NOTIFY)]}))
    world.meddle("UPDATE cmis.tasks SET publish_at = publish_at + interval '1 h'")
    with fleet(1, 0, world.site.full_env(), tmp_path) as running:
        [worker] = running.workers
        children = _children(worker)
        for arguments in ([], ["a", "b"], [str(uuid4()), theirs], [str(south.id), theirs], [None, {"x": 1}, 3]):
            celery.send_task(EVALUATE, arguments, queue="rules")
        celery.send_task(EVALUATE, [str(north.id)], {"task_id": theirs}, queue="rules")
        celery.send_task(EVALUATE, [str(north.id), theirs], queue="rules", serializer="pickle")
        celery.send_task("automation.no_such_task", [], queue="rules")
        _push(broker, {"body": "%%%", "headers": {}, "content-type": "application/json", "properties": {}})
        job = north.job(north.rule())
        running.start("scheduler")
        running.await_ready()
        done = "SELECT count(*) FROM cmis.automation_executions WHERE job_id = :job"
        assert wait_until(lambda: world.one(done, job=job) == 1, 30), worker.log.read_text()[-4000:]
        assert wait_until(lambda: _length(broker) == 0, 10)
        assert worker.is_alive()
        assert _children(worker) == children
        log = worker.log.read_text()
        assert [_end(member)[0] for member in running.members] == [0, 0]
    assert log.count("dropped a message") >= 5
    assert "there is no org" in log
    with world.reader.snapshot() as connection:
        counts = dropped_messages(connection)
    assert counts == {"arguments": 4, "unclaimed": 1, "unknown_org": 1, "unknown_task": 1, "unreadable": 2}
    assert north.campaign_row(campaign).status == "paused"
    assert world.one("SELECT state FROM cmis.tasks WHERE task_id = :id", id=theirs) == "ready"


def _push(broker: Valkey, message: dict[str, Any]) -> None:
    with redis.Redis.from_url(broker.url) as client:
        delivery = {"delivery_tag": "t", "delivery_info": {"exchange": "", "routing_key": "rules"}, "priority": 0}
        properties = delivery | {"body_encoding": "base64"}
        client.lpush("rules", json.dumps(message | {"properties": properties}))


def _length(broker: Valkey) -> int:
    with redis.Redis.from_url(broker.url) as client:
        return sum(int(client.llen(key)) for key in client.keys("rules*"))


def _children(member: Member) -> set[str]:
    return set(Path(f"/proc/{member.pid}/task/{member.pid}/children").read_text(encoding="ascii").split())


def test_a_worker_that_is_asked_to_end_under_load_ends_with_0_and_nothing_is_lost(world: World, tmp_path: Path) -> None:
    for number in range(6):
        create_due_org(world.app, f"org {number}", rules_=25, jobs_per_rule=10)
    evaluated = "SELECT count(*) FROM cmis.automation_executions"
    with fleet(2, 1, world.site.full_env(), tmp_path) as running:
        first, second = running.workers
        assert wait_until(lambda: bool(world.one(evaluated)), 30)
        assert _end(first)[0] == 0
        assert _drained(world), second.log.read_text()[-3000:]
        assert all(_end(one)[0] == 0 for one in (second, *running.schedulers))
        assert "Traceback" not in first.log.read_text() + second.log.read_text()
    assert world.one(evaluated) == 6 * 250
    broken = {one.name: one.offenders for one in invariants.check(world.reader, drained=True) if one.offenders}
    assert broken == {}


def test_processes_survive_a_database_and_a_broker_that_go_away_and_come_back(
    world: World, org: Org, server: Servers, broker: Valkey, tmp_path: Path
) -> None:
    if server.postgres is None:
        pytest.skip("this test stops the database, and DATABASE_URL names one that is not ours")
    org.campaign()
    with fleet(1, 2, world.site.full_env(), tmp_path) as running:
        staying, leaving = running.schedulers
        server.postgres.crash()
        try:
            broker.kill()
            for one in running.schedulers:
                assert wait_until(lambda one=one: "trying again" in one.log.read_text(), 15), one.log.read_text()  # type: ignore[misc]
            code, seconds = _end(leaving)
            assert code == 0
            assert seconds < 5  # the interpreter's own end included
        finally:
            server.postgres.start()
        broker.start()
        assert wait_until(lambda: _answers(world), 20)
        job = org.job(org.rule(SPENT, NOTIFY))
        back = monotonic()
        done = "SELECT count(*) FROM cmis.automation_executions WHERE job_id = :job"
        assert wait_until(lambda: world.one(done, job=job) == 1, 30), _logs(running)
        assert monotonic() - back < 20, _logs(running)
        assert staying.is_alive()
        assert staying.log.read_text().count("Traceback") == 0, staying.log.read_text()
        assert [_end(member)[0] for member in (staying, *running.workers)] == [0, 0]


def _logs(running: Fleet) -> str:
    return "\n".join(member.log.read_text()[-3000:] for member in running.members)


def _answers(world: World) -> bool:
    try:
        return bool(world.one("SELECT 1"))
    except Exception:  # noqa: BLE001 - whatever it says while it recovers
        return False


def test_a_scheduler_that_waits_ends_within_a_second_of_being_asked(world: World, tmp_path: Path) -> None:
    with fleet(0, 1, world.site.full_env(), tmp_path) as running:
        [scheduler] = running.schedulers
        code, seconds = _end(scheduler)
        assert code == 0
        assert seconds < 2  # half a second of waiting, and the interpreter's own end
        assert "Traceback" not in scheduler.log.read_text()
