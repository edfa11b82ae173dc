"""Invariants of versions: they hold however a rule was changed, and each is seen to break."""

from __future__ import annotations

from typing import TYPE_CHECKING, LiteralString

import psycopg
import pytest

from engine import invariants
from engine.change_rules import update_rule

if TYPE_CHECKING:
    from tests.world import Org, World

WHOLE = "a rule's versions have no hole, and the newest is the rule as it is"
NAMED = "an execution's rule version is kept, or older than the first that is"


def broken(world: World) -> set[str]:
    return {one.name for one in invariants.check(world.reader, drained=False) if one.offenders}


def by_the_back_door(world: World, *deeds: LiteralString) -> None:
    """Change rows as the superuser, with all triggers off."""
    with psycopg.connect(world.site.urls.migration) as connection:
        connection.execute("SET LOCAL session_replication_role = replica")
        for deed in deeds:
            connection.execute(deed)


def executed_at_each_version(org: Org) -> None:
    org.campaign()
    rule_id = org.rule()
    for minutes in (1, 2, 3):
        org.evaluate(rule_id)
        update_rule(org.world.app, org.context, rule_id, {"cooldown_minutes": minutes})


@pytest.mark.parametrize(
    ("deed", "back", "breaks"),
    [
        (
            "UPDATE cmis.automation_rules SET priority = 'low'",
            "UPDATE cmis.automation_rules SET priority = 'medium'",
            {WHOLE},
        ),
        (
            "UPDATE cmis.automation_rules SET version = version + 1",
            "UPDATE cmis.automation_rules SET version = version - 1",
            {WHOLE},
        ),
        (
            "UPDATE cmis.rule_versions SET version = -2 WHERE version = 2",
            "UPDATE cmis.rule_versions SET version = 2 WHERE version = -2",
            {WHOLE, NAMED},
        ),
        (
            "UPDATE cmis.automation_executions SET rule_version = 9 WHERE rule_version = 3",
            "UPDATE cmis.automation_executions SET rule_version = 3 WHERE rule_version = 9",
            {NAMED},
        ),
    ],
)
def test_what_breaks_the_versions_is_found(
    org: Org, world: World, deed: LiteralString, back: LiteralString, breaks: set[str]
) -> None:
    executed_at_each_version(org)
    assert broken(world) == set()
    by_the_back_door(world, deed)
    assert broken(world) == breaks
    by_the_back_door(world, back)


def test_versions_from_before_they_were_kept_are_not_missed(org: Org, world: World) -> None:
    """As revision 0013 leaves a rule that was at version 3 already, and ran at 1 and 2."""
    executed_at_each_version(org)
    by_the_back_door(world, "DELETE FROM cmis.rule_versions WHERE version < 3")
    assert broken(world) == set()
