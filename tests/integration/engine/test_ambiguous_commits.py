"""The connection ends during a COMMIT: whether it happened is found out, and it is neither repeated nor forgotten."""

from __future__ import annotations

import signal
from typing import TYPE_CHECKING, Any

import pytest
from celery.exceptions import SoftTimeLimitExceeded
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from core.commits import CommitUnknownError
from core.db import Database, is_outage, sqlstate
from engine.run_rules import service, work
from engine.store import tasks
from tests.cutting import Cut, Cutter
from tests.world import NOTIFY, SPENT

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from uuid import UUID

    from tests.world import Org, World

NOTE = text("UPDATE cmis.campaigns SET name = 'noted'")
EXECUTIONS = "SELECT count(*) FROM cmis.automation_executions"
ATTEMPTS = "SELECT outcome FROM cmis.task_attempts ORDER BY fence"


@pytest.fixture
def cutter(world: World) -> Iterator[Cutter]:
    """Give the test a line to the database that it can cut."""
    with Cutter(world.site.urls.app) as made:
        yield made


@pytest.fixture
def behind(cutter: Cutter) -> Iterator[Database]:
    """Give the test the database at the end of that line, as a worker has it."""
    made = Database(cutter.url, variable="DATABASE_URL", application="cut")
    yield made
    made.close()


@pytest.fixture
def certain(cutter: Cutter) -> Iterator[Database]:
    """Give the test the database at the end of that line, as a command has it."""
    made = Database(cutter.url, variable="DATABASE_URL", application="cut", certain=True)
    yield made
    made.close()


@pytest.fixture
def task_id(world: World, org: Org) -> UUID:
    """Give the test a task of one evaluation."""
    org.campaign()
    return world.enqueue({org.id: [org.rule(SPENT, NOTIFY)]})


def note(database: Database, org: Org, *, last: Callable[[], None] = lambda: None) -> None:
    """Write something in one transaction, as a command does."""
    org.campaign()
    with database.transaction(org.context) as connection:
        connection.execute(NOTE)
        last()


def noted(world: World) -> bool:
    """Tell whether it is there."""
    return bool(world.one("SELECT name = 'noted' FROM cmis.campaigns"))


def test_a_first_delivery_whose_commit_was_not_answered_is_done_and_says_so(
    world: World, org: Org, cutter: Cutter, behind: Database, task_id: UUID
) -> None:
    cutter.arm(Cut.UNANSWERED)
    assert service.run(behind, org.id, task_id, worker="w") == work.Finished(evaluated=1, retried=0)
    assert cutter.cuts == 1
    assert (world.task(task_id).state, world.one(EXECUTIONS)) == ("succeeded", 1)


def test_a_first_delivery_whose_commit_was_not_heard_is_an_outage_and_left_to_the_row(
    world: World, org: Org, cutter: Cutter, behind: Database, task_id: UUID
) -> None:
    cutter.arm(Cut.UNHEARD)
    with pytest.raises(DBAPIError) as caught:
        service.run(behind, org.id, task_id, worker="w")
    assert is_outage(caught.value)
    assert not isinstance(caught.value, CommitUnknownError)
    assert (world.task(task_id).state, world.one(EXECUTIONS)) == ("ready", 0)
    assert service.run(behind, org.id, task_id, worker="w") == work.Finished(evaluated=1, retried=0)


def test_a_claim_whose_commit_was_not_answered_is_ours_and_gone_on_with(
    world: World, org: Org, cutter: Cutter, behind: Database, task_id: UUID
) -> None:
    world.meddle("UPDATE cmis.tasks SET delivery = 2")
    cutter.arm(Cut.UNANSWERED)
    assert service.run(behind, org.id, task_id, worker="w") == work.Finished(evaluated=1, retried=0)
    assert cutter.cuts == 1
    assert world.rows(ATTEMPTS) == [("succeeded",)]


