"""A world for each test that asks for one."""

from __future__ import annotations

from tests.integration.engine.conftest import org, world

__all__ = ["org", "world"]
