from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy.exc import OperationalError

from core.errors import InputError, PermanentError, TransientError
from engine.actions.base import Effect
from engine.actions.registry import parse_actions
from engine.actions.status import PauseCampaign
from engine.chunk import Item
from engine.rules.conditions import parse
from engine.rules.guardrails import DEFAULTS, Guardrails
from engine.rules.tree import operands
from engine.rules.trust import Trust
from engine.run_rules.compiled import Program, Rule
from engine.run_rules.ended import error_document, status_of
from engine.run_rules.facts import Page, Sums
from engine.run_rules.group import waves
from engine.run_rules.later import followers
from engine.run_rules.operands import Operands
from engine.run_rules.plan import (
    close_gates,
    conflicting_versions,
    plan_page,
    rounds,
    touched,
)
from engine.run_rules.state import SHOWN_ACTED, SHOWN_OTHERS, Asked, Memory, Overlay, Run

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
ACTIVE = [{"field": "status", "operator": "=", "value": "active"}]
HAS_BUDGET = [{"field": "budget", "operator": ">", "value": 0}]


@dataclass(frozen=True)
class Row:
    """A campaign as the database returns it."""

    campaign_id: UUID
    name: str = "campaign"
    status: str = "active"
    budget: Decimal | None = Decimal(100)
    currency: str | None = "EUR"
    version: int = 1
    bid_amount: Decimal | None = None
    objective: str | None = None
    tags: tuple[str, ...] = ()
    end_date: date | None = None
    platform: str = "meta"
    external_id: str | None = None


def _page(*rows: Row) -> Overlay:
    return Overlay(Page(NOW, NOW.date(), {row.campaign_id: row for row in rows}, {}))


def _rows(number: int, **values: Any) -> list[Row]:
    return [Row(UUID(int=n + 1), **values) for n in range(number)]


def _run(conditions: list[dict[str, Any]], actions: list[dict[str, Any]], number: int = 1, **changes: Any) -> Run:
    condition = parse(conditions, "and")
    rule = Rule(
        rule_id=UUID(int=1000 + number),
        name="rule",
        version=1,
        entity_id=None,
        program=Program(condition, Operands(operands(condition)), tuple(parse_actions(actions, "actions"))),
        stop_on_error=False,
        rank=2,
        status="active",
        daily_limit=None,
        cooldown_minutes=60,
        guardrails=DEFAULTS,
        trust=Trust({}, None),
        delay=timedelta(0),
        failures=0,
        acted_on=None,
        acted_today=0,
    )
    return Run(Item(rule.rule_id, UUID(int=5000 + number), "manual"), replace(rule, **changes))


def _memory(**known: Any) -> Memory:
    return Memory(NOW, NOW.date(), known.get("last_acted", {}), known.get("held", set()))


def _planned(*runs: Run, rows: list[Row], **known: Any) -> Overlay:
    overlay = _page(*rows)
    for run in runs:
        plan_page(run, overlay, _memory(**known))
    return overlay


def test_a_later_rule_sees_the_effects_of_an_earlier_one() -> None:
    pausing, counting = _run(ACTIVE, [{"type": "pause"}]), _run(ACTIVE, [{"type": "notify"}], 2)
    _planned(pausing, counting, rows=_rows(3))
    assert [effect.status for effect in pausing.effects] == ["succeeded"] * 3
    assert counting.effects == []
    assert counting.counts["false"] == 3


def test_a_later_action_starts_from_what_the_earlier_one_made() -> None:
    run = _run(ACTIVE, [{"type": "increase_budget", "value": 10}, {"type": "increase_budget", "value": 10}])
    _planned(run, rows=_rows(1))
    assert [effect.after for effect in run.effects] == [{"budget": 110}, {"budget": 121}]


def test_traces_are_kept_of_all_with_effects_up_to_1000_and_of_20_of_each_other_result() -> None:
    paused = [{"field": "status", "operator": "=", "value": "paused"}]
    acting, idle = _run(ACTIVE, [{"type": "notify"}]), _run(paused, [{"type": "notify"}], 2)
    _planned(acting, idle, rows=_rows(SHOWN_ACTED + 7))
    assert len(acting.entities) == SHOWN_ACTED
    assert acting.counts == {"true": SHOWN_ACTED + 7, "acted": SHOWN_ACTED + 7}
    assert len(idle.shown_entities) == SHOWN_OTHERS
    assert (idle.counts["false"], idle.counts["acted"]) == (SHOWN_ACTED + 7, 0)


