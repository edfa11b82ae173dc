"""A world for each test that asks for one."""

from __future__ import annotations

from tests.integration.engine.conftest import database, org, shared, world

__all__ = ["database", "org", "shared", "world"]
