"""Databases without a schema, on the servers of the run."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from dev.databases import temporary_database
from dev.site import Site

if TYPE_CHECKING:
    from collections.abc import Iterator

    from dev.provider import Servers


@pytest.fixture
def empty(server: Servers) -> Iterator[Site]:
    """Give the test a database of its own in which nothing has been made yet."""
    with temporary_database("MIGRATION_DATABASE_URL", server.template.administrator) as name:
        yield Site(server.site.urls.on(name), server.site.broker_url, server.site.broker_prefix, server.site.environ)
