"""Bundles: made, changed and put away by their org; used by whoever may read them, and counted with the rules made."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import pytest

from core.db import CLI_ACTOR, RESERVED_ORG
from core.errors import ConflictError, InputError, NotFoundError
from engine.bundles import Choices, Instantiated, archive_bundle, create_bundle, instantiate, update_bundle
from engine.store import bundles as store
from tests.world import PAUSE

if TYPE_CHECKING:
    from tests.world import Org, World

DEAR = [{"field": "cpa", "operator": ">", "value": 50}]
RULES: list[dict[str, Any]] = [
    {"name": "Pause dear ones", "conditions": DEAR, "actions": PAUSE, "min_sample": {"clicks": 10}},
    {"name": "Tell", "conditions": {"any": DEAR}, "actions": [{"type": "notify"}], "cooldown_minutes": 1440},
]
BUNDLE: dict[str, Any] = {"name": "Basics", "category": "performance", "rules": RULES}


def create(org: Org, **changes: Any) -> Any:
    return create_bundle(org.world.app, org.context, {**BUNDLE, **changes})


def make(org: Org, reference: Any, *, strict: bool = False, **choices: Any) -> Instantiated:
    return instantiate(org.world.app, org.context, reference, Choices(**choices), strict=strict)


def rules_of(org: Org) -> list[Any]:
    query = "SELECT * FROM cmis.automation_rules WHERE org_id = :id ORDER BY rule_id"
    return list(org.world.rows(query, id=org.id))


def usage(world: World, workflow_id: Any) -> tuple[int, bool]:
    query = "SELECT usage_count, last_used_at FROM cmis.automation_workflows WHERE workflow_id = :id"
    [(count, last)] = world.rows(query, id=workflow_id)
    return count, last is not None


def audited(org: Org, workflow_id: Any) -> list[Any]:
    query = """SELECT action, before, after, details, user_id FROM cmis.automation_audit_log
                WHERE org_id = :org_id AND entity_type = 'workflow' AND entity_id = :id ORDER BY created_at, audit_id"""
    return list(org.world.rows(query, org_id=org.id, id=workflow_id))


def test_a_bundle_is_stored_with_its_rules_as_they_were_written(org: Org) -> None:
    row = create(org)
    assert (row.name, row.category, row.rules, row.is_public) == ("Basics", "performance", RULES, False)
    assert (row.status, row.usage_count, row.last_used_at, row.owner_id) == ("active", 0, None, org.context.user_id)


def test_a_name_is_taken_within_its_org_alone(org: Org, world: World) -> None:
    create(org)
    with pytest.raises(ConflictError, match="there is a bundle of this name already"):
        create(org)
    create(world.org("other"))
    create(org, name="Second")
    with pytest.raises(ConflictError, match="of this name already"):
        update_bundle(world.app, org.context, "Second", {"name": "Basics"})


def test_all_rules_are_made_as_drafts_that_know_their_bundle(org: Org, world: World) -> None:
    bundle = create(org)
    made = make(org, "Basics")
    rows = rules_of(org)
    assert [saved.row.rule_id for saved in made.rules] == [row.rule_id for row in rows]
    assert [(row.name, row.status, row.entity_id) for row in rows] == [
        ("Pause dear ones", "draft", None),
        ("Tell", "draft", None),
    ]
    assert {row.workflow_id for row in rows} == {bundle.workflow_id}
    assert (rows[0].conditions, rows[0].min_sample, rows[1].cooldown_minutes) == (DEAR, {"clicks": 10}, 1440)
    assert usage(world, bundle.workflow_id) == (1, True)


def test_status_entity_and_prefix_are_chosen_when_rules_are_made(org: Org) -> None:
    create(org)
    campaign_id = org.campaign(name="Summer")
    make(org, "Basics", status="active", entity="Summer", prefix="Summer: ")
    assert [(row.name, row.status, row.entity_id) for row in rules_of(org)] == [
        ("Summer: Pause dear ones", "active", campaign_id),
        ("Summer: Tell", "active", campaign_id),
    ]


def test_of_a_bundle_that_cannot_be_used_whole_no_rule_is_made_and_nothing_counted(org: Org, world: World) -> None:
    bundle = create(org)
    with pytest.raises(InputError) as refused:
        make(org, "Basics", prefix="x" * 195)
    assert [problem.field for problem in refused.value.problems] == ["rules[0].name"]
    with pytest.raises(NotFoundError, match="entity: there is no campaign 'nope'"):
        make(org, "Basics", entity="nope")
    org.campaign(name="gone", status="archived")
    with pytest.raises(NotFoundError, match="entity_id"):
        make(org, "Basics", entity="gone")
    world.meddle("UPDATE cmis.automation_workflows SET rules = '[{\"name\": \"x\"}]' WHERE name = 'Basics'")
    with pytest.raises(InputError) as refused:
        make(org, "Basics")
    assert {problem.field for problem in refused.value.problems} == {"rules[0].conditions", "rules[0].actions"}
    world.meddle("UPDATE cmis.automation_workflows SET rules = '[1]' WHERE name = 'Basics'")
    with pytest.raises(InputError, match=r"rules\[0\]: a rule must be an object, not 1"):
        make(org, "Basics")
    assert (rules_of(org), usage(world, bundle.workflow_id)) == ([], (0, False))


def test_a_bundle_that_is_archived_meanwhile_makes_no_rule(
    org: Org, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    create(org)
    use = store.use

    def archived_first(connection: Any, org_id: Any, workflow_id: Any) -> bool:
        archive_bundle(world.app, org.context, workflow_id)
        return use(connection, org_id, workflow_id)

    monkeypatch.setattr(store, "use", archived_first)
    with pytest.raises(ConflictError, match="is archived"):
        make(org, "Basics")
    assert rules_of(org) == []


def test_each_use_counts_however_many_come_at_once(org: Org, world: World) -> None:
    bundle = create(org, is_public=True)
    users = [org, world.org("one"), world.org("two")]
    with ThreadPoolExecutor(6) as pool:
        list(pool.map(lambda user: make(user, bundle.workflow_id), users * 4))
    assert usage(world, bundle.workflow_id) == (12, True)
    assert [len(rules_of(user)) for user in users] == [8, 8, 8]


def test_a_private_bundle_is_nobody_elses_and_a_public_one_is_used_but_not_changed(org: Org, world: World) -> None:
    other = world.org("other")
    bundle = create(org)
    with pytest.raises(NotFoundError, match="there is no bundle"):
        make(other, bundle.workflow_id)
    with pytest.raises(NotFoundError, match="there is no bundle"):
        update_bundle(world.app, other.context, bundle.workflow_id, {"name": "x"})
    update_bundle(world.app, org.context, "Basics", {"is_public": True})
    make(other, "Basics")
    with pytest.raises(ConflictError, match="belongs to somebody else"):
        update_bundle(world.app, other.context, "Basics", {"name": "mine"})
    with pytest.raises(ConflictError, match="belongs to somebody else"):
        archive_bundle(world.app, other.context, "Basics")
    archive_bundle(world.app, org.context, "Basics")
    with pytest.raises(NotFoundError):
        make(other, "Basics")
    with pytest.raises(ConflictError, match="is archived"):
        make(org, "Basics")
    assert usage(world, bundle.workflow_id) == (1, True)


def test_an_orgs_own_bundle_comes_before_a_public_one_of_its_name(org: Org, world: World) -> None:
    publishers = [world.org(name) for name in ("one", "two")]
    for publisher in publishers:
        create(publisher, is_public=True)
    with pytest.raises(InputError, match="2 bundles are named 'Basics'"):
        make(org, "Basics")
    own = create(org)
    assert make(org, "Basics").bundle.workflow_id == own.workflow_id


def test_a_change_is_checked_whole_and_what_was_made_stays(org: Org, world: World) -> None:
    create(org, description="text")
    make(org, "Basics")
    with pytest.raises(InputError) as refused:
        update_bundle(world.app, org.context, "Basics", {"rules": [*RULES, {"name": "x"}], "category": "x"})
    assert {problem.field for problem in refused.value.problems} == {
        "category",
        "rules[2].conditions",
        "rules[2].actions",
    }
    row = update_bundle(world.app, org.context, "Basics", {"rules": RULES[:1], "description": None})
    assert (row.rules, row.description, row.usage_count) == (RULES[:1], "", 1)
    assert row.updated_at > row.created_at
    assert update_bundle(world.app, org.context, "Basics", {"rules": RULES[:1]}).updated_at == row.updated_at
    assert len(rules_of(org)) == 2


def test_an_archived_bundle_can_be_brought_back(org: Org, world: World) -> None:
    create(org)
    assert archive_bundle(world.app, org.context, "Basics").status == "archived"
    assert archive_bundle(world.app, org.context, "Basics").status == "archived"
    assert update_bundle(world.app, org.context, "Basics", {"status": "active"}).status == "active"


def test_what_is_done_with_a_bundle_is_audited_where_it_is_done(org: Org, world: World) -> None:
    other = world.org("other")
    bundle = create(org, is_public=True)
    made = make(other, "Basics")
    update_bundle(world.app, org.context, "Basics", {"category": "budget"})
    archive_bundle(world.app, org.context, "Basics")
    update_bundle(world.app, org.context, "Basics", {"status": "active"})
    update_bundle(world.app, org.context, "Basics", {"status": "archived", "name": "Old"})
    assert [(row.action, row.before, row.after) for row in audited(org, bundle.workflow_id)][1:] == [
        ("workflow_updated", {"category": "performance"}, {"category": "budget"}),
        ("workflow_archived", {"status": "active"}, {"status": "archived"}),
        ("workflow_updated", {"status": "archived"}, {"status": "active"}),
        ("workflow_updated", {"status": "active", "name": "Basics"}, {"status": "archived", "name": "Old"}),
    ]
    assert audited(org, bundle.workflow_id)[0].action == "workflow_created"
    [entry] = audited(other, bundle.workflow_id)
    ids = [str(saved.row.rule_id) for saved in made.rules]
    assert (entry.action, entry.user_id) == ("workflow_instantiated", other.context.user_id)
    assert entry.details == {"name": "Basics", "rules": ids}


def test_rules_of_a_bundle_are_compared_with_active_ones_and_with_each_other(org: Org, world: World) -> None:
    resume = {"name": "Resume dear ones", "conditions": DEAR, "actions": [{"type": "resume_campaign"}]}
    bundle = create(org, rules=[*RULES, resume])
    org.rule(DEAR, [{"type": "resume_campaign"}], name="running")
    with pytest.raises(ConflictError):
        make(org, "Basics", strict=True)
    assert (len(rules_of(org)), usage(world, bundle.workflow_id)) == (1, (0, False))
    made = make(org, "Basics")
    told = [[clash.other.name for clash in saved.clashes] for saved in made.rules]
    assert told == [["Resume dear ones", "running"], [], []]


def test_the_products_bundles_are_there_for_every_org_and_can_be_used_without_conflicts(org: Org, world: World) -> None:
    with world.app.transaction(org.context) as connection:
        found = store.listing(connection, org.id)
    assert {row.org_id for row in found} == {RESERVED_ORG}
    before = {row.workflow_id: row.usage_count for row in found}
    for row in found:
        made = make(org, row.name, status="active", strict=True)
        assert [saved.clashes for saved in made.rules] == [[]] * row.rule_count
        assert usage(world, row.workflow_id)[0] == before[row.workflow_id] + 1
        with pytest.raises(ConflictError, match="belongs to somebody else"):
            archive_bundle(world.app, org.context, row.workflow_id)
    assert len(rules_of(org)) == 8
    assert {row.owner_id for row in rules_of(org)} == {org.context.user_id} != {CLI_ACTOR}