def test_the_end_of_a_claim_whose_commit_was_not_answered_is_not_written_again(
    world: World, org: Org, cutter: Cutter, behind: Database, task_id: UUID, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.meddle("UPDATE cmis.tasks SET delivery = 2")
    finish = tasks.finish
    for cut, expected in ((Cut.UNHEARD, work.Retrying), (Cut.UNANSWERED, work.Finished)):

        def then_cut(*args: Any, cut: Cut = cut, **others: Any) -> bool:
            cutter.arm(cut)
            return finish(*args, **others)

        with monkeypatch.context() as armed:
            armed.setattr(tasks, "finish", then_cut)
            done = service.run(behind, org.id, task_id, worker="w")
        assert isinstance(done, expected)
        world.meddle("UPDATE cmis.tasks SET run_at = cmis.clock() WHERE state = 'ready'")
    assert world.rows(ATTEMPTS) == [("failed",), ("succeeded",)]
    assert world.one(EXECUTIONS) == 1


@pytest.fixture
def told() -> Iterator[list[BaseException]]:
    """Let SIGUSR1 raise what the test puts in, wherever its thread is: so do a pool's time limit and a shutdown."""
    raised: list[BaseException] = []

    def handler(_number: int, _frame: object) -> None:
        raise raised[0]

    before = signal.signal(signal.SIGUSR1, handler)
    yield raised
    signal.signal(signal.SIGUSR1, before)


def test_a_commit_that_the_time_limit_interrupts_is_looked_up(
    world: World, org: Org, cutter: Cutter, behind: Database, task_id: UUID, told: list[BaseException]
) -> None:
    told.append(SoftTimeLimitExceeded())
    cutter.arm(Cut.STALLED)
    assert service.run(behind, org.id, task_id, worker="w") in (
        work.Finished(evaluated=1, retried=0),
        work.NotClaimed(),
    )
    assert cutter.cuts == 1
    assert (world.task(task_id).state, world.one(EXECUTIONS), world.rows(ATTEMPTS)) == (
        "succeeded",
        1,
        [("succeeded",)],
    )


def test_a_commit_that_a_shutdown_interrupts_is_found_done_by_the_next_message(
    world: World, org: Org, cutter: Cutter, behind: Database, task_id: UUID, told: list[BaseException]
) -> None:
    told.append(SystemExit(1))
    cutter.arm(Cut.STALLED)
    with pytest.raises(SystemExit):
        service.run(behind, org.id, task_id, worker="w")
    assert cutter.cuts == 1
    assert service.run(behind, org.id, task_id, worker="w") == work.NotClaimed()
    assert (world.task(task_id).state, world.one(EXECUTIONS)) == ("succeeded", 1)


def test_where_nobody_answers_afterwards_it_is_said_that_nobody_knows(
    world: World, org: Org, cutter: Cutter, certain: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("core.commits._PAUSES", (0.0, 0.1))
    cutter.arm(Cut.UNANSWERED)
    with pytest.raises(CommitUnknownError) as caught:
        note(certain, org, last=cutter.refuse)
    assert is_outage(caught.value)
    assert noted(world)


def test_a_command_whose_commit_was_not_answered_is_done(
    world: World, org: Org, cutter: Cutter, certain: Database
) -> None:
    cutter.arm(Cut.UNANSWERED)
    note(certain, org)
    assert noted(world)


def test_a_command_whose_commit_was_not_heard_has_done_nothing_and_says_so(
    world: World, org: Org, cutter: Cutter, certain: Database
) -> None:
    cutter.arm(Cut.UNHEARD)
    with pytest.raises(DBAPIError) as caught:
        note(certain, org)
    assert is_outage(caught.value)
    assert not isinstance(caught.value, CommitUnknownError)
    assert not noted(world)


def test_a_transaction_that_only_read_is_done_whatever_became_of_its_commit(
    org: Org, cutter: Cutter, certain: Database
) -> None:
    cutter.arm(Cut.UNHEARD)
    with certain.transaction(org.context) as connection:
        assert connection.exec_driver_sql("SELECT count(*) FROM cmis.campaigns").scalar_one() == 0
    assert cutter.cuts == 1


def test_what_the_server_refuses_at_the_commit_is_refused(org: Org, certain: Database) -> None:
    with pytest.raises(DBAPIError) as caught:
        _break_at_commit(certain, org)
    assert sqlstate(caught.value) == "23505"


def _break_at_commit(database: Database, org: Org) -> None:
    with database.transaction(org.context) as connection:
        connection.exec_driver_sql("CREATE TEMPORARY TABLE once (a int UNIQUE DEFERRABLE INITIALLY DEFERRED)")
        connection.exec_driver_sql("INSERT INTO once VALUES (1), (1)")
