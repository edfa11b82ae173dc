"""Deliveries by real processes: none is lost or done twice though they die, and one that is down slows no other."""

from __future__ import annotations

import statistics
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from dev.fleet import Fleet, fleet
from dev.launch import wait_until
from engine import invariants
from tests.posting import SECRET_KEYS, SIGNING, Desk
from tests.receiver.web import Receiver

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path
    from uuid import UUID

    from dev.site import Site
    from tests.world import World

WEBHOOKS, SLACKS = 480, 20
FAULTS = "deliver.claimed=0.004x1,deliver.called=0.004x1,deliver.before_commit=0.004x1"
DELIVERERS = 2
OPEN = "SELECT count(*) FROM cmis.tasks WHERE kind = 'deliver' AND state IN ('ready', 'running')"
IDLE = 60
"""Deliveries of each measurement."""


def environ(database: Site, **more: str) -> dict[str, str]:
    given = {"CMIS_EGRESS_ALLOW": "127.0.0.1", "CMIS_SECRET_KEYS": SECRET_KEYS, "CMIS_ORG_DELIVERIES": "100000"}
    return database.full_env() | given | more


def desk_of(world: World, name: str) -> Desk:
    desk = Desk(world.org(name))
    desk.keep("signing", SIGNING)
    return desk


@pytest.mark.exhaustive
def test_500_deliveries_reach_their_receiver_once_by_key_though_workers_die(
    world: World, database: Site, receiver: Receiver, tmp_path: Path
) -> None:
    desk = desk_of(world, "Acme")
    campaign_id = desk.org.campaign({})
    for number in range(WEBHOOKS):
        desk.webhook(f"{receiver.url}/hook", {"n": number}, entity_id=campaign_id)
    for number in range(SLACKS):
        desk.hand_in("slack", {"url": f"{receiver.url}/slack", "text": f"message {number};"}, entity_id=campaign_id)

    with fleet(0, 1, environ(database, CMIS_FAULTS=FAULTS), tmp_path, deliveries=DELIVERERS) as running:
        done = wait_until(lambda: _drained(running, world), 150)
        assert done, [member.log.read_text()[-2000:] for member in running.members]
        died = sum(not member.is_alive() for member in running.deliverers)

    assert died > 0
    keys = {
        key for (key,) in world.rows("SELECT idempotency_key FROM cmis.automation_actions WHERE channel = 'webhook'")
    }
    assert {request.key for request in receiver.requests("/hook")} == keys
    assert {receiver.effects[key] for key in keys} == {1}
    states = dict(
        world.rows("SELECT status, count(*) FROM cmis.automation_actions WHERE channel = 'webhook' GROUP BY 1")
    )
    assert states == {"succeeded": WEBHOOKS}
    _check_messages(world, receiver)
    broken = {check.name: check.offenders for check in invariants.check(world.reader, drained=True) if check.offenders}
    assert broken == {}


def _check_messages(world: World, receiver: Receiver) -> None:
    """Messages of which nobody knows are left to people, on record; none was sent twice."""
    sent = [request.body.decode() for request in receiver.requests("/slack")]
    for action_id, status, text in world.rows(
        "SELECT action_id, status, after ->> 'text' FROM cmis.automation_actions WHERE channel = 'slack'"
    ):
        times = sum(text in body for body in sent)
        told = {
            a for (a,) in world.rows("SELECT action FROM cmis.automation_audit_log WHERE action_id = :id", id=action_id)
        }
        assert status in {"succeeded", "unknown"}
        assert (times, "action_taken" in told) == (1, True) if status == "succeeded" else times <= 1
        assert ("action_unknown" in told) == (status == "unknown")


def _drained(running: Fleet, world: World) -> bool:
    """Start a process for each that died, as a supervisor would, whose leases are over; True once all is decided."""
    for member in running.deliverers:
        if not member.is_alive():
            world.meddle(
                "UPDATE cmis.tasks SET lease_expires_at = clock_timestamp() WHERE lease_owner LIKE %(owner)s",
                owner=f"{member.name}@%",
            )
    while sum(member.is_alive() for member in running.deliverers) < DELIVERERS:
        running.start("deliveries")
    return int(world.one(OPEN)) == 0


@pytest.mark.exhaustive
def test_a_destination_that_hangs_does_not_slow_the_others(
    world: World, database: Site, receiver: Receiver, tmp_path: Path
) -> None:
    good = desk_of(world, "Good")
    down = desk_of(world, "Down")
    with fleet(0, 1, environ(database), tmp_path, deliveries=1):
        _deliver(world, good, receiver, warm := "/warm")
        idle = _p95(world, _deliver(world, good, receiver, "/idle"))
        with Receiver() as hanging:
            for _ in range(100):
                down.webhook(f"{hanging.url}/hangs")
            assert wait_until(lambda: len(hanging.log) > 0, 20)
            beside = _p95(world, _deliver(world, good, receiver, "/beside"))
    assert len(receiver.requests(warm)) == IDLE
    # a twentieth of a second is what a busy machine adds by chance to either
    assert beside <= 1.5 * idle + timedelta(milliseconds=50), (idle, beside)


def _deliver(world: World, desk: Desk, receiver: Receiver, path: str) -> Sequence[UUID]:
    """Hand in deliveries one after another, and wait until all are done."""
    campaign_id = desk.org.campaign({})
    tasks = [desk.webhook(f"{receiver.url}{path}", entity_id=campaign_id) for _ in range(IDLE)]
    query = "SELECT count(*) FROM cmis.tasks WHERE task_id = ANY (:ids) AND state = 'succeeded'"
    assert wait_until(lambda: world.one(query, ids=tasks) == IDLE, 60)
    return tasks


def _p95(world: World, tasks: Sequence[UUID]) -> timedelta:
    """Return within which time 95 of 100 were done."""
    query = "SELECT extract(epoch FROM finished_at - created_at) FROM cmis.tasks WHERE task_id = ANY (:ids)"
    seconds = [float(one) for (one,) in world.rows(query, ids=list(tasks))]
    return timedelta(seconds=statistics.quantiles(seconds, n=20)[-1])
