"""Statements straight to the driver: savepoints, arrays of ids, and the cursors that a connection keeps."""

from __future__ import annotations

from typing import TYPE_CHECKING
from uuid import UUID

import pytest
from sqlalchemy import bindparam, text
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.exc import DBAPIError
from sqlalchemy.types import Uuid

from core import driver

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from tests.world import World

_IDS = text("SELECT one FROM unnest(:ids) AS one").bindparams(bindparam("ids", type_=ARRAY(Uuid())))
_DIVIDED = text("SELECT 6 / :by AS quotient")
_MAKE = text("CREATE TEMP TABLE made (n integer) ON COMMIT DROP")
_INSERT = text("INSERT INTO made VALUES (:n)")
_MADE = text("SELECT n FROM made ORDER BY n")


def _made(connection: Connection) -> list[int]:
    return [row.n for row in driver.rows(connection, _MADE, {})]


@pytest.mark.parametrize("count", [0, 1, 3])
def test_ids_come_back_as_they_were_sent(world: World, count: int) -> None:
    ids = [UUID(int=2**127 + n) for n in range(count)]
    with world.app.transaction(None) as connection:
        assert [row.one for row in driver.rows(connection, _IDS, {"ids": ids})] == ids


def test_rows_that_were_read_stay_when_their_statement_is_sent_again(world: World) -> None:
    with world.app.transaction(None) as connection:
        first = driver.rows(connection, _DIVIDED, {"by": 2})
        second = driver.rows(connection, _DIVIDED, {"by": 3})
    assert [row.quotient for row in (*first, *second)] == [3, 2]


def test_a_savepoint_undoes_what_its_block_did_and_nothing_before_it(world: World) -> None:
    with world.app.transaction(None) as connection:
        connection.execute(_MAKE)
        driver.changed(connection, _INSERT, {"n": 1})
        for by in (0, 2):
            try:
                with driver.savepoint(connection):
                    driver.changed(connection, _INSERT, {"n": 10 + by})
                    driver.rows(connection, _DIVIDED, {"by": by})
            except DBAPIError:
                assert by == 0
        assert _made(connection) == [1, 12]


def test_a_block_that_takes_no_notice_of_a_failed_statement_is_undone(world: World) -> None:
    with world.app.transaction(None) as connection:
        connection.execute(_MAKE)

        def careless() -> None:
            with driver.savepoint(connection):
                driver.changed(connection, _INSERT, {"n": 1})
                with pytest.raises(DBAPIError, match="division by zero"):
                    driver.rows(connection, _DIVIDED, {"by": 0})

        with pytest.raises(DBAPIError, match="aborted"):
            careless()
        assert _made(connection) == []
