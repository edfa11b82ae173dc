"""A stored rule changed, brought back and copied: each change is checked whole, and makes a version."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy import text

from core.errors import ConflictError, InputError, NotFoundError
from engine import rule_history
from engine.change_rules import duplicate_rule, restore_rule, update_rule
from engine.find import find_rule
from engine.switch_rules import switch_rule
from models.enums import RuleStatus
from tests.world import SPENT

if TYPE_CHECKING:
    from collections.abc import Sequence
    from uuid import UUID

    from engine.rule_history import Version
    from tests.world import Org, World

CPA = [{"field": "cpa", "operator": ">", "value": 50}]


def update(org: Org, rule_id: UUID, changes: object, **options: Any) -> Any:
    return update_rule(org.world.app, org.context, rule_id, changes, **options).row


def versions(org: Org, rule_id: UUID) -> Sequence[Version]:
    with org.world.app.transaction(org.context) as connection:
        return rule_history.versions(connection, org.id, rule_id, limit=100)


def changes_of(version: Version) -> list[tuple[str, Any, Any]]:
    assert version.changes is not None
    return [(each.path, each.before, each.after) for each in version.changes]


def test_what_is_given_changes_and_the_rest_stays(org: Org) -> None:
    rule_id = org.rule(min_sample={"clicks": 10}, max_data_age=3600, max_executions_per_day=3, guardrails={})
    row = update(org, rule_id, {"cooldown_minutes": 5, "max_executions_per_day": None, "min_sample": None})
    assert (row.cooldown_minutes, row.max_executions_per_day, row.min_sample, row.max_data_age) == (5, None, None, 3600)
    assert (row.name, row.status, row.conditions, row.version) == ("rule", "active", SPENT, 2)
    row = update(org, rule_id, {"cooldown_minutes": None, "max_data_age": "2h", "status": "paused", "name": "new"})
    assert (row.cooldown_minutes, row.max_data_age, row.status, row.name, row.version) == (60, 7200, "paused", "new", 3)


def test_what_is_the_same_makes_no_version(org: Org) -> None:
    rule_id = org.rule()
    same = {"name": "rule", "conditions": SPENT, "cooldown_minutes": 0, "min_sample": None, "description": None}
    assert update(org, rule_id, same).version == 1
    assert len(versions(org, rule_id)) == 1


def test_a_change_is_checked_as_the_whole_rule_that_it_makes(org: Org) -> None:
    rule_id = org.rule()
    with pytest.raises(InputError) as refused:
        update(org, rule_id, {"conditions": [{"field": "cpaa"}], "actions": None, "cooldown_minutes": -1, "x": 1})
    fields = {problem.field for problem in refused.value.problems}
    assert fields >= {"conditions[0].field", "actions", "cooldown_minutes", "x"}
    for wrong in (["name"], "name", None):
        with pytest.raises(InputError, match="must be an object"):
            update(org, rule_id, wrong)
    with pytest.raises(NotFoundError):
        update(org, rule_id, {"entity_id": str(rule_id)})
    assert len(versions(org, rule_id)) == 1


def test_a_rule_of_a_campaign_that_was_archived_since_can_still_be_changed(org: Org, world: World) -> None:
    campaign_id = org.campaign()
    rule_id = org.rule(entity_id=campaign_id)
    world.meddle("UPDATE cmis.campaigns SET status = 'archived'")
    assert update(org, rule_id, {"name": "still"}).entity_id == campaign_id
    assert update(org, rule_id, {"entity_id": None}).entity_id is None


def test_an_archived_rule_is_not_changed_but_can_be_copied(org: Org, world: World) -> None:
    rule_id = org.rule()
    switch_rule(world.app, org.context, rule_id, RuleStatus.ARCHIVED)
    for change in ({"status": "active"}, {"name": "x"}, {"status": "archived"}):
        with pytest.raises(ConflictError, match="is archived and cannot be changed"):
            update(org, rule_id, change)
    with pytest.raises(ConflictError):
        restore_rule(world.app, org.context, rule_id, 1)
    assert duplicate_rule(world.app, org.context, rule_id).status == "draft"


def test_who_changes_an_old_version_is_refused_with_the_difference(org: Org) -> None:
    rule_id = org.rule(CPA)
    update(org, rule_id, {"cooldown_minutes": 5})
    update(org, rule_id, {"conditions": [CPA[0] | {"value": 60}]})
    with pytest.raises(ConflictError) as refused:
        update(org, rule_id, {"name": "late"}, if_version=1)
    assert [str(problem) for problem in refused.value.problems] == [
        "version: the rule is at version 3, not 1 (look at the difference, and repeat it with --if-version 3)",
        "conditions[0].value: was 50 then, and is 60 now",
        "cooldown_minutes: was 0 then, and is 5 now",
    ]
    with pytest.raises(ConflictError, match="at version 3, not 9"):
        update(org, rule_id, {"name": "late"}, if_version=9)
    assert update(org, rule_id, {"name": "in time"}, if_version=3).version == 4


def test_of_many_who_change_one_version_at_once_one_does_and_others_lose_nothing(org: Org) -> None:
    rule_id = org.rule()

    def change(minutes: int) -> str:
        try:
            return str(update(org, rule_id, {"cooldown_minutes": minutes}, if_version=1).version)
        except ConflictError:
            return "refused"

    with ThreadPoolExecutor(6) as pool:
        assert sorted(pool.map(change, range(1, 7))) == ["2", *["refused"] * 5]
        list(pool.map(lambda n: update(org, rule_id, {"guardrails": {"max_entities_per_run": n}}), range(1, 7)))
    assert [version.version for version in versions(org, rule_id)] == list(range(8, 0, -1))


def test_each_version_says_who_changed_what_when(org: Org) -> None:
    rule_id = org.rule(CPA)
    update(org, rule_id, {"cooldown_minutes": 5, "conditions": [CPA[0] | {"value": 60}]})
    second, first = versions(org, rule_id)
    assert changes_of(second) == [("conditions[0].value", 50, 60), ("cooldown_minutes", 0, 5)]
    assert first.changes is None
    assert (second.user_id, first.user_id) == (org.context.user_id, org.context.user_id)
    assert second.user is not None
    assert second.user.endswith(".test")
    assert second.created_at > first.created_at


def test_raw_sql_makes_versions_too_and_the_engines_counters_none(org: Org, world: World) -> None:
    org.campaign()
    rule_id = org.rule()
    org.evaluate(rule_id)
    with world.app.transaction(org.context) as connection:
        for change in ("priority = 'high'", "success_count = success_count", "status = 'paused', name = 'raw'"):
            connection.execute(text(f"UPDATE cmis.automation_rules SET {change}"))
    assert [changes_of(version) for version in versions(org, rule_id)[:-1]] == [
        [("name", "rule", "raw"), ("status", "active", "paused")],
        [("priority", "medium", "high")],
    ]


def test_a_version_is_restored_with_all_but_its_status(org: Org, world: World) -> None:
    rule_id = org.rule(CPA, max_data_age=3600, max_executions_per_day=3)
    update(org, rule_id, {"conditions": SPENT, "name": "other", "max_data_age": None, "status": "paused"})
    row = restore_rule(world.app, org.context, rule_id, 1).row
    assert (row.conditions, row.name, row.max_data_age, row.max_executions_per_day) == (CPA, "rule", 3600, 3)
    assert (row.status, row.version) == ("paused", 3)
    assert restore_rule(world.app, org.context, rule_id, 1).row.version == 3
    with pytest.raises(NotFoundError, match="no version 9 that is kept"):
        restore_rule(world.app, org.context, rule_id, 9)


def test_a_rule_is_compared_with_what_it_was_where_that_is_kept(org: Org, world: World) -> None:
    rule_id = org.rule()
    update(org, rule_id, {"name": "later"})
    with world.app.transaction(org.context) as connection:
        row = find_rule(connection, org.id, rule_id)
        assert rule_history.changes_since(connection, org.id, row, 0) is None
        assert rule_history.changes_since(connection, org.id, row, 2) == []
        assert [each.path for each in rule_history.changes_since(connection, org.id, row, 1) or ()] == ["name"]


def test_a_copy_is_a_draft_with_counters_at_zero(org: Org, world: World) -> None:
    campaign_id = org.campaign()
    rule_id = org.rule(
        name="Rule", entity_id=campaign_id, priority="high", guardrails={"budget_floor": 5}, max_data_age=3600
    )
    org.evaluate(rule_id)
    copy = duplicate_rule(world.app, org.context, "Rule")
    with world.app.transaction(org.context) as connection:
        source = find_rule(connection, org.id, rule_id)
    differing = {key for key, value in copy._asdict().items() if value != source._mapping[key]}
    assert source.success_count == 1
    own = {"rule_id", "name", "status", "created_at", "updated_at"}
    counted = {"success_count", "acted_on", "acted_today", "last_executed_at"}
    assert differing == own | counted
    assert (copy.status, copy.version, copy.success_count, copy.acted_today) == ("draft", 1, 0, 0)
    names = [duplicate_rule(world.app, org.context, copy.rule_id).name for _ in range(2)]
    assert [copy.name, *names] == ["Rule (copy)", "Rule (copy 2)", "Rule (copy 3)"]
    assert duplicate_rule(world.app, org.context, rule_id, "Mine").name == "Mine"


def test_a_copy_of_a_long_name_is_shortened(org: Org, world: World) -> None:
    rule_id = org.rule(name="x" * 200)
    made = [duplicate_rule(world.app, org.context, rule_id).name for _ in range(2)]
    assert made == ["x" * 193 + " (copy)", "x" * 191 + " (copy 2)"]
