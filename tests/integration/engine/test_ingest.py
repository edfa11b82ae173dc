"""`ingest.emit_event` on real workers: another application's message is an event, once, whatever dies or goes away."""

from __future__ import annotations

import os
import signal
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import pytest
import redis
from celery import Celery

from dev.fleet import fleet
from dev.launch import wait_until
from engine import invariants
from tests.world import NOTIFY

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from dev.fleet import Fleet
    from dev.provider import Servers
    from dev.valkey import Valkey
    from tests.world import Org, World

EMIT = "ingest.emit_event"
GOOD: list[dict[str, Any]] = [{"field": "lead.score", "operator": ">=", "value": 50}]


@pytest.fixture
def foreign(celery: Celery) -> Iterator[Celery]:
    """Give the test an app that knows nothing of ours but the broker's address."""
    app = Celery("crm", broker=celery.conf.broker_url)
    options = dict(celery.conf.broker_transport_options)
    app.conf.update(broker_transport_options={"global_keyprefix": options.get("global_keyprefix", "")})
    yield app
    app.close()


def _org(world: World) -> Org:
    org = world.org()
    org.campaign()
    org.rule(GOOD, NOTIFY, trigger_type="event", event_type="lead.created", entity_type="event")
    return org


def _logs(running: Fleet) -> str:
    return "\n".join(member.log.read_text()[-3000:] for member in running.members)


def test_a_foreign_apps_message_is_an_event_and_a_message_that_makes_no_sense_is_refused(
    world: World, foreign: Celery, broker: Valkey, tmp_path: Path
) -> None:
    org = _org(world)
    payload = {"lead": {"score": 80}}
    told = foreign.send_task(EMIT, [str(org.id), "lead.created", payload], queue="ingest")
    for _ in range(5):
        foreign.send_task(EMIT, [str(org.id), "lead.created", payload], {"idempotency_key": "same"}, queue="ingest")
    for arguments, named in (
        ([], {}),
        (["x", "lead.created", {}], {}),
        ([str(uuid4()), "lead.created", {}], {}),
        ([str(org.id), "Lead Created", {}], {}),
        ([str(org.id), "lead.created", {"a": 1}], {"idempotency_key": "same"}),
        ([str(org.id), "lead.created", {}], {"occurred_at": "soon"}),
        ([str(org.id), "lead.created", {}], {"colour": "red"}),
    ):
        foreign.send_task(EMIT, arguments, named, queue="ingest")
    given = {"occurred_at": "2026-03-01T09:00:00+01:00", "source": "crm", "idempotency_key": "last"}
    foreign.send_task(EMIT, [str(org.id), "lead.created", {"lead": {"score": 10}}], given, queue="ingest")
    with fleet(1, 1, world.site.full_env(), tmp_path) as running:
        evaluated = "SELECT count(*) FROM cmis.automation_executions"
        assert wait_until(lambda: world.one(evaluated) == 3, 40), _logs(running)
        assert wait_until(lambda: _waiting(broker) == 0, 10), _logs(running)
        log = running.workers[0].log
        assert wait_until(lambda: log.read_text().count("refused an event") == 7, 10), _logs(running)
    rows = world.rows("SELECT * FROM cmis.automation_events ORDER BY idempotency_key")
    assert {row.idempotency_key for row in rows} == {told.id, "same", "last"}
    [last] = [row for row in rows if row.idempotency_key == "last"]
    assert (last.source, last.occurred_at.isoformat()) == ("crm", "2026-03-01T08:00:00+00:00")
    assert world.one("SELECT count(*) FROM cmis.notifications") == 2


@pytest.mark.exhaustive
def test_events_survive_workers_that_are_killed_and_a_database_that_goes_away(
    world: World, foreign: Celery, server: Servers, tmp_path: Path
) -> None:
    if server.postgres is None:
        pytest.skip("this test stops the database, and DATABASE_URL names one that is not ours")
    org = _org(world)
    many = 200
    with fleet(2, 1, world.site.full_env(), tmp_path) as running:
        for number in range(many):
            named = {"idempotency_key": f"lead-{number}"}
            foreign.send_task(EMIT, [str(org.id), "lead.created", {"lead": {"score": 80}}], named, queue="ingest")
        victim = running.workers[0]
        for child in _children(victim.pid):
            os.kill(child, signal.SIGKILL)
        server.postgres.crash()
        try:
            assert wait_until(lambda: "put an event back" in _logs(running), 20), _logs(running)
        finally:
            server.postgres.start()
        told = "SELECT count(*) FROM cmis.automation_events"
        assert wait_until(lambda: _count(world, told) == many, 60), _logs(running)
        evaluated = "SELECT count(*) FROM cmis.automation_executions WHERE status = 'success'"
        assert wait_until(lambda: _count(world, evaluated) == many, 60), _logs(running)
    assert world.one("SELECT count(DISTINCT entity_id) FROM cmis.notifications") == many
    assert {one.name: one.offenders for one in invariants.check(world.reader, drained=False) if one.offenders} == {}


def _count(world: World, query: str) -> int:
    try:
        return int(world.one(query))
    except Exception:  # noqa: BLE001 - whatever it says while it recovers
        return -1


def _children(pid: int) -> list[int]:
    with open(f"/proc/{pid}/task/{pid}/children", encoding="ascii") as file:  # noqa: PTH123 - a file of the kernel
        return [int(child) for child in file.read().split()]


def _waiting(broker: Valkey) -> int:
    with redis.Redis.from_url(broker.url) as client:
        return sum(int(client.llen(key)) for key in client.keys("ingest*"))