def test_of_many_misses_the_narrowest_are_kept_and_of_few_all_in_their_order() -> None:
    rich = [{"field": "budget", "operator": ">", "value": 1000}]
    many, few = _run(rich, [{"type": "notify"}]), _run(rich, [{"type": "notify"}], 2)
    rows = [Row(UUID(int=n), budget=Decimal(n)) for n in range(1, 101)]
    _planned(many, rows=rows)
    _planned(few, rows=rows[:3])
    kept = [entity["trace"].document()["all"][0] for entity in many.shown_entities]
    assert [leaf["actual"] for leaf in kept] == list(range(100, 100 - SHOWN_OTHERS, -1))
    assert kept[0]["margin_pct"] == 900
    assert [entity["trace"].document()["all"][0]["actual"] for entity in few.shown_entities] == [1, 2, 3]


def test_a_guardrail_holds_what_any_kind_of_action_would_change() -> None:
    rows = _rows(4)
    pausing = _run(ACTIVE, [{"type": "pause"}], guardrails=Guardrails(max_entities_per_run=3))
    _planned(pausing, rows=rows)
    assert [effect.status for effect in pausing.effects] == ["succeeded"] * 3 + ["held"]
    assert pausing.effects[-1].guardrail == "max_entities_per_run"
    raising = _run(
        ACTIVE, [{"type": "increase_budget", "value": 50}], guardrails=Guardrails(max_daily_net_change=Decimal(120))
    )
    _planned(raising, rows=rows)
    assert [(effect.status, effect.guardrail) for effect in raising.effects] == [
        ("succeeded", None),
        ("succeeded", None),
        ("held", "max_daily_net_change"),
        ("held", "max_daily_net_change"),
    ]


def test_what_is_not_trusted_is_unknown_and_says_why() -> None:
    spent = [{"field": "spend", "operator": ">", "value": 0}]
    sums = {(UUID(int=1), "last_7d"): Sums({"spend": Decimal(5), "impressions": Decimal(10)}, NOW)}
    page = Page(NOW, NOW.date(), {UUID(int=1): Row(UUID(int=1))}, sums)
    run = _run(spent, [{"type": "notify"}], trust=Trust({"impressions": Decimal(11)}, None))
    plan_page(run, Overlay(page), _memory())
    [entity] = run.shown_entities
    assert entity["result"] == "unknown"
    assert "min_sample asks for 11" in entity["trace"].document()["all"][0]["reason"]


def test_an_entity_whose_effect_is_held_is_shown_and_has_not_acted() -> None:
    run = _run(ACTIVE, [{"type": "decrease_budget", "value": 99}])
    _planned(run, rows=_rows(30))
    assert len(run.entities) == 30
    assert not run.acted
    assert {entity["acted"] for entity in run.entities} == {False}
    assert run.counts["acted"] == 0


def test_stop_on_error_leaves_out_the_following_actions_of_that_entity_only() -> None:
    rows = [Row(UUID(int=1), budget=None), Row(UUID(int=2))]
    actions: list[dict[str, Any]] = [{"type": "increase_budget", "value": 10}, {"type": "pause"}]
    stopping, going_on = _run(ACTIVE, actions, stop_on_error=True), _run(ACTIVE, actions)
    _planned(stopping, rows=rows)
    _planned(going_on, rows=rows)
    assert [(e.entity_id.int, e.kind, e.status) for e in stopping.effects] == [
        (1, "adjust_budget", "failed"),
        (2, "adjust_budget", "succeeded"),
        (2, "pause_campaign", "succeeded"),
    ]
    assert [e.status for e in going_on.effects] == ["failed", "succeeded", "succeeded", "succeeded"]


def test_with_a_delay_only_the_first_action_is_planned_and_the_others_are_queued_as_they_are() -> None:
    actions: list[dict[str, Any]] = [{"type": "increase_budget", "value": 10}, {"type": "pause"}, {"type": "notify"}]
    run = _run(ACTIVE, actions, delay=timedelta(seconds=60))
    overlay = _planned(run, rows=[Row(UUID(int=1), budget=None), Row(UUID(int=2))])
    assert [(e.entity_id.int, e.position, e.status) for e in run.effects] == [
        (1, 0, "failed"),
        (1, 1, "queued"),
        (1, 2, "queued"),
        (2, 0, "succeeded"),
        (2, 1, "queued"),
        (2, 2, "queued"),
    ]
    assert {(e.before, e.after) == ({}, {}) for e in run.effects if e.status == "queued"} == {True}
    assert overlay.get(UUID(int=2)).status == "active"
    assert touched([run]) == [UUID(int=2)]
    assert status_of(run.effects) == "running"
    assert run.counts["acted"] == 2
    tasks = [(one.position, one.run_at - NOW) for one in followers(run, _memory())]
    assert tasks == [(1, timedelta(seconds=60)), (2, timedelta(seconds=120))]


