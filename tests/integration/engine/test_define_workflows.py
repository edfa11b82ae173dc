"""Templates: checked whole and stored or not, published as versions that never change, shown to others, copied."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy.exc import DBAPIError

from core.config import Settings
from core.errors import ConflictError, InputError, NotFoundError
from core.ids import uuid7
from engine import define_workflows, keep_secrets
from engine.callables.registry import CALLABLES
from engine.clone_workflows import clone_template
from engine.secrets.sealing import Keys
from engine.start_workflow import Start, start
from engine.store import templates
from models.workflow_enums import InstanceTrigger
from tests.unit.workflows.documents import chain, noop

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.world import Org, World

KEYS = Keys.load(Settings.load({"CMIS_SECRET_KEYS": "k=" + "A" * 43 + "="}))
DEFINITION: dict[str, Any] = {"steps": [noop("a", "b"), noop("b")]}


def document(**changes: Any) -> dict[str, Any]:
    return {"name": "Nurture", "category": "lead_nurture", "definition": DEFINITION} | changes


def publish(org: Org, **changes: Any) -> Any:
    return define_workflows.publish(org.world.app, org.context, document(**changes), CALLABLES)


def save(org: Org, **changes: Any) -> Any:
    return define_workflows.save_draft(org.world.app, org.context, document(**changes), CALLABLES)


def update(org: Org, changes: object, reference: str = "Nurture") -> Any:
    return define_workflows.update_template(org.world.app, org.context, reference, changes, CALLABLES)


def switch(org: Org, **columns: Any) -> Any:
    [row] = define_workflows.switch(org.world.app, org.context, ["Nurture"], columns)
    return row


def stored(world: World) -> tuple[list[Any], list[Any]]:
    return (
        list(world.rows("SELECT * FROM cmis.workflow_templates ORDER BY template_id")),
        list(world.rows("SELECT * FROM cmis.workflow_template_versions ORDER BY template_id, version")),
    )


def refused(run: Callable[[], object]) -> dict[str, str]:
    with pytest.raises(InputError) as error:
        run()
    return {problem.field: problem.message for problem in error.value.problems}


def action(config: dict[str, Any], step_id: str = "a", following: str | None = None) -> dict[str, Any]:
    return {"id": step_id, "type": "action", "config": config, "next": following}


def calling(template: str, **config: Any) -> dict[str, Any]:
    return {"steps": [{"id": "call", "type": "subworkflow", "config": {"template": template, **config}}]}


def test_a_definition_is_published_as_it_was_written(org: Org, world: World) -> None:
    published = publish(org, tags=["leads", "leads", " spring "], description="Calls leads.")
    row = published.row
    assert (published.version, published.new, row.status, row.version) == (1, True, "active", 1)
    assert (row.name, row.category, row.tags, row.description) == (
        "Nurture",
        "lead_nurture",
        ["leads", "spring"],
        "Calls leads.",
    )
    assert (row.definition, row.owner_id, row.is_public) == (DEFINITION, org.context.user_id, False)
    [version] = stored(world)[1]
    assert (version.version, version.definition, version.steps) == (1, DEFINITION, 2)
    assert version.published_by == org.context.user_id


def test_the_keys_of_a_definition_may_stand_beside_the_name(org: Org) -> None:
    flat = {"name": "Flat", "category": "campaign", **DEFINITION, "timeout_seconds": 60}
    row = define_workflows.publish(org.world.app, org.context, flat, CALLABLES).row
    assert row.definition == {**DEFINITION, "timeout_seconds": 60}


def test_publishing_is_on_record_with_who_did_it(org: Org, world: World) -> None:
    row = publish(org).row
    log = world.rows(
        "SELECT action, user_id, details FROM cmis.automation_audit_log WHERE entity_id = :id ORDER BY audit_id",
        id=row.template_id,
    )
    assert {entry.action for entry in log} == {"workflow_created", "workflow_published", "workflow_updated"}
    [published] = [entry for entry in log if entry.action == "workflow_published"]
    assert (published.user_id, published.details) == (
        org.context.user_id,
        {"name": "Nurture", "version": 1, "steps": 2},
    )


def test_the_same_definition_again_makes_no_new_version(org: Org, world: World) -> None:
    publish(org)
    again = publish(org, description="another word on it")
    assert (again.version, again.new, again.row.description) == (1, False, "another word on it")
    other = publish(org, definition=chain(3))
    assert (other.version, other.new) == (2, True)
    assert [version.version for version in stored(world)[1]] == [1, 2]


def test_a_version_never_changes(org: Org, world: World) -> None:
    publish(org)
    for statement in (
        "UPDATE cmis.workflow_template_versions SET definition = '{}'",
        "DELETE FROM cmis.workflow_template_versions",
    ):
        with pytest.raises(Exception, match=r"append-only|permission denied"):
            world.meddle(statement)
    publish(org, definition=chain(3))
    assert stored(world)[1][0].definition == DEFINITION


def test_a_draft_leaves_what_is_published_as_it_is(org: Org, world: World) -> None:
    draft = save(org)
    assert (draft.status, draft.version) == ("draft", None)
    published = define_workflows.publish_draft(world.app, org.context, "Nurture", CALLABLES)
    assert (published.version, published.row.status) == (1, "active")
    again = save(org, definition=chain(3))
    assert (again.template_id, again.status, again.version) == (draft.template_id, "active", 1)
    assert [version.definition for version in stored(world)[1]] == [DEFINITION]
    assert define_workflows.publish_draft(world.app, org.context, "Nurture", CALLABLES).version == 2


def test_of_a_bad_definition_everything_is_told_and_nothing_stored(org: Org, world: World) -> None:
    bad = {
        "steps": [
            action({"action": "fly"}, "a", "b"),
            action({"callable": "nobody.knows"}, "b", "a"),
            action({"action": "adjust_budget", "params": {"percent": "much"}}, "c", "nowhere"),
            action(
                {"action": "webhook", "params": {"url": "https://example.com", "signing_secret": "secret://s"}}, "d"
            ),
            {"id": "e", "type": "subworkflow", "config": {"template": "Nobody"}},
            {"id": "f", "type": "split", "config": {"mode": "weighted", "branches": [{"next": "c", "weight": 0}]}},
        ]
    }
    said = refused(lambda: publish(org, definition=bad, category="fun", colour="red"))
    assert said == {
        "colour": "unknown key",
        "category": "cannot be 'fun'",
        "definition.steps[5].config.branches": "have weights whose sum is 0",
        "definition.steps[2].next": "there is no step 'nowhere'",
        "definition.steps[0]": "the steps a → b → a lead in a circle",
        "definition.start": "3 steps have nothing that leads to them: d, e, f",
        "definition.steps[0].config.action": "unknown action 'fly'",
        "definition.steps[1].config.callable": "unknown callable 'nobody.knows'",
        "definition.steps[2].config.campaign": "is required: adjust_budget changes a campaign",
        "definition.steps[2].config.params.percent": "must be a number, not 'much'",
        "definition.steps[3].config.params.signing_secret": "there is no secret 's' in this org",
        "definition.steps[4].config.template": "there is no workflow 'Nobody' in this org",
    }
    assert stored(world) == ([], [])
    publish(org)
    before = stored(world)
    refused(lambda: publish(org, definition=bad, description="new"))
    refused(lambda: save(org, definition=bad))
    refused(lambda: update(org, {"definition": bad}))
    assert stored(world) == before


@pytest.mark.parametrize(
    ("config", "path", "said"),
    [
        ({"action": "pause_campaign"}, "campaign", "is required"),
        ({"action": "pause_campaign", "campaign": "x", "params": {"odd": 1}}, "params.odd", "unknown parameter"),
        (
            {"action": "adjust_budget", "campaign": "x", "params": {"percent": "{{ context.p }}", "odd": 1}},
            "params.odd",
            "unknown parameter",
        ),
        (
            {"action": "set_field", "campaign": "x", "params": {"field": "budget", "value": 1}},
            "params.field",
            "cannot be",
        ),
        ({"action": "notify", "params": {"message": 3}}, "params.message", "must be a text"),
    ],
)
def test_parameters_are_checked_as_far_as_they_are_known(
    org: Org, config: dict[str, Any], path: str, said: str
) -> None:
    assert (
        said in refused(lambda: save(org, definition={"steps": [action(config)]}))[f"definition.steps[0].config.{path}"]
    )


@pytest.mark.parametrize(
    "config",
    [
        {
            "action": "adjust_budget",
            "campaign": "{{ context.c }}",
            "params": {"percent": "{{ context.p }}", "floor": 10},
        },
        {"action": "increase_budget", "campaign": "Spring", "params": {"value": "{{ context.p }}"}},
        {"action": "set_field", "campaign": "x", "params": {"field": "{{ context.f }}", "value": "{{ context.v }}"}},
        {"action": "notify", "params": {"message": "{{ context.lead.name }} of {{ steps.z.output.x }}"}},
        {"action": "pause", "campaign": "{{ context.c }}"},
    ],
)
def test_what_refers_is_left_to_the_run(org: Org, config: dict[str, Any]) -> None:
    save(org, definition={"steps": [noop("z", "a"), action(config)]})


def test_secrets_and_workflows_are_looked_for_when_it_is_published(org: Org, world: World) -> None:
    webhook = {"action": "webhook", "params": {"url": "https://example.com", "signing_secret": "secret://s"}}
    save(org, definition={"steps": [action(webhook, "a", "call"), *calling("Tell")["steps"]]})
    assert len(refused(lambda: define_workflows.publish_draft(world.app, org.context, "Nurture", CALLABLES))) == 2
    keep_secrets.generate_secret(world.app, org.context, KEYS, "s", replace=False)
    save(org, name="Tell")
    said = refused(lambda: define_workflows.publish_draft(world.app, org.context, "Nurture", CALLABLES))
    assert said == {"definition.steps[1].config.template": "the workflow 'Tell' is draft"}
    publish(org, name="Tell")
    assert define_workflows.publish_draft(world.app, org.context, "Nurture", CALLABLES).version == 1


def test_a_workflow_that_is_started_has_the_version_that_is_wanted(org: Org) -> None:
    row = publish(org, name="Tell").row
    said = refused(lambda: publish(org, definition=calling("Tell", version=2)))
    assert said == {"definition.steps[0].config.version": "the workflow 'Tell' has no version 2"}
    publish(org, definition=calling(str(row.template_id), version=1))


def test_no_workflow_starts_itself(org: Org, world: World) -> None:
    place = "definition.steps[0].config.template"
    assert refused(lambda: publish(org, definition=calling("Nurture"))) == {place: "is this workflow itself"}
    row = publish(org).row
    assert refused(lambda: publish(org, definition=calling(str(row.template_id)))) == {place: "is this workflow itself"}
    publish(org, name="Second", definition=calling("Nurture"))
    publish(org, name="Third", definition=calling("Second"))
    save(org, definition=calling("Third"))
    for back in (
        lambda: publish(org, definition=calling("Third")),
        lambda: define_workflows.publish_draft(world.app, org.context, "Nurture", CALLABLES),
        lambda: define_workflows.check_in_org(world.app, org.context, document(definition=calling("Third")), CALLABLES),
    ):
        assert refused(back) == {place: "leads back to this workflow: Third → Second → Nurture"}
    publish(org, name="Fourth", definition=calling("Third"))


def test_what_a_template_is_for_changes_without_a_new_version(org: Org, world: World) -> None:
    row = publish(org).row
    changed = update(org, {"name": "Better", "tags": ["x"], "category": "campaign", "event_type": "lead.created"})
    assert (changed.template_id, changed.name, changed.tags, changed.event_type) == (
        row.template_id,
        "Better",
        ["x"],
        "lead.created",
    )
    assert (changed.version, changed.status, len(stored(world)[1])) == (1, "active", 1)
    before = stored(world)
    assert update(org, {"name": "Better"}, "Better").updated_at == changed.updated_at
    assert stored(world) == before
    conditions = {"field": "lead.country", "operator": "=", "value": "ES"}
    assert update(org, {"event_conditions": conditions}, "Better").event_conditions == conditions
    said = refused(lambda: update(org, {"event_type": None}, "Better"))
    assert said == {"event_conditions": "are about events, and no event_type is given"}
    cleared = update(org, {"event_type": None, "event_conditions": None, "tags": None}, "Better")
    assert (cleared.event_type, cleared.event_conditions, cleared.tags) == (None, None, [])
    assert refused(lambda: update(org, {"steps": []}, "Better")) == {"steps": "unknown key"}
    assert refused(lambda: update(org, [], "Better"))[""].startswith("a change must be an object")


def test_a_template_is_stored_whole_or_not_whatever_is_wrong_beside_its_definition(org: Org) -> None:
    said = refused(
        lambda: save(
            org,
            name="x" * 201,
            tags=["", 3],
            event_type="A B",
            event_conditions=[{"field": "x"}],
            is_public="yes",
            steps=[],
        )
    )
    assert set(said) == {
        "name",
        "tags[0]",
        "tags[1]",
        "event_type",
        "event_conditions[0].operator",
        "is_public",
        "steps",
    }
    assert refused(lambda: define_workflows.save_draft(org.world.app, org.context, {}, CALLABLES)) == {
        "name": "is required",
        "category": "is required",
        "definition": "is required",
    }


def test_a_name_is_taken_within_its_org_alone(org: Org, world: World) -> None:
    publish(org)
    publish(org, name="Second")
    with pytest.raises(ConflictError, match="there is a workflow of this name already"):
        update(org, {"name": "Nurture"}, "Second")
    publish(world.org("other"))


def test_an_archived_template_comes_back_as_it_was(org: Org, world: World) -> None:
    publish(org)
    assert switch(org, status="archived").status == "archived"
    assert switch(org, status="active").status == "active"
    switch(org, status="archived")
    assert publish(org).row.status == "active"
    save(org, name="Draft")
    define_workflows.switch(world.app, org.context, ["Draft"], {"status": "archived"})
    [row] = define_workflows.switch(world.app, org.context, ["Draft"], {"status": "active"})
    assert row.status == "draft"
    with pytest.raises(NotFoundError, match="there is no workflow 'nope'"):
        define_workflows.switch(world.app, org.context, ["Nurture", "nope"], {"status": "archived"})
    assert switch(org).status == "active"


def test_another_org_reads_and_copies_what_is_shown_and_changes_nothing(org: Org, world: World) -> None:
    other = world.org("other")
    row = publish(org, tags=["leads"]).row

    def listed() -> list[str]:
        with world.app.transaction(other.context) as connection:
            return [one.name for one in templates.listing(connection, other.id)]

    with pytest.raises(NotFoundError):
        clone_template(world.app, other.context, "Nurture")
    assert listed() == []
    switch(org, is_public=True)
    assert listed() == ["Nurture"]
    for change in (
        lambda: update(other, {"name": "Mine"}),
        lambda: switch(other, is_public=False),
        lambda: define_workflows.publish_draft(world.app, other.context, "Nurture", CALLABLES),
    ):
        with pytest.raises(ConflictError, match="belongs to somebody else"):
            change()
    start_it = [Start(row.template_id, {}, InstanceTrigger.MANUAL)]
    with world.app.transaction(other.context) as connection, pytest.raises(ConflictError, match="clone"):
        start(connection, other.id, start_it, now=world.now())
    copy = clone_template(world.app, other.context, "Nurture")
    assert (copy.name, copy.status, copy.version, copy.is_public, copy.tags) == (
        "Nurture",
        "draft",
        None,
        False,
        ["leads"],
    )
    assert copy.cloned_from == {"org_id": str(org.id), "template_id": str(row.template_id), "version": 1}
    assert copy.definition == DEFINITION
    switch(org, is_public=False)
    assert listed() == ["Nurture"]  # the copy
    assert define_workflows.publish_draft(world.app, other.context, "Nurture", CALLABLES).version == 1


def test_a_copy_is_of_the_version_that_is_wanted_and_has_a_name_of_its_own(org: Org, world: World) -> None:
    save(org)
    with pytest.raises(ConflictError, match="was never published"):
        clone_template(world.app, org.context, "Nurture")
    publish(org)
    publish(org, definition=chain(3))
    first = clone_template(world.app, org.context, "Nurture", version=1)
    assert (first.name, first.definition) == ("Nurture (copy)", DEFINITION)
    second = clone_template(world.app, org.context, "Nurture")
    assert (second.name, second.definition) == ("Nurture (copy 2)", chain(3))
    assert clone_template(world.app, org.context, "Nurture", name=" Mine ").name == "Mine"
    with pytest.raises(ConflictError, match="of this name already"):
        clone_template(world.app, org.context, "Nurture", name="Mine")
    with pytest.raises(InputError, match="name: cannot be ''"):
        clone_template(world.app, org.context, "Nurture", name="")
    with pytest.raises(NotFoundError, match="has no version 7"):
        clone_template(world.app, org.context, "Nurture", version=7)


def test_what_names_a_secret_is_listed_with_it_until_it_is_put_away(org: Org, world: World) -> None:
    keep_secrets.generate_secret(world.app, org.context, KEYS, "s", replace=False)
    keep_secrets.generate_secret(world.app, org.context, KEYS, "unused", replace=False)
    webhook = {"action": "webhook", "params": {"url": "https://example.com", "signing_secret": "secret://s"}}
    publish(org, definition={"steps": [action(webhook)]})
    save(org, definition=DEFINITION)  # what is published still names it

    def naming() -> list[tuple[str, list[str]]]:
        return [(kept.row.name, list(kept.workflows)) for kept in keep_secrets.list_secrets(world.app, org.context)]

    assert naming() == [("s", ["Nurture"]), ("unused", [])]
    switch(org, status="archived")
    assert naming() == [("s", []), ("unused", [])]


def test_of_several_public_ones_with_a_name_the_id_is_asked_for(org: Org, world: World) -> None:
    ids = {str(publish(one, is_public=True).row.template_id) for one in (org, world.org("other"))}
    third = world.org("third")
    with pytest.raises(InputError, match="2 workflows are named 'Nurture'") as error:
        clone_template(world.app, third.context, "Nurture")
    assert all(one in str(error.value) for one in ids)
    assert clone_template(world.app, third.context, min(ids)).name == "Nurture"
    with pytest.raises(ConflictError, match="was never published"):  # its own is meant now
        clone_template(world.app, third.context, "Nurture")


@pytest.mark.parametrize("role", ["viewer", "operator"])
def test_who_is_no_editor_changes_nothing(org: Org, world: World, role: str) -> None:
    publish(org)
    world.meddle("UPDATE cmis.user_orgs SET role = %(role)s", role=role)
    before = stored(world)
    for change in (
        lambda: publish(org, definition=chain(3)),
        lambda: save(org, name="Mine"),
        lambda: update(org, {"name": "Mine"}),
        lambda: switch(org, status="archived"),
        lambda: define_workflows.publish_draft(world.app, org.context, "Nurture", CALLABLES),
        lambda: clone_template(world.app, org.context, "Nurture"),
    ):
        with pytest.raises(DBAPIError, match="is no editor of org"):
            change()
    assert stored(world) == before
    define_workflows.check_in_org(world.app, org.context, document(), CALLABLES)


def test_who_publishes_at_once_makes_versions_one_after_another(org: Org, world: World) -> None:
    save(org)

    def run(count: int) -> int:
        version: int = publish(org, definition=chain(count + 2)).version
        return version

    with ThreadPoolExecutor(4) as pool:
        made = sorted(pool.map(run, range(8)))
    assert made == list(range(1, 9))
    assert len(stored(world)[1]) == 8


def test_an_id_that_is_nobodys_is_not_found(org: Org) -> None:
    with pytest.raises(NotFoundError, match="see `cmis workflows list`"):
        update(org, {}, str(uuid7(org.world.now())))
