"""Heartbeat rows, and what `cmis health` makes of them."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from datetime import timedelta
from functools import partial
from http.client import HTTPConnection
from typing import TYPE_CHECKING, Any, Final
from uuid import UUID, uuid4

import psycopg
import pytest

from core.db import Database
from dev.fleet import fleet
from dev.launch import wait_until
from dev.site import ROOT, free_port
from engine import health, rescue
from engine.store import processes
from engine.store.dropped import count_dropped
from migrations.migrate import head
from tests.unit.cli.running import Cmis
from tests.world import NOTIFY, SPENT

if TYPE_CHECKING:
    from pathlib import Path

    from tests.world import Org, World

HEALTH: Final = [sys.executable, "-m", "cli.main", "health", "--json"]
QUEUES: Final = ("ingest", "maintenance", "rules", "workflows")


def beat(database: Database, identity: processes.Identity, **said: Any) -> None:
    values = {"claimed_ago": None, "polled_ago": None, "tasks": 0, "state": "working", "reason": None} | said
    with database.transaction(None) as connection:
        processes.beat(connection, identity, processes.Beat(**values))


def identity(kind: str, *queues: str) -> processes.Identity:
    return processes.Identity(uuid4(), kind, "host", 7, "0.1.0", queues)


def row(world: World, process_id: UUID) -> Any:
    [found] = world.rows("SELECT * FROM cmis.processes WHERE process_id = :id", id=process_id)
    return found


def look(world: World, *, broker: str | None = None) -> health.Health:
    return health.look(world.reader, head(), broker=broker, test_clock=False)


def serve_all(world: World) -> tuple[processes.Identity, processes.Identity, processes.Identity]:
    """Let one process of each kind be seen at work."""
    fleet = identity("worker", *QUEUES), identity("deliveries", "actions"), identity("scheduler")
    beat(world.app, fleet[0], polled_ago=1)
    beat(world.app, fleet[1], polled_ago=1)
    beat(world.scheduler, fleet[2], polled_ago=1)
    return fleet


def test_a_beat_tells_how_long_ago_things_were_and_keeps_the_start(world: World) -> None:
    one = identity("worker", "rules")
    beat(world.app, one)
    first = row(world, one.process_id)
    assert (first.claimed_at, first.polled_at, first.stopped_at, first.queues) == (None, None, None, ["rules"])
    beat(world.app, one, claimed_ago=30, polled_ago=0.5, tasks=9, state="waiting", reason="x" * 2_000)
    second = row(world, one.process_id)
    assert (second.started_at, second.tasks, second.state, len(second.reason)) == (first.started_at, 9, "waiting", 500)
    assert (second.seen_at - second.claimed_at).total_seconds() == pytest.approx(30, abs=0.001)
    assert (second.seen_at - second.polled_at).total_seconds() == pytest.approx(0.5, abs=0.001)
    beat(world.app, one, state="stopped", reason="ended as asked")
    assert row(world, one.process_id).stopped_at is not None


def test_who_was_not_seen_for_a_day_is_forgotten_when_somebody_starts(world: World) -> None:
    old, other = identity("scheduler"), identity("scheduler")
    beat(world.scheduler, old)
    beat(world.scheduler, other)
    world.meddle("UPDATE cmis.processes SET seen_at = seen_at - interval '25 h' WHERE process_id = %(id)s", id=old[0])
    beat(world.scheduler, other)
    assert world.one("SELECT count(*) FROM cmis.processes") == 2
    beat(world.scheduler, identity("scheduler"))
    assert world.one("SELECT count(*) FROM cmis.processes WHERE process_id = :id", id=old[0]) == 0
    assert world.one("SELECT count(*) FROM cmis.processes") == 2


def test_all_is_well_where_each_queue_has_somebody_and_nothing_is_late(world: World) -> None:
    serve_all(world)
    found = look(world)
    assert (found.problems, found.notes) == ((), ())
    assert [one.verdict for one in found.processes] == ["well"] * 3


def test_due_work_that_nobody_serves_and_the_want_of_a_scheduler_are_problems(world: World, org: Org) -> None:
    rule_id = org.rule(SPENT, NOTIFY)
    world.enqueue({org.id: [rule_id]})
    org.job(rule_id, due_for=timedelta(minutes=2))
    problems = "\n".join(look(world).problems)
    assert "no scheduler is alive" in problems
    assert "no process serves the queue rules, in which 1 tasks are due: start a worker with -Q rules" in problems
    assert "a job has been due for" in problems


def test_a_process_that_vanished_is_a_note_as_long_as_others_do_its_work(world: World) -> None:
    worker, _, scheduler = serve_all(world)
    serve_all(world)
    age = "UPDATE cmis.processes SET seen_at = seen_at - interval '1 min' WHERE process_id = %(id)s"
    world.meddle(age, id=worker.process_id)
    found = look(world)
    assert found.problems == ()
    [note] = found.notes
    assert re.fullmatch(r"the worker host:7 is lost: not seen for \d+ s", note)
    world.meddle("UPDATE cmis.processes SET seen_at = seen_at - interval '1 min' WHERE kind = 'scheduler'")
    assert any(problem.startswith("no scheduler is alive") for problem in look(world).problems)
    beat(world.scheduler, scheduler, polled_ago=0)
    assert look(world).problems == ()


@pytest.mark.parametrize(
    ("said", "verdict"),
    [
        ({"state": "stuck", "reason": "its loop does not turn"}, "is stuck: its loop does not turn"),
        ({"state": "waiting", "reason": "the broker is out of reach"}, "is waiting: the broker is out of reach"),
        ({"claimed_ago": 90, "polled_ago": 70}, r"is idle: neither took work nor asked for any for \d+ s"),
    ],
)
def test_what_a_process_says_of_itself_is_a_problem_with_its_reason(
    world: World, said: dict[str, Any], verdict: str
) -> None:
    one = serve_all(world)[0]
    world.meddle("UPDATE cmis.processes SET started_at = started_at - interval '5 min'")
    beat(world.app, one, **said)
    [problem] = look(world).problems
    assert re.fullmatch(f"the worker host:7 {verdict}", problem)


def test_one_that_works_without_asking_and_one_that_asks_without_work_are_well(world: World) -> None:
    worker, deliveries, _ = serve_all(world)
    world.meddle("UPDATE cmis.processes SET started_at = started_at - interval '5 min'")
    beat(world.app, worker, claimed_ago=5, polled_ago=300)
    beat(world.app, deliveries, claimed_ago=300, polled_ago=5)
    assert look(world).well


def test_late_tasks_the_broker_and_the_schema_are_told_of(world: World, org: Org) -> None:
    serve_all(world)
    world.enqueue({org.id: [org.rule(SPENT, NOTIFY)]})
    late = "UPDATE cmis.tasks SET run_at = run_at - interval '{0}', created_at = created_at - interval '{0}'"
    world.meddle(late.format("2 min"))
    assert re.match(r"in the queue rules 1 tasks are due, the oldest for 1\d\d s", look(world).problems[0])
    assert look(world, broker="refused").problems[0] == "the broker cannot be used: refused"
    behind = health.look(world.reader, "9999", broker=None, test_clock=False).problems[0]
    assert behind.startswith(f"the schema is at revision {head()}, and this program at 9999: run `cmis migrate`")


def test_a_shifted_clock_is_a_problem_unless_this_is_a_test(world: World) -> None:
    world.advance(hours=1)
    serve_all(world)
    assert look(world).problems[0].startswith("the clock is shifted")
    assert health.look(world.reader, head(), broker=None, test_clock=True).well


def cmis_health(capsys: pytest.CaptureFixture[str], env: dict[str, str]) -> tuple[int, Any]:
    done = Cmis(capsys, env)("health", "--json")
    assert done.out, done.err
    return done.code, json.loads(done.out)


def test_the_command_says_well_of_a_whole_fleet_and_what_is_wrong_once_its_scheduler_is_gone(
    world: World, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    port = free_port()
    env = world.site.full_env()
    with fleet(1, 0, env, tmp_path / "one") as running, fleet(0, 1, env, tmp_path / "two", deliveries=1) as others:
        wait_until(lambda: world.one("SELECT count(*) FROM cmis.processes WHERE polled_at IS NOT NULL") == 3, 60)
        code, said = cmis_health(capsys, env)
        assert (code, said["problems"], said["notes"]) == (0, [], [])
        assert {(one["kind"], tuple(one["queues"])) for one in said["processes"]} == {
            ("worker", QUEUES),
            ("deliveries", ("actions",)),
            ("scheduler", ()),
        }
        assert {one["pid"] for one in said["processes"]} == {one.pid for one in running.members + others.members}
        [scheduler] = others.schedulers
        scheduler.kill()
        world.meddle("UPDATE cmis.processes SET seen_at = seen_at - interval '1 min' WHERE kind = 'scheduler'")
        code, said = cmis_health(capsys, env)
        assert (code, said["well"]) == (1, False)
        assert said["problems"][0].startswith("no scheduler is alive")
        gone = env | {"BROKER_URL": f"redis://:hush@127.0.0.1:{port}/0"}
        asked = subprocess.run(HEALTH, cwd=ROOT, env=gone, capture_output=True, text=True, check=False)
        assert "the broker cannot be used" in json.loads(asked.stdout)["problems"][0]
    assert dict(world.rows("SELECT kind, state FROM cmis.processes")) == {
        "worker": "stopped",
        "deliveries": "stopped",
        "scheduler": "working",
    }


def test_a_database_that_is_away_is_a_problem_and_no_traceback(
    world: World, capsys: pytest.CaptureFixture[str]
) -> None:
    away = world.site.full_env() | {"READONLY_DATABASE_URL": "postgresql://cmis_readonly:hush@127.0.0.1:1/x"}
    code, said = cmis_health(capsys, away)
    assert (code, said["processes"]) == (1, [])
    assert "READONLY_DATABASE_URL cannot be used" in said["problems"][0]
    assert "hush" not in json.dumps(said)


def test_a_statement_that_takes_too_long_is_a_problem_and_no_traceback(
    world: World, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cli.health.Database", partial(Database, statement_seconds=1))
    cmis = Cmis(capsys, world.site.full_env() | {"CMIS_TEST_CLOCK": "1"})
    with psycopg.connect(world.site.urls.migration) as owner:
        owner.execute("LOCK TABLE cmis.processes")
        done = cmis("health", "--json")
    said = json.loads(done.out)
    assert (done.code, said["well"], said["processes"]) == (1, False, [])
    [problem] = said["problems"]
    assert problem.startswith("the database (READONLY_DATABASE_URL) took longer for a statement than its limit")


def test_a_real_worker_and_a_real_scheduler_answer_over_http(world: World, tmp_path: Path) -> None:
    ports = free_port(), free_port()
    envs = [world.site.full_env() | {"CMIS_HEALTH_PORT": str(port)} for port in ports]
    with fleet(1, 0, envs[0], tmp_path / "one"), fleet(0, 1, envs[1], tmp_path / "two"):
        for port, kind in zip(ports, ("worker", "scheduler"), strict=True):
            assert wait_until(lambda port=port: answer(port)[1]["state"] == "working", 60)  # type: ignore[misc]
            status, said = answer(port)
            assert (status, said["kind"], said["reasons"]) == (200, kind, [])
            assert world.one("SELECT count(*) FROM cmis.processes WHERE process_id = :id", id=said["process_id"]) == 1


def answer(port: int) -> tuple[int, Any]:
    connection = HTTPConnection("127.0.0.1", port, timeout=10)
    connection.request("GET", "/healthz")
    response = connection.getresponse()
    return response.status, json.loads(response.read())


def test_what_was_counted_is_told_and_is_no_problem(world: World, capsys: pytest.CaptureFixture[str]) -> None:
    serve_all(world)
    found = look(world)
    assert found.broker is not None
    assert (found.well, found.broker.losses, found.broker.lost_at, found.dropped) == (True, 0, None, {})
    for epoch in ("first", "second"):
        rescue.adopt_epoch(world.scheduler, epoch)
    with world.app.transaction(None) as connection:
        count_dropped(connection, {"unclaimed": 3, "arguments": 1})
    found = look(world)
    assert found.broker is not None
    assert (found.well, found.broker.losses, found.dropped) == (True, 1, {"arguments": 1, "unclaimed": 3})
    env = world.site.full_env()
    [told] = [line for line in Cmis(capsys, env)("health").out.splitlines() if "republished after broker loss" in line]
    assert "0 tasks (1 losses, the last " in told
    assert "counted messages dropped: 1 arguments, 3 unclaimed" in Cmis(capsys, env)("health").out.splitlines()
    _, document = cmis_health(capsys, env)
    assert (document["broker"]["losses"], document["dropped"]) == (1, {"arguments": 1, "unclaimed": 3})
