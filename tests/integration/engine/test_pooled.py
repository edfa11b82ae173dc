"""A connection that broke while it lay idle is nobody's error; one that was just used is not asked whether it lives."""

from __future__ import annotations

from contextlib import closing
from typing import TYPE_CHECKING

import psycopg
import pytest
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from core import pooled
from core.db import Database, is_outage

if TYPE_CHECKING:
    from tests.world import World

_ME = text("SELECT pg_backend_pid()")


@pytest.fixture
def lent(world: World) -> Database:
    """Return a pool of one connection."""
    return Database(world.site.urls.app, variable="DATABASE_URL", application="test", pool_size=1)


def _used(database: Database) -> int:
    with database.transaction(None) as connection:
        pid: int = connection.execute(_ME).scalar_one()
        return pid


def _break(world: World, pid: int) -> None:
    with psycopg.connect(world.site.urls.migration, autocommit=True) as administrator:
        administrator.execute("SELECT pg_terminate_backend(%s, 5000)", [pid])


def test_a_connection_that_broke_while_it_lay_idle_is_replaced(
    world: World, lent: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pooled, "MOMENT", -1.0)
    with closing(lent):
        first = _used(lent)
        assert _used(lent) == first
        _break(world, first)
        assert _used(lent) != first


def test_one_that_was_used_a_moment_ago_is_trusted_and_replaced_once_it_failed(
    world: World, lent: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pooled, "MOMENT", 3_600.0)
    with closing(lent):
        first = _used(lent)
        _break(world, first)
        with pytest.raises(DBAPIError) as failed:
            _used(lent)
        assert is_outage(failed.value)
        assert _used(lent) != first
