"""At every save the rule is compared with the org's active ones: told of, or refused where that was asked for."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from core.errors import ConflictError
from engine.change_rules import restore_rule, update_rule
from engine.define import create_rule
from engine.rule_conflicts import MOST_TOLD, standing
from tests.world import NOTIFY, PAUSE

if TYPE_CHECKING:
    from collections.abc import Sequence

    from engine.rule_conflicts import Clash
    from tests.world import Org, World

DEAR = [{"field": "cpa", "operator": ">", "value": 50}]
CHEAP = [{"field": "cpa", "operator": "<", "value": 40}]
RESUME = [{"type": "resume_campaign"}]
UP = [{"type": "increase_budget", "value": 10}]
DOWN = [{"type": "adjust_budget", "params": {"amount": -5}}]


def create(org: Org, conditions: Any = DEAR, actions: Any = RESUME, *, strict: bool = False, **more: Any) -> Any:
    document = {"name": "new", "conditions": conditions, "actions": actions, **more}
    return create_rule(org.world.app, org.context, document, strict=strict)


def pairs(found: Sequence[Clash]) -> list[tuple[str, str]]:
    return [(clash.rule.name, clash.other.name) for clash in found]


def rule_count(world: World) -> int:
    return int(world.one("SELECT count(*) FROM cmis.automation_rules"))


def test_a_new_rule_is_stored_and_what_works_against_it_told_with_an_example(org: Org) -> None:
    rule_id = org.rule(DEAR, PAUSE, name="Pause dear ones")
    saved = create(org, [{"field": "cpa", "operator": ">", "value": 45}])
    assert saved.row.status == "draft"
    assert [clash.told() for clash in saved.clashes] == [
        {
            "rule_id": rule_id,
            "rule": "Pause dear ones",
            "kinds": ["resume", "pause"],
            "example": {"cpa": 55},
            "sentence": "“new” works against “Pause dear ones”: "
            "one resumes and the other pauses a campaign with cpa (last_7d) 55",
        }
    ]


@pytest.mark.parametrize(
    ("conditions", "actions", "values"),
    [
        (CHEAP, PAUSE, {}),  # their conditions exclude each other
        (DEAR, RESUME, {}),  # they do the same
        (DEAR, PAUSE, {"status": "paused"}),
        (DEAR, PAUSE, {"status": "archived"}),
        (DEAR, NOTIFY, {}),
        (DEAR, UP, {}),
    ],
)
def test_what_cannot_work_against_it_is_not_told(org: Org, conditions: Any, actions: Any, values: Any) -> None:
    org.rule(conditions, actions, **values)
    assert create(org, strict=True).clashes == []


def test_rules_of_other_campaigns_and_of_other_orgs_do_not_count(org: Org, world: World) -> None:
    one, other = org.campaign(), org.campaign()
    org.rule(DEAR, PAUSE, entity_id=one)
    world.org("other").rule(DEAR, PAUSE)
    assert create(org, entity_id=str(other), strict=True).clashes == []
    assert len(create(org, entity_id=str(one)).clashes) == 1
    assert len(create(org).clashes) == 1


def test_with_strict_nothing_is_stored_and_each_conflict_told(org: Org, world: World) -> None:
    for name, actions in (("up", UP), ("pause", PAUSE)):
        org.rule(DEAR, actions, name=name)
    with pytest.raises(ConflictError) as refused:
        create(org, actions=[*DOWN, *RESUME], strict=True)
    assert [problem.field for problem in refused.value.problems] == ["conflicts", "conflicts"]
    assert rule_count(world) == 2


def test_actions_of_one_rule_that_undo_each_other_are_told(org: Org) -> None:
    [clash] = create(org, actions=[*UP, *DOWN]).clashes
    assert clash.told()["kinds"] == ["budget_up", "budget_down"]
    assert clash.rule == clash.other
    [clash] = create(org, [{"field": "status", "operator": "=", "value": "active"}], [*PAUSE, *RESUME]).clashes
    assert clash.document["sentence"] == "“new” does both pause and resume to the same campaign"


def test_a_change_and_a_version_that_comes_back_are_compared_too(org: Org, world: World) -> None:
    org.rule(DEAR, PAUSE, name="pause")
    rule_id = create(org, CHEAP).row.rule_id
    with pytest.raises(ConflictError):
        update_rule(world.app, org.context, rule_id, {"conditions": DEAR}, strict=True)
    saved = update_rule(world.app, org.context, rule_id, {"conditions": DEAR})
    assert (pairs(saved.clashes), saved.row.version) == ([("new", "pause")], 2)
    assert restore_rule(world.app, org.context, rule_id, 1, strict=True).clashes == []
    with pytest.raises(ConflictError):
        restore_rule(world.app, org.context, rule_id, 2, strict=True)
    assert world.one("SELECT version FROM cmis.automation_rules WHERE rule_id = :id", id=rule_id) == 3


def test_the_orgs_conflicts_are_listed_each_pair_once(org: Org, world: World) -> None:
    names = {"up": UP, "down": DOWN, "pause": PAUSE, "resume": RESUME, "tell": NOTIFY}
    for name, actions in names.items():
        org.rule(DEAR, actions, name=name)
    org.rule(DEAR, UP, name="draft", status="draft")
    assert pairs(standing(world.app, org.context)) == [("up", "down"), ("pause", "resume")]
    assert pairs(standing(world.app, org.context, "down")) == [("down", "up")]
    assert pairs(standing(world.app, org.context, "draft")) == [("draft", "down")]
    assert pairs(standing(world.app, org.context, "tell")) == []


def test_a_rule_with_very_many_conflicts_is_told_of_the_first(org: Org, world: World) -> None:
    for number in range(MOST_TOLD + 5):
        org.rule(DEAR, PAUSE, name=f"pause {number:02}")
    assert pairs(create(org).clashes) == [("new", f"pause {number:02}") for number in range(MOST_TOLD)]
    assert len(standing(world.app, org.context)) == 0


def test_a_stored_rule_that_cannot_be_read_any_more_stands_in_nobodys_way(org: Org) -> None:
    org.rule(DEAR, [{"type": "gone_with_its_package"}])
    org.rule([{"field": "gone"}], PAUSE)
    assert create(org, strict=True).clashes == []