def test_a_rule_acts_by_what_it_queues_and_a_single_action_needs_no_task() -> None:
    paused = _run(ACTIVE, [{"type": "resume_campaign"}, {"type": "notify"}], delay=timedelta(seconds=1))
    _planned(paused, rows=_rows(1))
    assert [effect.status for effect in paused.effects] == ["queued"]
    assert paused.acted
    single = _run(ACTIVE, [{"type": "notify"}], delay=timedelta(seconds=1))
    _planned(single, rows=_rows(1))
    assert list(followers(single, _memory())) == []


def test_what_is_held_already_is_not_asked_for_again() -> None:
    run = _run(ACTIVE, [{"type": "decrease_budget", "value": 99}])
    _planned(run, rows=_rows(2), held={Asked(run.rule.rule_id, UUID(int=1), "adjust_budget", '{"percent": -99}')})
    assert [effect.entity_id for effect in run.effects] == [UUID(int=2)]
    assert "guardrail" in run.reached


def test_the_cooldown_holds_per_entity_to_its_exact_boundary() -> None:
    run = _run(ACTIVE, [{"type": "notify"}])
    ago = [timedelta(minutes=60), timedelta(minutes=60) - timedelta(microseconds=1)]
    known = {(run.rule.rule_id, UUID(int=n + 1)): NOW - passed for n, passed in enumerate(ago)}
    _planned(run, rows=_rows(3), last_acted=known)
    assert [effect.entity_id.int for effect in run.effects] == [1, 3]
    assert run.counts["cooldown"] == 1


@pytest.mark.parametrize(
    ("changes", "stopped"),
    [
        ({}, None),
        ({"status": "draft"}, "rule_inactive"),
        ({"daily_limit": 2, "acted_on": NOW.date(), "acted_today": 2}, "daily_limit"),
        ({"daily_limit": 2, "acted_on": NOW.date(), "acted_today": 1}, None),
        ({"daily_limit": 2, "acted_on": date(2026, 2, 28), "acted_today": 2}, None),
    ],
)
def test_a_rule_as_a_whole_is_stopped_by(changes: dict[str, Any], stopped: str | None) -> None:
    run = _run(ACTIVE, [{"type": "notify"}], **changes)
    close_gates(run, _memory())
    assert run.stopped == stopped


def test_only_campaigns_whose_rows_are_written_are_touched_and_conflict_by_their_version() -> None:
    pausing = _run(
        [{"field": "status", "operator": "=", "value": "active"}], [{"type": "pause"}], entity_id=UUID(int=2)
    )
    telling = _run(ACTIVE, [{"type": "notify"}], 2)
    overlay = _planned(pausing, telling, rows=_rows(3))
    assert touched([pausing, telling]) == [UUID(int=2)]
    assert not conflicting_versions([pausing], {UUID(int=2): 1}, [overlay])
    assert conflicting_versions([pausing], {UUID(int=2): 2}, [overlay])
    assert conflicting_versions([pausing], {}, [overlay])


effects_of = st.lists(
    st.tuples(st.integers(0, 3), st.sampled_from(["adjust_budget", "pause_campaign", "send_notification"])), max_size=20
)


def _effect(entity: int, kind: str, status: Any = "succeeded", position: int = 0) -> Effect:
    ids = (UUID(int=position), UUID(int=1), UUID(int=2))
    return Effect(*ids, position, kind, {}, UUID(int=entity), {"x": 1}, {}, status)


@given(effects_of)
def test_effects_are_applied_in_order_each_campaign_once_a_round(specs: list[tuple[int, str]]) -> None:
    run = _run(ACTIVE, [{"type": "notify"}])
    run.effects = [_effect(entity, kind, position=n) for n, (entity, kind) in enumerate(specs)]
    applied = rounds([run])
    for batch in applied:
        assert len({effect.kind == "send_notification" for effect in batch}) == 1
        assert max(Counter(effect.entity_id for effect in batch).values()) == 1
    for entity in range(4):
        order = [effect.position for batch in applied for effect in batch if effect.entity_id.int == entity]
        assert order == [n for n, (one, _) in enumerate(specs) if one == entity]


