"""Rules are activated, paused and archived, one or many: each once, in one transaction, and all are told of."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from core.errors import ConflictError, InputError
from engine.control_jobs import pause_job, resume_job
from engine.store import rules
from engine.switch_rules import JOB_NOTE, Outcome, Selection, switch_rule, switch_rules
from models.enums import RuleStatus
from tests.integration.engine.ledgers import add_job
from tests.world import NOTIFY

if TYPE_CHECKING:
    from uuid import UUID

    from tests.world import Org, World

ACTIVE, PAUSED, ARCHIVED = RuleStatus.ACTIVE, RuleStatus.PAUSED, RuleStatus.ARCHIVED
RESUME = [{"type": "resume_campaign"}]


def switch(org: Org, status: RuleStatus, *references: UUID | str, strict: bool = False) -> list[Outcome]:
    return switch_rules(org.world.app, org.context, Selection(references), status, strict=strict)


def told(outcomes: list[Outcome]) -> list[tuple[str, str]]:
    return [(each.outcome, each.row.status) for each in outcomes]


def statuses(world: World) -> list[str]:
    return [row.status for row in world.rows("SELECT status FROM cmis.automation_rules ORDER BY rule_id")]


def test_each_rule_is_told_of_once_in_the_order_in_which_it_was_named(org: Org, world: World) -> None:
    first, second, third = (org.rule(name=name, actions=NOTIFY) for name in ("a", "b", "c"))
    switch(org, ARCHIVED, third)
    done = switch(org, PAUSED, second, "a", first, third, "b")
    assert [each.row.name for each in done] == ["b", "a", "c"]
    assert told(done) == [("changed", "paused"), ("changed", "paused"), ("refused", "archived")]
    assert done[2].reason == "the rule 'c' is archived"
    assert told(switch(org, PAUSED, first, second)) == [("unchanged", "paused")] * 2
    versions = "SELECT version FROM cmis.rule_versions WHERE rule_id = :id ORDER BY version"
    assert [row.version for row in world.rows(versions, id=first)] == [1, 2]


def test_filters_select_what_has_all_of_them_and_archived_rules_by_their_status_alone(org: Org, world: World) -> None:
    for number, values in enumerate(
        [
            {"priority": "high", "rule_type": "budget"},
            {"priority": "high", "rule_type": "alert"},
            {"priority": "low", "rule_type": "budget", "status": "draft"},
            {"priority": "high", "rule_type": "budget", "status": "archived"},
        ]
    ):
        org.rule(name=str(number), actions=NOTIFY, **values)

    def selected(**filters: object) -> list[str]:
        done = switch_rules(world.app, org.context, Selection(**filters), PAUSED)  # type: ignore[arg-type]
        return [each.row.name for each in done]

    assert selected(priority="high", rule_type="budget") == ["0"]
    assert selected(references=["2"], priority="high") == ["2", "0", "1"]
    assert selected(everything=True) == ["0", "1", "2"]
    assert selected(status="archived") == ["3"]
    assert selected(everything=True, rule_type="none") == []
    assert statuses(world) == ["paused", "paused", "paused", "archived"]


def test_what_paused_everything_can_be_taken_back_and_drafts_stay_drafts(org: Org, world: World) -> None:
    org.rule(name="live")
    draft = org.rule(name="draft", actions=NOTIFY, status="draft")
    done = switch_rules(world.app, org.context, Selection(everything=True), PAUSED)
    assert [each.row.name for each in done] == ["live"]
    switch_rules(world.app, org.context, Selection(status="paused"), ACTIVE)
    assert statuses(world) == ["active", "draft"]
    assert told(switch_rules(world.app, org.context, Selection(status="draft"), PAUSED)) == [("changed", "paused")]
    assert told(switch(org, PAUSED, draft)) == [("unchanged", "paused")]


def test_the_name_of_an_archived_rule_is_free(org: Org) -> None:
    first = org.rule(name="twin")
    switch(org, ARCHIVED, first)
    assert [each.row.rule_id for each in switch(org, PAUSED, "twin")] == [first]
    second = org.rule(name="twin", actions=NOTIFY)
    assert [each.row.rule_id for each in switch(org, PAUSED, "twin")] == [second]


def test_references_that_name_no_single_rule_are_all_told_and_nothing_is_done(org: Org, world: World) -> None:
    for name in ("twin", "twin", "good"):
        org.rule(name=name)
    with pytest.raises(InputError) as refused:
        switch(org, PAUSED, "good", "nope", "twin")
    assert [problem.message for problem in refused.value.problems] == [
        "there is no rule 'nope'",
        "2 rules are named 'twin'",
    ]
    assert statuses(world) == ["active"] * 3


def test_a_rule_of_another_org_is_none(org: Org, world: World) -> None:
    foreign = world.org("other").rule()
    with pytest.raises(InputError, match="there is no rule"):
        switch(org, PAUSED, foreign)
    assert switch_rules(world.app, org.context, Selection(everything=True), ARCHIVED) == []
    assert statuses(world) == ["active"]


def test_one_rule_that_is_archived_is_an_error(org: Org, world: World) -> None:
    rule_id = org.rule()
    switch(org, ARCHIVED, rule_id)
    with pytest.raises(ConflictError, match=r"the rule 'rule' is archived.*make a copy of it"):
        switch_rule(world.app, org.context, rule_id, ACTIVE)
    assert switch_rule(world.app, org.context, rule_id, ARCHIVED).outcome == "unchanged"


def test_the_jobs_of_an_archived_rule_are_paused_with_it_and_say_why(org: Org, world: World) -> None:
    rule_id, other = org.rule(), org.rule(name="other", actions=NOTIFY)
    job, noted, kept = add_job(org, rule_id, name="job"), add_job(org, rule_id, name="noted"), add_job(org, other)
    pause_job(world.app, org.context, "noted", "my own reason")
    [done] = switch(org, ARCHIVED, rule_id)
    assert list(done.paused_jobs) == ["job"]
    assert (job.row.status, job.row.pause_note) == ("paused", JOB_NOTE)
    assert (noted.row.status, noted.row.pause_note) == ("paused", "my own reason")
    assert kept.row.status == "active"
    assert job.audited()[-1][0] == "job_paused"
    world.advance(minutes=5)
    world.dispatch()
    assert (job.ledger, bool(kept.ledger)) == ([], True)
    with pytest.raises(ConflictError, match="its rule 'rule' is archived"):
        resume_job(world.app, org.context, "job")
    assert job.row.status == "paused"


def test_archiving_again_pauses_a_job_that_raw_sql_had_woken(org: Org, world: World) -> None:
    rule_id = org.rule()
    job = add_job(org, rule_id)
    switch(org, ARCHIVED, rule_id)
    world.meddle("UPDATE cmis.scheduled_jobs SET status = 'active'")
    [done] = switch(org, ARCHIVED, rule_id)
    assert (done.outcome, list(done.paused_jobs), job.row.status) == ("unchanged", [job.row.name], "paused")


def test_a_rule_and_its_jobs_are_archived_together_or_not_at_all(
    org: Org, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    rule_id = org.rule()
    job = add_job(org, rule_id)

    def broken(*_: object) -> None:
        raise RuntimeError("no space left")

    monkeypatch.setattr(rules, "set_status", broken)
    with pytest.raises(RuntimeError):
        switch(org, ARCHIVED, rule_id)
    assert (job.row.status, statuses(world)) == ("active", ["active"])


def test_rules_that_would_work_against_each_other_are_warned_of_or_with_strict_not_activated(
    org: Org, world: World
) -> None:
    running = org.rule(name="running")
    waiting = [org.rule(name=name, actions=RESUME, status="draft") for name in ("one", "two")]
    with pytest.raises(ConflictError) as refused:
        switch(org, ACTIVE, *waiting, strict=True)
    assert len(refused.value.problems) == 2
    assert statuses(world) == ["active", "draft", "draft"]
    done = switch(org, ACTIVE, *waiting)
    assert [[clash.told()["rule_id"] for clash in each.clashes] for each in done] == [[running]] * 2
    assert told(done) == [("changed", "active")] * 2
    assert [list(each.clashes) for each in switch(org, ACTIVE, *waiting)] == [[], []]  # nothing was activated


def test_rules_that_are_activated_together_are_compared_with_each_other_once(org: Org) -> None:
    ids = [org.rule(name="a", status="draft"), org.rule(name="b", actions=RESUME, status="draft")]
    done = switch(org, ACTIVE, *ids)
    assert [len(each.clashes) for each in done] == [1, 0]
    assert done[0].clashes[0].told()["rule"] == "b"
