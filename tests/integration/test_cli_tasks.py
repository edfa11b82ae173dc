"""Tasks on the command line: listed, shown, asked why, done again, given up; several at once only with --yes."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from core.db import ENGINE_ACTOR, Context
from core.ids import uuid7
from engine import rescue
from engine.store import tasks
from engine.store.processes import Beat, Identity, beat
from tests.unit.cli.running import Cmis

if TYPE_CHECKING:
    from uuid import UUID

    from dev.site import Site
    from tests.world import Org, World


@pytest.fixture
def org(world: World) -> Org:
    return world.org("Acme")


@pytest.fixture
def cmis(database: Site, capsys: pytest.CaptureFixture[str]) -> Cmis:
    given = {"DATABASE_URL": database.urls.app, "CMIS_ORG": "Acme", "COLUMNS": "400"}
    return Cmis(capsys, given | {"BROKER_URL": database.broker_url, "BROKER_PREFIX": database.broker_prefix})


def dead(org: Org) -> UUID:
    """Leave a dead letter."""
    task_id, now = org.world.enqueue({org.id: [org.rule()]}), org.world.now()
    org.world.meddle("UPDATE cmis.tasks SET max_attempts = 1 WHERE task_id = %(id)s", id=task_id)
    with org.world.app.transaction(Context(org.id, ENGINE_ACTOR)) as connection:
        assert tasks.claim(connection, org.id, task_id, worker="dying", now=now)
    org.world.meddle("UPDATE cmis.tasks SET lease_expires_at = '2000-01-01' WHERE task_id = %(id)s", id=task_id)
    assert rescue.reap(org.world.scheduler) == 1
    return task_id


def test_dead_letters_are_seen_and_dealt_with(cmis: Cmis, org: Org) -> None:
    first, second = str(dead(org)), str(dead(org))

    assert [row["task_id"] for row in cmis("tasks", "list", "--json").json] == [second, first]
    page = cmis("tasks", "list", "--limit", "1", "--json")
    assert (len(page.json), f"--after {second}" in page.err) == (1, True)
    assert [row["task_id"] for row in cmis("tasks", "list", "--after", second, "--json").json] == [first]
    assert "LOST" in cmis("tasks", "list").out
    shown = cmis("tasks", "show", first, "--json").json
    assert (shown["state"], len(shown["attempts"]), len(shown["carries"])) == ("dead", 1, 1)
    assert "payload" not in shown
    assert "Attempts" in cmis("tasks", "show", first).out
    assert cmis("tasks", "why", first, "--json").json["reasons"][0]["code"] == "dead"

    told = cmis("tasks", "retry", "--error", "LOST", "--json")
    assert {(row["outcome"], row["dry_run"]) for row in told.json} == {("retried", True)}
    assert "--yes" in told.err
    assert cmis("tasks", "list", "--json").json
    done = cmis("tasks", "retry", "--error", "LOST", "--yes", "--json").json
    assert {row["outcome"] for row in done} == {"retried"}
    assert cmis("tasks", "list", "--json").json == []
    assert cmis("tasks", "list", "--state", "dead", "--json").json[0]["handled_as"] == "retried"


def test_what_waits_is_asked_why_and_given_up(cmis: Cmis, org: Org) -> None:
    task_id = str(org.world.enqueue({org.id: [org.rule()]}))

    assert "is ready" in cmis("tasks", "why", task_id).out
    assert cmis("tasks", "discard", task_id, "--reason", "no", "--dry-run", "--json").json[0]["dry_run"]
    [done] = cmis("tasks", "discard", "--state", "ready", "--reason", "no", "--yes", "--json").json
    assert (done["task_id"], done["outcome"]) == (task_id, "cancelled")
    assert "It was cancelled: DISCARDED: given up: no." in cmis("tasks", "why", task_id).out


def test_why_says_that_nobody_is_alive_who_could_do_it(cmis: Cmis, database: Site, org: Org) -> None:
    task_id = str(org.world.enqueue({org.id: [org.rule()]}))
    seeing = Cmis(cmis.capsys, {**cmis.environ, "READONLY_DATABASE_URL": database.urls.readonly})

    def codes() -> list[str]:
        return [reason["code"] for reason in seeing("tasks", "why", task_id, "--json").json["reasons"]]

    assert codes() == ["unpublished", "no_scheduler", "no_worker"]
    for kind, queues in (("scheduler", ()), ("worker", ("rules", "workflows"))):
        identity = Identity(uuid7(org.world.now()), kind, "host", 1, "0", queues)
        with org.world.app.transaction(None) as connection:
            beat(connection, identity, Beat(None, 0.0, 0, "working", None))
    assert codes() == ["unpublished"]


def test_what_is_wrong_is_refused_with_a_remedy(cmis: Cmis, org: Org) -> None:
    unknown = str(uuid7(org.world.now()))
    for said, arguments in (
        ("TASK: 'x' is no id", ["show", "x"]),
        (f"there is no task {unknown}", ["why", unknown]),
        ("needs either TASKs or filters", ["retry"]),
        ("needs either TASKs or filters", ["retry", unknown, "--kind", "deliver"]),
        ("--reason", ["discard", unknown]),
        ("--reason: must be a text", ["discard", unknown, "--reason", " "]),
        ("--until: is before --since", ["list", "--since", "1h", "--until", "2h"]),
        ("there is no rule 'nope'", ["list", "--rule", "nope"]),
        ("--limit", ["list", "--limit", "201"]),
    ):
        ended = cmis("tasks", *arguments)
        assert (ended.code, said in ended.err) == (2, True), (arguments, ended.err)
    refused = cmis("tasks", "retry", unknown)
    assert (refused.code, "there is no task" in refused.out) == (2, True)
