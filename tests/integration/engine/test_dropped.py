"""What workers drop is counted, over their processes, and told to the database once."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest
from billiard.process import current_process
from sqlalchemy.exc import DBAPIError

from engine.store.dropped import count_dropped, dropped_messages
from models.queue_enums import Dropped
from tasks import dropped
from worker.dropping import Teller

if TYPE_CHECKING:
    from tests.world import World


def _counts(world: World) -> dict[str, int]:
    with world.reader.snapshot() as connection:
        return dropped_messages(connection)


def _in_child(number: int, reason: Dropped, *, times: int) -> None:
    """Be a worker's child with this number that drops messages and dies at once."""
    pid = os.fork()
    if pid:
        assert os.waitpid(pid, 0)[1] == 0
        return
    current_process().index = number
    for _ in range(times):
        dropped.count(reason)
    os._exit(0)


def test_children_and_those_that_replace_them_are_added_up() -> None:
    before = dropped.totals()
    assert set(before) == {reason.value for reason in Dropped}
    for number in (0, 1, 1, 255, 300):
        _in_child(number, Dropped.UNCLAIMED, times=3)
    dropped.count(Dropped.UNREADABLE)
    grown = {reason: count - before[reason] for reason, count in dropped.totals().items()}
    assert {reason: count for reason, count in grown.items() if count} == {"unclaimed": 15, "unreadable": 1}


def test_what_is_told_is_told_once_and_what_could_not_be_told_is_told_later(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    away = world.site.urls.on("is_not_there").app
    teller = Teller(away)
    teller._told = dropped.totals()
    teller.tell()
    assert caplog.text == ""
    dropped.count(Dropped.ARGUMENTS)
    teller.tell()
    assert "counted in the database later" in caplog.text
    dropped.count(Dropped.ARGUMENTS)
    teller._url = world.site.urls.app
    for _ in range(2):
        teller.tell()
    assert _counts(world) == {"arguments": 2}
    dropped.count(Dropped.REFUSED)
    teller.start()
    teller.end()
    assert _counts(world) == {"arguments": 2, "refused": 1}


def test_only_workers_count_and_only_known_reasons(world: World) -> None:
    with world.app.transaction(None) as connection:
        count_dropped(connection, {"unclaimed": 2, "refused": 0})
    assert _counts(world) == {"unclaimed": 2}
    with pytest.raises(DBAPIError, match="reason_check"), world.app.transaction(None) as connection:
        count_dropped(connection, {"nonsense": 1})
    with pytest.raises(DBAPIError, match="permission denied"), world.scheduler.transaction(None) as connection:
        count_dropped(connection, {"unclaimed": 1})
