"""Runs of random workflows under everything that may happen to them, on a real database as the app role."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, settings
from hypothesis.stateful import run_state_machine_as_test

from core import faults
from engine.callables import registry
from engine.run_workflow import service
from tests.integration.workflows.machine import CALLABLES, Machine

if TYPE_CHECKING:
    from tests.world import World

EXAMPLES = int(os.environ.get("CMIS_TEST_EXAMPLES", "12"))
"""`make test` tries a dozen; this variable has it try as many as one has the time for."""
SLOW = (HealthCheck.too_slow, HealthCheck.filter_too_much, HealthCheck.data_too_large)


@pytest.mark.timeout(240 + 20 * EXAMPLES)
def test_runs_come_to_their_end_and_the_invariants_hold_whatever_happens(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(registry, "callables", lambda: CALLABLES)
    monkeypatch.setattr(service, "run_apart", Machine.run_apart)
    monkeypatch.setattr(faults, "crash", Machine.crash)
    Machine.world = world
    bounds = settings(max_examples=EXAMPLES, stateful_step_count=25, deadline=None, suppress_health_check=SLOW)
    run_state_machine_as_test(Machine, settings=bounds)
    print(dict(sorted(Machine.seen.items())))  # noqa: T201 - shown with -s