@given(
    st.lists(
        st.tuples(st.integers(0, 3), st.integers(0, 2), st.integers(0, 9), st.booleans()), max_size=40, unique=True
    )
)
def test_a_kind_has_all_that_an_execution_does_elsewhere_at_one_place_in_one_batch_after_the_changes(
    specs: list[tuple[int, int, int, bool]],
) -> None:
    run = _run(ACTIVE, [{"type": "notify"}])
    run.effects = [
        replace(_effect(entity, "send_notification", position=place), execution_id=UUID(int=execution), before=before)
        for execution, place, entity, changes in specs
        for before in [{"status": "active"} if changes else {}]
    ]
    applied = rounds([run])
    assert sum(map(len, applied)) == len(specs)
    elsewhere = [batch for batch in applied if not batch[0].before]
    assert applied[len(applied) - len(elsewhere) :] == elsewhere
    places = [{(one.execution_id, one.position) for one in batch} for batch in elsewhere]
    assert sum(map(len, places)) == len(set().union(*places))
    for batch in applied:
        assert max(Counter(effect.entity_id for effect in batch).values()) == 1


def test_whatever_changes_columns_is_written_in_one_batch() -> None:
    run = _run(ACTIVE, [{"type": "notify"}])
    kinds = ["pause_campaign", "send_notification", "adjust_budget", "tag_entity"]
    run.effects = [_effect(entity, kind) for entity, kind in enumerate(kinds)]
    written = [sorted(effect.kind for effect in batch) for batch in rounds([run])]
    assert sorted(written) == [["adjust_budget", "pause_campaign", "tag_entity"], ["send_notification"]]


@pytest.mark.parametrize(
    ("statuses", "expected"),
    [
        ([], "skipped"),
        (["succeeded"], "success"),
        (["succeeded", "failed"], "partial"),
        (["failed", "failed"], "failure"),
        (["held"], "running"),
        (["held", "succeeded"], "running"),
        (["held", "failed"], "running"),
    ],
)
def test_an_execution_is(statuses: list[str], expected: str) -> None:
    assert status_of([_effect(n, "pause_campaign", status) for n, status in enumerate(statuses)]) == expected


@given(st.lists(st.integers(0, 5), max_size=30))
def test_no_rule_is_twice_in_a_wave_and_its_runs_keep_their_order(rule_ids: list[int]) -> None:
    items = [Item(UUID(int=rule), UUID(int=n), "schedule") for n, rule in enumerate(rule_ids)]
    made = list(waves(items))
    assert sorted(item.execution_id for wave in made for item in wave) == sorted(item.execution_id for item in items)
    for wave in made:
        assert len({item.rule_id for item in wave}) == len(wave)
    for rule in range(6):
        order = [item.execution_id.int for wave in made for item in wave if item.rule_id.int == rule]
        assert order == sorted(order)


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (TransientError("later"), "TRANSIENT"),
        (PermanentError("never"), "PERMANENT"),
        (InputError.of("actions", "wrong"), "VALIDATION_ERROR"),
        (TimeoutError("slow"), "TRANSIENT"),
        (KeyError("x"), "INTERNAL_ERROR"),
    ],
)
def test_an_error_is_recorded_with_a_stable_code(error: Exception, code: str) -> None:
    assert error_document(error)["code"] == code


def test_a_database_error_is_recorded_without_its_statement_and_values() -> None:
    class DriverError(Exception):
        sqlstate = "57014"

    error = OperationalError("SELECT secret", {"key": "value"}, DriverError("canceling statement\nDETAIL: row (1)"))
    assert error_document(error) == {"code": "TRANSIENT", "type": "OperationalError", "message": "canceling statement"}


def test_a_plan_that_is_none_is_a_failure_with_a_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    run = _run(ACTIVE, [{"type": "pause"}])
    monkeypatch.setattr(PauseCampaign, "plan", lambda *_: None)
    _planned(run, rows=_rows(1))
    [effect] = run.effects
    assert (effect.status, effect.reason) == ("failed", "pause_campaign planned nothing that an action can")
