"""Many tasks at once on the command line: all that match, whatever becomes of one; and what broke off is told."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from cli import task_decide
from core.ids import uuid7
from engine.control_tasks.discard import discard
from tests.unit.cli.running import Cmis

if TYPE_CHECKING:
    from uuid import UUID

    from dev.site import Site
    from engine.control_tasks.frame import Case, Dealt
    from tests.world import Org, World

END = "UPDATE cmis.tasks SET state = 'failed', finished_at = run_at, attempt = 1 WHERE task_id = %(id)s"
SPOIL = "UPDATE cmis.tasks SET payload = '{\"action_ids\": 7}' WHERE task_id = %(id)s"


@pytest.fixture
def org(world: World) -> Org:
    return world.org("Acme")


@pytest.fixture
def cmis(database: Site, capsys: pytest.CaptureFixture[str]) -> Cmis:
    return Cmis(capsys, {"DATABASE_URL": database.urls.app, "CMIS_ORG": "Acme", "COLUMNS": "400"})


@pytest.fixture
def pages(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a page be short, so that few tasks are many."""
    monkeypatch.setattr(task_decide, "PAGE", 2)


def failed(org: Org, count: int) -> list[UUID]:
    """Leave evaluations that failed, the newest last."""
    found = [org.world.enqueue({org.id: [org.rule()]}) for _ in range(count)]
    for task_id in found:
        org.world.meddle(END, id=task_id)
    return found


def test_an_unreadable_one_in_the_middle_fails_alone_and_the_exit_code_says_so(cmis: Cmis, org: Org) -> None:
    first, bad, last = failed(org, 3)
    org.world.meddle(SPOIL, id=bad)

    ended = cmis("tasks", "retry", "--state", "failed", "--yes", "--json")

    assert ended.code == 1
    assert [(row["task_id"], row["outcome"]) for row in json.loads(ended.out)] == [
        (str(last), "retried"),
        (str(bad), "failed"),
        (str(first), "retried"),
    ]
    shown = cmis("tasks", "show", str(bad))
    assert (shown.code, "cannot be read" in shown.out) == (0, True)
    refused = cmis("tasks", "retry", str(uuid7(org.world.now())), str(bad))
    assert (refused.code, "refused" in refused.out) == (1, True)
    assert [row["outcome"] for row in cmis("tasks", "discard", str(bad), "--reason", "no", "--json").json] == [
        "discarded"
    ]


@pytest.mark.usefixtures("pages")
def test_one_call_deals_with_all_pages_and_passes_over_what_was_dealt_with(cmis: Cmis, org: Org) -> None:
    tasks = failed(org, 5)
    cmis("tasks", "discard", str(tasks[-1]), str(tasks[-2]), str(tasks[-1]), "--reason", "seen")

    told = cmis("tasks", "discard", "--state", "failed", "--reason", "no", "--json")
    assert ([row["task_id"] for row in told.json], "3 match: the newest 2" in told.err) == (
        [str(tasks[2]), str(tasks[1])],
        True,
    )
    done = cmis("tasks", "discard", "--state", "failed", "--reason", "no", "--yes", "--json")

    assert [row["task_id"] for row in done.json] == [str(task_id) for task_id in tasks[2::-1]]
    assert {row["outcome"] for row in done.json} == {"discarded"}
    assert cmis("tasks", "discard", "--state", "failed", "--reason", "no", "--yes", "--json").json == []


@pytest.mark.usefixtures("pages")
def test_what_is_refused_or_stays_ready_is_met_once_and_keeps_nothing_behind_it(cmis: Cmis, org: Org) -> None:
    tasks = [org.world.enqueue({org.id: [org.rule()]}) for _ in range(5)]

    ended = cmis("tasks", "retry", "--state", "ready", "--yes", "--json")

    assert [row["task_id"] for row in json.loads(ended.out)] == [str(task_id) for task_id in tasks[::-1]]


@pytest.mark.usefixtures("pages")
def test_more_than_are_counted_are_at_least_so_many(cmis: Cmis, org: Org, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(task_decide, "_COUNTED", 3)
    failed(org, 5)
    for states in (["--state", "failed"], ["--state", "failed", "--state", "held"]):
        assert "at least 3 match: the newest 2" in cmis("tasks", "retry", *states, "--dry-run").err


@pytest.mark.usefixtures("pages")
@pytest.mark.parametrize("as_json", [True, False])
def test_an_outage_ends_the_call_after_it_told_what_was_done(
    cmis: Cmis, org: Org, monkeypatch: pytest.MonkeyPatch, *, as_json: bool
) -> None:
    tasks = failed(org, 5)

    def cut(case: Case) -> Dealt:
        if case.task_id == tasks[1]:
            case.connection.exec_driver_sql("SELECT pg_terminate_backend(pg_backend_pid())")
        return discard(case)

    monkeypatch.setattr(task_decide, "discard", cut)
    ended = cmis("tasks", "discard", "--state", "failed", "--reason", "no", "--yes", *["--json"][: int(as_json)])

    assert (ended.code, f"it ended at the task {tasks[1]}; 3 were dealt with before" in ended.err) == (1, True)
    assert "DATABASE_URL cannot be used" in ended.err
    if as_json:
        assert [row["task_id"] for row in json.loads(ended.out)] == [str(task_id) for task_id in tasks[:1:-1]]
    else:
        assert all(str(task_id) in ended.out for task_id in tasks[2:])
    assert [org.world.task(task_id).handled_as for task_id in tasks[:2]] == [None, None]
