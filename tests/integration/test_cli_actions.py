"""Held actions, undo and an org's guardrails on the command line, against the real database as the app role."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from cli.main import failure
from tests.integration.engine.guarding import held_action, raw
from tests.posting import Desk
from tests.stepping import Flow, action
from tests.unit.cli.running import Cmis
from tests.world import SPENT, World

if TYPE_CHECKING:
    from dev.site import Site
    from tests.world import Org


@pytest.fixture
def org(world: World) -> Org:
    return world.org("Acme")


@pytest.fixture
def cmis(database: Site, capsys: pytest.CaptureFixture[str]) -> Cmis:
    return Cmis(capsys, {"DATABASE_URL": database.urls.app, "CMIS_ORG": "Acme", "COLUMNS": "300"})


def test_what_is_held_is_listed_shown_and_approved(cmis: Cmis, org: Org) -> None:
    campaign, action = held_action(org, name="Halve")
    [listed] = cmis(
        "actions", "list", "--status", "held", "--rule", "Halve", "--campaign", str(campaign), "--json"
    ).json
    assert (listed["action_id"], listed["before"], listed["after"]) == (str(action), {"budget": 12}, {"budget": 6})
    assert listed["error"]["guardrail"] == "budget_floor"
    assert all(word in cmis("actions", "list").out for word in (str(action), "Halve", "floor"))
    assert cmis("actions", "show", str(action), "--json").json == listed
    assert cmis("actions", "list", "--status", "rejected", "--json").json == []
    approved = cmis("actions", "approve", str(action), "--note", "agreed")
    assert (approved.code, approved.out) == (0, f"{action} is succeeded; its execution is success\n")
    assert cmis("actions", "approve", str(action)).out == f"{action} is succeeded already\n"
    assert org.campaign_row(campaign).budget == 6


def test_of_several_those_that_can_be_are_decided_and_the_others_told(cmis: Cmis, org: Org) -> None:
    (moved, first), (_, second) = held_action(org), held_action(org)
    raw(org, "UPDATE cmis.campaigns SET budget = 13 WHERE campaign_id = :one", one=moved)
    done = cmis("actions", "approve", str(first), str(second), "--json")
    assert done.code == 2
    assert [one["action_id"] for one in json.loads(done.out)] == [str(second)]
    assert f"{first}.budget: was 12, is 13 (look at the campaign, then decide anew)" in done.err
    [rejected] = cmis("actions", "reject", str(first), "--json").json
    assert (rejected["status"], rejected["execution_status"]) == ("rejected", "failure")


def test_all_that_is_held_of_a_rule_an_execution_or_a_time_is_decided_at_once(cmis: Cmis, org: Org) -> None:
    (_, halved), (_, other) = held_action(org, name="Halve"), held_action(org, name="Other")
    assert cmis("actions", "approve", "--rule", "Halve", "--until", "1h").out == "Nothing of that is held.\n"
    [approved] = cmis("actions", "approve", "--rule", "Halve", "--json").json
    assert (approved["action_id"], approved["status"]) == (str(halved), "succeeded")
    execution = cmis("actions", "show", str(other), "--json").json["execution_id"]
    [rejected] = cmis("actions", "reject", "--execution", execution, "--note", "no", "--json").json
    assert (rejected["action_id"], rejected["status"]) == (str(other), "rejected")
    assert cmis("actions", "reject", "--since", "1h", "--json").json == []
    refused = cmis("actions", "approve", str(halved), "--rule", "Halve")
    assert (refused.code, "needs either ACTIONs or one of" in refused.err) == (2, True)


def test_a_viewer_is_told_which_role_it_takes(cmis: Cmis, org: Org) -> None:
    _, action = held_action(org)
    org.world.meddle("UPDATE cmis.user_orgs SET role = 'viewer'")
    refused = cmis("actions", "approve", str(action), "--as", str(org.context.user_id))
    assert refused.code == 2
    assert "act as a member who is operator or more" in refused.err


def test_effects_are_undone_by_action_execution_rule_and_time(cmis: Cmis, org: Org) -> None:
    campaign = org.campaign(budget=100)
    add = [{"type": "adjust_budget", "params": {"amount": 10}}]
    rules = [org.rule(SPENT, add, name=f"Add {number}") for number in range(4)]
    executions = [org.evaluate(rule)[0].execution_id for rule in rules]
    for selection in (
        ("--execution", str(executions[3])),
        ("--rule", "Add 2", "--since", "1h"),
        (cmis("actions", "list", "--rule", "Add 1", "--json").json[0]["action_id"],),
        ("--since", "1h"),
    ):
        before = org.campaign_row(campaign).budget
        [would] = cmis("actions", "undo", *selection, "--dry-run", "--json").json
        assert (would["outcome"], would["dry_run"]) == ("undone", True)
        assert org.campaign_row(campaign).budget == before
        done = cmis("actions", "undo", *selection)
        assert (done.code, "undone" in done.out) == (0, True)
        assert org.campaign_row(campaign).budget == before - 10
    assert cmis("actions", "undo", "--since", "1h", "--json").json == []
    assert "Undo: none." in cmis("actions", "undo", "--rule", "Add 1").out


def test_what_cannot_be_undone_is_shown_and_the_exit_code_says_so(cmis: Cmis, org: Org) -> None:
    org.campaign(budget=100)
    org.evaluate(org.rule(SPENT, [{"type": "increase_budget", "value": 10}]))
    raw(org, "UPDATE cmis.campaigns SET budget = 105")
    for option in ((), ("--dry-run",)):
        refused = cmis("actions", "undo", "--since", "1h", *option)
        assert refused.code == 2
        assert "its campaign has moved on since; budget: it left 110, there is 105" in " ".join(refused.out.split())


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ((), "needs either ACTIONs or one of --execution, --instance, --rule, --since, --until"),
        (("01980000-0000-7000-8000-000000000000", "--since", "1h"), "needs either"),
        (("--execution", "01980000-0000-7000-8000-000000000000", "--since", "1h"), "is a selection of its own"),
        (("x",), "ACTION: 'x' is no id"),
        (("01980000-0000-7000-8000-000000000000",), "there is no action"),
        (("--since", "1h", "--until", "2h"), "is before --since"),
        (("--rule", "nope"), "there is no rule"),
    ],
)
def test_an_undo_that_says_not_what_is_refused(cmis: Cmis, org: Org, arguments: tuple[str, ...], said: str) -> None:
    assert org
    refused = cmis("actions", "undo", *arguments)
    assert refused.code == 2
    assert said in refused.err


def bounds(cmis: Cmis, *arguments: str) -> Any:
    return cmis("orgs", "guardrails", "Acme", *arguments, "--json").json


def test_guardrails_are_shown_with_the_defaults_and_changed(cmis: Cmis, org: Org) -> None:
    campaign = org.campaign(name="Brand")
    assert bounds(cmis) == {"own": {}, "binding": {"budget_floor": 10, "max_failures_in_a_row": 5}, "never_touch": []}
    set_ = bounds(cmis, "--set", "budget_floor=5", "--set", "max_change_pct=12.5", "--never-touch", "Brand")
    assert set_["own"] == {"budget_floor": 5, "max_change_pct": 12.5}
    assert set_["binding"] == {"budget_floor": 5, "max_change_pct": 12.5, "max_failures_in_a_row": 5}
    assert set_["never_touch"] == [str(campaign)]
    shown = cmis("orgs", "guardrails", "Acme").out
    assert all(word in shown for word in ("max_change_pct", "12.5", "default", str(campaign)))
    less = bounds(cmis, "--unset", "budget_floor", "--touch", str(campaign))
    assert (less["own"], less["never_touch"]) == ({"max_change_pct": 12.5}, [])
    assert raw(org, "UPDATE cmis.campaigns SET budget = 20") == "max_change_pct"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--set", "budget_floor"), "'budget_floor' is no NAME=VALUE"),
        (("--set", "budget_floor=x"), "--set budget_floor: is no JSON"),
        (("--set", "budget_floor=-1", "--set", "nope=1"), "--set.nope: unknown key"),
        (("--set", "budget_floor=-1", "--set", "nope=1"), "--set.budget_floor: must be a number of at least 0"),
        (("--set", "budget_floor=9", "--set", "budget_ceiling=8"), "is above the budget_ceiling"),
        (("--set", "budget_ceiling=8"), "--set.budget_ceiling: is below 10, the budget_floor where none is set"),
        (("--set", "max_entities_per_run=1.5"), "must be a whole number"),
        (("--never-touch", "nope"), "--never-touch: there is no campaign"),
    ],
)
def test_guardrails_that_make_no_sense_are_refused_whole(
    cmis: Cmis, org: Org, arguments: tuple[str, ...], said: str
) -> None:
    refused = cmis("orgs", "guardrails", "Acme", *arguments)
    assert refused.code == 2
    assert said in refused.err
    assert bounds(cmis)["own"] == {}
    assert org


def test_a_change_that_the_database_refuses_for_a_guardrail_is_an_input_error(org: Org) -> None:
    org.campaign()
    with org.world.app.transaction(org.context) as connection:
        with pytest.raises(DBAPIError, match="guardrail budget_floor") as refused:
            connection.execute(text("UPDATE cmis.campaigns SET budget = 1"))
        connection.rollback()
    code, [line] = failure(refused.value)
    assert code == 2
    assert "below the floor of 10 (let a rule plan it" in line


def test_a_steps_effect_is_shown_with_its_workflow_approved_and_undone(cmis: Cmis, org: Org) -> None:
    flow, campaign = Flow(Desk(org)), org.campaign({}, budget=12)
    halve = action("halve", "decrease_budget", {"value": 50}, campaign=str(campaign))
    instance = flow.start(flow.publish(halve, name="Careful"))
    flow.run()
    [listed] = cmis("actions", "list", "--instance", str(instance), "--json").json
    assert (listed["workflow"], listed["step_id"], listed["instance_id"]) == ("Careful", "halve", str(instance))
    assert "Careful: halve" in cmis("actions", "list", "--status", "held").out
    assert all(word in cmis("actions", "show", listed["action_id"]).out for word in (str(instance), "halve"))

    approved = cmis("actions", "approve", "--instance", str(instance))

    assert approved.out == f"{listed['action_id']} is succeeded; its step of {instance} goes on\n"
    assert org.campaign_row(campaign).budget == 6
    assert cmis("actions", "undo", "--instance", str(instance)).code == 0
    assert org.campaign_row(campaign).budget == 12
