"""One org floods, another asks for a little: what it asks for does not stand behind the flood, in any queue."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import pytest

from core.ids import uuid7
from dev.fleet import fleet
from dev.launch import wait_until
from engine import chunk, emit, invariants, run_now
from engine.store import tasks
from tests.posting import SECRET_KEYS, SIGNING, Desk

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path
    from uuid import UUID

    from dev.site import Site
    from tests.receiver.web import Receiver
    from tests.world import Org, World

FLOOD: Final = 4_000
"""Evaluations, each a task."""
CALLS: Final = 1_500
FEW: Final = 10
BETWEEN: Final = 500
"""So many of the flood, at most, end from the time when the few are asked for until the last of them has ended."""
NEVER: Final = [{"field": "spend", "operator": "<", "value": 0}]
_ENDED: Final = "SELECT count(*) FROM cmis.tasks WHERE org_id = :org AND kind = :kind AND state = 'succeeded'"
_BETWEEN: Final = """
WITH few AS (SELECT min(created_at) AS asked, max(finished_at) AS done FROM cmis.tasks WHERE task_id = ANY (:few))
SELECT (SELECT count(*) FROM cmis.tasks t WHERE t.org_id = :org AND t.finished_at BETWEEN few.asked AND few.done)
  FROM few"""
_OPEN: Final = "SELECT count(*) FROM cmis.tasks WHERE task_id = ANY (:ids) AND state <> 'succeeded'"


def _ended(world: World, org: Org, kind: str) -> int:
    return int(world.one(_ENDED, org=org.id, kind=kind))


def _check(world: World, flood: Org, few: Sequence[UUID]) -> None:
    """Wait until the few are done, and count what came between; then wait for nothing more: the flood may be long."""
    assert wait_until(lambda: world.one(_OPEN, ids=list(few)) == 0, 300)
    assert world.one(_BETWEEN, few=list(few), org=flood.id) <= BETWEEN
    broken = {one.name: one.offenders for one in invariants.check(world.reader, drained=False) if one.offenders}
    assert broken == {}


def test_evaluations_that_people_and_events_ask_for_do_not_stand_behind_anothers_flood(
    world: World, database: Site, tmp_path: Path
) -> None:
    flood, other = world.org("flood"), world.org("other")
    for org in (flood, other):
        org.campaign()
    _flood(flood, [flood.rule(NEVER, name=f"rule {number}") for number in range(20)])
    asked_for = [other.rule(NEVER, name=f"rule {number}") for number in range(FEW // 2)]
    other.rule(NEVER, name="told", trigger_type="event", event_type="asked")
    with fleet(1, 1, database.full_env(), tmp_path):
        assert wait_until(lambda: _ended(world, flood, "evaluate_rules") >= 100, 120)
        few = [run_now.queue_rule(world.app, other.context, rule_id).task_id for rule_id in asked_for]
        for number in range(FEW - len(few)):
            emit.emit(world.app, other.context, emit.read("asked", {"n": number}))
        few = [one for (one,) in world.rows("SELECT task_id FROM cmis.tasks WHERE org_id = :org", org=other.id)]
        assert len(few) == FEW
        _check(world, flood, few)
    assert _ended(world, flood, "evaluate_rules") < FLOOD  # the flood was there all the time


def _flood(org: Org, rule_ids: Sequence[UUID]) -> None:
    """Insert the flood's tasks, one evaluation each."""
    now = org.world.now()
    rows = []
    for number in range(FLOOD):
        item = chunk.Item(rule_ids[number % len(rule_ids)], uuid7(now), "manual")
        payload = chunk.payload([chunk.Group(org.id, (item,))])
        row = {"org_id": org.id, "task_id": uuid7(now), "kind": "evaluate_rules", "queue": "rules", "run_at": now}
        rows.append(row | {"payload": payload, "attempt": 0})
    with org.world.app.transaction(org.context) as connection:
        tasks.insert(connection, rows, now=now)


@pytest.mark.exhaustive
def test_deliveries_do_not_stand_behind_anothers_flood(
    world: World, database: Site, receiver: Receiver, tmp_path: Path
) -> None:
    flood, other = Desk(world.org("flood")), Desk(world.org("other"))
    for desk in (flood, other):
        desk.keep("signing", SIGNING)
    campaign = flood.org.campaign({})
    for number in range(CALLS):
        flood.webhook(f"{receiver.url}/flood", {"n": number}, entity_id=campaign)
    campaign = other.org.campaign({})
    given = {"CMIS_EGRESS_ALLOW": "127.0.0.1", "CMIS_SECRET_KEYS": SECRET_KEYS, "CMIS_ORG_DELIVERIES": "100000"}
    with fleet(0, 1, database.full_env() | given, tmp_path, deliveries=1):
        assert wait_until(lambda: _ended(world, flood.org, "deliver") >= 50, 120)
        few = [other.webhook(f"{receiver.url}/few", {"n": number}, entity_id=campaign) for number in range(FEW)]
        _check(world, flood.org, few)
    assert len(receiver.requests("/few")) == FEW
    assert _ended(world, flood.org, "deliver") < CALLS
