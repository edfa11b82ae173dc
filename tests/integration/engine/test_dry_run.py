"""A dry run says what a run would do, and does nothing: it is the same code in a transaction that is rolled back."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from core import faults
from core.errors import InputError, NotFoundError, TransientError
from engine import dry_run
from engine.run_rules import compiled
from tests.world import NOTIFY, SPENT

if TYPE_CHECKING:
    from collections.abc import Sequence
    from uuid import UUID

    from tests.world import Org, World

RAISE = [{"type": "increase_budget", "value": 20}]


def everything(world: World) -> dict[str, tuple[int, str]]:
    """Return how many rows each table has, and a digest of what is in them."""
    tables = world.rows("""
        SELECT relname FROM pg_class WHERE relnamespace = 'cmis'::regnamespace AND relkind IN ('r', 'p')
           AND NOT relispartition AND has_table_privilege(oid, 'SELECT')""")
    found = {}
    for (table,) in tables:
        query = f"SELECT count(*), coalesce(md5(string_agg(t::text, '|' ORDER BY t::text)), '') FROM cmis.{table} t"
        [[count, digest]] = world.rows(query)
        found[table] = (count, digest)
    return found


def tried(org: Org, rule: UUID | str, **options: Any) -> dry_run.DryRun:
    return dry_run.try_rule(org.world.app, org.context, rule, **options)


def told(actions: Sequence[Any]) -> list[tuple[Any, ...]]:
    """Return what is told of effects but their ids and times."""
    shown = [(a.position, a.type, a.params, a.entity_id, a.before, a.after, a.status, a.error) for a in actions]
    return sorted(shown, key=lambda one: (one[3], one[0]))


def test_nothing_is_left_in_any_table(world: World, org: Org) -> None:
    org.campaign(budget=100)
    org.campaign(budget=12)
    rule = org.rule(SPENT, [*RAISE, *NOTIFY, {"type": "decrease_budget", "value": 90}, {"type": "pause"}])
    before = everything(world)
    assert {"campaigns", "budget_ledger", "automation_audit_log", "notifications", "tasks"} <= before.keys()
    done = tried(org, rule)
    assert done.execution.results == {"succeeded": 7, "held": 1}
    assert everything(world) == before


def test_a_run_right_after_does_exactly_what_the_dry_run_said(world: World, org: Org) -> None:
    for budget in (100, 12, None, 80):
        org.campaign(budget=budget)
    org.campaign({"spend": 0})
    org.campaign({})
    rule = org.rule(
        [{"field": "spend", "operator": ">", "value": 50}],
        [*RAISE, {"type": "decrease_budget", "value": 50}, *NOTIFY],
        guardrails={"max_entities_per_run": 2},
    )
    said = tried(org, rule)
    [ran] = org.evaluate(rule)
    same = ("status", "skip_reason", "results", "rule_version", "acted_on", "error", "trigger")
    assert {name: getattr(said.execution, name) for name in same} == {name: getattr(ran, name) for name in same}
    assert said.execution.conditions_evaluated["counts"] == ran.conditions_evaluated["counts"]
    assert said.execution.results.keys() == {"succeeded", "failed", "held"}
    did = world.rows("SELECT * FROM cmis.automation_actions")
    assert len(did) == len(said.actions) > 0
    assert told(said.actions) == told(did)


CPA = [{"field": "cpa", "operator": ">", "value": 90}]
HALVE = [{"type": "decrease_budget", "value": 50}]
TRIED: list[dict[str, Any]] = [
    {"conditions": CPA},
    {"conditions": CPA, "min_sample": {"conversions": 2}},
    {"conditions": [{"none": CPA}], "actions": NOTIFY},
    {"actions": HALVE, "guardrails": {"max_daily_net_change": 60}},
    {"actions": [*RAISE, *RAISE], "guardrails": {"budget_ceiling": 130}},
    {"actions": [{"type": "resume_campaign"}, *NOTIFY], "stop_on_error": True},
    {"actions": [{"type": "resume_campaign"}, *NOTIFY], "max_executions_per_day": 1},
    {"actions": [*HALVE, *HALVE, {"type": "pause"}], "cooldown_minutes": 10},
]


@pytest.mark.parametrize("values", TRIED, ids=" ".join)
def test_whatever_a_rule_says_its_dry_runs_and_its_runs_agree(world: World, org: Org, values: dict[str, Any]) -> None:
    for status, budget in (("active", 100), ("paused", 30), ("completed", None), ("archived", 50)):
        org.campaign(status=status, budget=budget)
    org.campaign({"spend": 900, "conversions": 0})
    rule = org.rule(**{"conditions": SPENT, **values})
    seen: set[UUID] = set()
    for _ in range(3):  # each run leaves another state to the next
        said = tried(org, rule)
        [ran] = org.evaluate(rule)
        assert (said.execution.status, said.execution.skip_reason) == (ran.status, ran.skip_reason)
        assert said.execution.conditions_evaluated["counts"] == ran.conditions_evaluated["counts"]
        did = [one for one in world.rows("SELECT * FROM cmis.automation_actions") if one.action_id not in seen]
        assert told(said.actions) == told(did)
        seen |= {one.action_id for one in did}


def test_a_second_dry_run_says_the_same_and_neither_uses_up_limit_or_cooldown(org: Org) -> None:
    org.campaign()
    rule = org.rule(SPENT, NOTIFY, cooldown_minutes=60, max_executions_per_day=1)
    assert told(tried(org, rule).actions) == told(tried(org, rule).actions) != []
    [ran] = org.evaluate(rule)
    assert ran.status == "success"
    assert tried(org, rule).execution.skip_reason == "daily_limit"


@pytest.mark.parametrize("status", ["draft", "paused"])
def test_a_rule_that_is_not_active_is_tried_as_if_it_were_and_keeps_its_version(org: Org, status: str) -> None:
    org.campaign()
    rule = org.rule(status=status)
    done = tried(org, rule)
    assert (done.as_if_active, done.execution.status, done.rule.status) == (True, "success", status)
    assert done.execution.rule_version == done.rule.version == 1
    [ran] = org.evaluate(rule)
    assert ran.skip_reason == "rule_inactive"
    org.update_rule(rule, status="active")
    done = tried(org, rule)
    assert (done.as_if_active, done.execution.rule_version) == (False, 2)


def test_a_rule_that_is_not_stored_is_tried_and_not_stored(world: World, org: Org) -> None:
    campaign = org.campaign()
    document = {"name": "new", "conditions": SPENT, "actions": RAISE, "cooldown_minutes": 5}
    before = everything(world)
    done = dry_run.try_document(world.app, org.context, document)
    assert (done.as_if_active, done.rule.name) == (True, "new")
    assert [(one.entity_id, one.before, one.after) for one in done.actions] == [
        (campaign, {"budget": 100}, {"budget": 120})
    ]
    assert everything(world) == before
    with pytest.raises(InputError, match=r"actions\[0\]"):
        dry_run.try_document(world.app, org.context, document | {"actions": [{"type": "nonsense"}]})


def test_what_a_dry_run_compiled_is_not_taken_for_a_version_that_is_stored_later(org: Org) -> None:
    """A version is compiled once and never again: one that was rolled back must not have been any."""
    org.campaign()
    rule = org.rule(status="paused")
    tried(org, rule)
    org.update_rule(rule, status="active", actions=RAISE)
    [ran] = org.evaluate(rule)
    assert [action["type"] for action in ran.actions_executed] == ["adjust_budget"]
    assert compiled._DEFINED  # there is such a memory


def test_one_campaign_alone_may_be_looked_at(org: Org) -> None:
    org.campaign(name="other")
    mine = org.campaign(name="mine")
    rule = org.rule()
    for reference in ("mine", str(mine)):
        done = tried(org, rule, entity=reference)
        assert [one.entity_id for one in done.actions] == [mine]
        assert done.execution.conditions_evaluated["counts"] == {"true": 1, "acted": 1}
    with pytest.raises(NotFoundError, match="there is no campaign 'theirs'"):
        tried(org, rule, entity="theirs")
    elsewhere = org.rule(entity_id=mine)
    assert tried(org, elsewhere, entity="other").execution.skip_reason == "no_entities"


def test_a_rule_that_cannot_be_read_is_told_as_a_worker_records_it(org: Org) -> None:
    org.campaign()
    done = tried(org, org.rule([{"field": "nonsense", "operator": ">", "value": 1}]))
    assert (done.execution.status, done.execution.error["code"]) == ("failure", "VALIDATION_ERROR")


def test_what_passes_is_raised_as_such(org: Org, monkeypatch: pytest.MonkeyPatch) -> None:
    org.campaign()
    rule = org.rule()
    monkeypatch.setattr(faults, "_faults", faults.Faults({"rules.item": faults._Point.parse("rules.item", "1")}))
    with pytest.raises(TransientError):
        tried(org, rule)


def test_another_orgs_rules_and_campaigns_are_not_there(world: World, org: Org) -> None:
    theirs = world.org("theirs")
    campaign, rule = theirs.campaign(), theirs.rule()
    with pytest.raises(NotFoundError):
        tried(org, rule)
    with pytest.raises(NotFoundError):
        tried(org, org.rule(), entity=str(campaign))
    assert theirs.campaign_row(campaign).status == "active"
