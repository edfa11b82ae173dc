"""The contract of `cap_budget`, against the database that DATABASE_URL names (the app role's)."""

from __future__ import annotations

import os

import pytest
from cmis_action_example import CapBudget

from core.db import Database
from core.errors import InputError
from engine.actions.kit import Example, check, check_pure
from engine.actions.rehearsal import rehearsal

EXAMPLES = [
    Example({"at": 50}),
    Example({"value": 99.5}, spelling="limit_budget"),
    Example({"at": 100}),
    Example({"at": 50}, {"budget": None}),
]


def test_it_reads_and_plans_as_every_action_does() -> None:
    check_pure(CapBudget(), EXAMPLES)


def test_its_effects_are_written_found_and_taken_back() -> None:
    database = Database(os.environ["DATABASE_URL"], variable="DATABASE_URL", application="cap-budget-test")
    try:
        with rehearsal(database) as stage:
            check(CapBudget(), EXAMPLES, stage)
    finally:
        database.close()


@pytest.mark.parametrize("params", [{}, {"at": 0}, {"at": "much"}, {"at": 5, "floor": 1}])
def test_a_bad_limit_is_refused(params: dict[str, object]) -> None:
    with pytest.raises(InputError):
        CapBudget().validate(params, spelling="cap_budget", path="actions[0].params")
