"""Events: told once, and each rule that they trigger evaluated once, over their payload."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy.exc import DBAPIError

from core.errors import ConflictError, InputError
from engine import define, dry_run, emit, rescue, rule_conflicts, run_now
from engine.store import events
from tests.world import NOTIFY, PAUSE

if TYPE_CHECKING:
    from collections.abc import Sequence
    from uuid import UUID

    from tests.world import Org, World

LEAD = "lead.created"
GOOD: dict[str, Any] = {"field": "lead.score", "operator": ">=", "value": 50}


def _rule(org: Org, conditions: Any = (GOOD,), actions: Any = NOTIFY, **values: Any) -> UUID:
    return org.rule(list(conditions), actions, trigger_type="event", **({"event_type": LEAD} | values))


def _tell(org: Org, payload: dict[str, Any], key: str | None = None, event_type: str = LEAD) -> emit.Emitted:
    return emit.emit(org.world.app, org.context, emit.read(event_type, payload, idempotency_key=key))


def _executions(world: World) -> Sequence[Any]:
    return world.rows("SELECT * FROM cmis.automation_executions ORDER BY execution_id")


def _told(world: World) -> list[tuple[str, str]]:
    return [tuple(row) for row in world.rows("SELECT title, body FROM cmis.notifications ORDER BY title, body")]


def test_an_event_triggers_the_active_rules_of_its_type_and_nothing_else(world: World) -> None:
    org, other = world.org(), world.org("other")
    north, south = org.campaign(name="north"), org.campaign(name="south")
    other.campaign()
    rule = _rule(org, actions=PAUSE)
    _rule(org, status="paused")
    _rule(org, event_type="lead.lost")
    org.rule()
    _rule(other)
    emitted = _tell(org, {"campaign_id": str(north), "lead": {"score": 80}})
    assert (emitted.triggered, emitted.campaign_id, emitted.already, emitted.note) == (1, north, False, None)
    world.run_all()
    [execution] = _executions(world)
    assert (execution.rule_id, execution.trigger, execution.status) == (rule, "event", "success")
    assert execution.context == {"event_id": str(emitted.event_id), "event_type": LEAD}
    [entity] = execution.conditions_evaluated["entities"]
    [leaf] = entity["trace"]["all"]
    assert (leaf["field"], leaf["actual"], leaf["result"]) == ("lead.score", 80, True)
    assert (org.campaign_row(north).status, org.campaign_row(south).status) == ("paused", "active")


def test_a_path_that_the_payload_lacks_is_unknown_and_a_payloads_names_are_never_a_campaigns(world: World) -> None:
    org = world.org()
    org.campaign(budget=1000)
    _rule(org)
    _rule(org, [{"field": "budget", "operator": ">", "value": 500}], name="budget")
    _rule(org, [{"field": "lead.score", "operator": "is_null"}], name="empty")
    assert _tell(org, {"lead": {}}).triggered == 3
    world.run_all()
    assert sorted((one.status, one.skip_reason or "") for one in _executions(world)) == [
        ("skipped", "conditions_unknown"),
        ("skipped", "conditions_unknown"),
        ("success", ""),
    ]
    assert _told(world) == [("empty", "look")]


def test_a_scheduled_rule_and_one_of_an_event_in_one_task_read_each_their_own(world: World) -> None:
    org = world.org()
    org.campaign(budget=1000)
    planned = org.rule([{"field": "budget", "operator": "=", "value": 1000}], NOTIFY, name="planned")
    _rule(org, [{"field": "budget", "operator": "=", "value": 7}], name="told")
    _tell(org, {"budget": 7})
    world.enqueue({org.id: [planned]})
    world.meddle("""
        UPDATE cmis.tasks SET payload = jsonb_set(payload, '{groups,0,items}', (
          SELECT jsonb_agg(item)
            FROM cmis.tasks t, jsonb_array_elements(t.payload -> 'groups' -> 0 -> 'items') item))""")
    [first, _] = world.rows("SELECT task_id FROM cmis.tasks ORDER BY task_id")
    world.run(org.id, first.task_id)
    assert [one.status for one in _executions(world)] == ["success", "success"]


def test_a_rule_about_the_event_acts_once_on_it_and_rests_as_a_whole(world: World) -> None:
    org = world.org()
    for _ in range(3):
        org.campaign()
    _rule(org, entity_type="event", cooldown_minutes=60, name="tell")
    first = _tell(org, {"lead": {"score": 80}, "campaign_id": "nobody"})
    assert first.triggered == 1
    assert first.note == "campaign_id 'nobody' names no campaign of this org"
    world.run_all()
    assert _told(world) == [("tell", "look")]
    [action] = world.rows("SELECT entity_type, entity_id, status FROM cmis.automation_actions")
    assert tuple(action) == ("event", first.event_id, "succeeded")
    assert world.one("SELECT entity_type FROM cmis.automation_audit_log WHERE action = 'action_taken'") == "event"
    _tell(org, {"lead": {"score": 90}})
    world.run_all()
    assert _executions(world)[-1].skip_reason == "cooldown"
    world.advance(minutes=61)
    _tell(org, {"lead": {"score": 90}})
    world.run_all()
    assert len(_told(world)) == 2


def test_an_event_names_a_campaign_by_its_external_id_and_platform(world: World) -> None:
    org = world.org()
    meta = org.campaign(external_id="77", platform="meta")
    google = org.campaign(external_id="77", platform="google_ads")
    _rule(org)
    _rule(org, entity_id=google)
    both = _tell(org, {"external_id": "77"})
    assert (both.triggered, both.note) == (0, "external_id '77' names several campaigns: give the platform, too")
    one = _tell(org, {"external_id": 77, "platform": "meta"})
    assert (one.triggered, one.campaign_id) == (1, meta)  # the other rule is for the other campaign alone
    assert _tell(org, {"external_id": "77", "platform": "google_ads"}).triggered == 2
    assert _tell(org, {}).triggered == 2


def test_a_campaign_of_another_org_is_none(world: World) -> None:
    org, other = world.org(), world.org("other")
    theirs = other.campaign()
    _rule(org)
    told = _tell(org, {"campaign_id": str(theirs), "lead": {"score": 80}})
    assert (told.triggered, told.campaign_id) == (0, None)
    with world.app.transaction(other.context) as connection:
        assert events.listing(connection, other.id, event_type=None, limit=10) == []
        assert events.get(connection, org.id, told.event_id) is None


def test_the_same_key_and_content_is_the_first_event_and_other_content_is_refused(world: World) -> None:
    org, other = world.org(), world.org("other")
    org.campaign()
    _rule(org)
    payload = {"lead": {"score": 1e300, "tags": ["a", None, True]}}
    first = _tell(org, payload, "k")
    again = _tell(org, payload, "k")
    assert (again.event_id, again.already, again.triggered) == (first.event_id, True, 1)
    for different, event_type in ((payload | {"x": 1}, LEAD), (payload, "lead.lost")):
        with pytest.raises(ConflictError, match="the key of another event"):
            _tell(org, different, "k", event_type)
    assert not _tell(other, payload, "k").already
    world.run_all()
    assert len(_executions(world)) == 1


def test_of_many_at_once_with_one_key_one_triggers(world: World) -> None:
    org = world.org()
    org.campaign()
    for number in range(3):
        _rule(org, name=f"rule {number}")
    with ThreadPoolExecutor(8) as pool:
        told = list(pool.map(lambda _: _tell(org, {"lead": {"score": 60}}, "once"), range(24)))
    assert len({one.event_id for one in told}) == 1
    assert [one.already for one in told].count(False) == 1
    world.run_all()
    assert len(_executions(world)) == len(_told(world)) == 3


def test_two_hundred_and_fifty_rules_make_three_tasks(world: World) -> None:
    org = world.org()
    org.campaign()
    for number in range(250):
        _rule(org, name=f"rule {number}")
    assert _tell(org, {"lead": {"score": 60}}).triggered == 250
    sizes = world.rows("SELECT jsonb_array_length(payload -> 'groups' -> 0 -> 'items') AS n FROM cmis.tasks")
    assert sorted(row.n for row in sizes) == [50, 100, 100]
    world.run_all()
    assert len(_executions(world)) == 250


def test_a_rule_whose_trigger_was_changed_after_the_event_does_not_act(world: World) -> None:
    org = world.org()
    org.campaign()
    away = _rule(org, name="away")
    other = _rule(org, name="other")
    _tell(org, {"lead": {"score": 80}, "spend": 1})
    org.update_rule(away, trigger_type="schedule", event_type=None, conditions=[])
    org.update_rule(other, event_type="lead.lost")
    org.update_rule(away, conditions=[{"field": "spend", "operator": ">", "value": 0}])
    world.run_all()
    assert [one.skip_reason for one in _executions(world)] == ["rule_inactive", "rule_inactive"]


def test_an_event_that_is_forgotten_fails_its_evaluations(world: World) -> None:
    org = world.org()
    org.campaign()
    _rule(org)
    _tell(org, {"lead": {"score": 80}})
    world.meddle("DELETE FROM cmis.automation_events")
    world.run_all()
    [execution] = _executions(world)
    assert execution.status == "failure"
    assert "is forgotten" in execution.error["message"]


def test_maintenance_forgets_events_after_ninety_days(world: World) -> None:
    org = world.org()
    _tell(org, {}, "old")
    world.advance(days=60)
    _tell(org, {}, "new")
    world.advance(days=31)
    assert rescue.enqueue_maintenance(world.scheduler)
    [task] = world.rows("SELECT task_id FROM cmis.tasks WHERE kind = 'maintain'")
    result = rescue.maintain(world.app, task.task_id, worker="worker")
    assert result is not None
    assert result["events"] == 1
    assert world.one("SELECT idempotency_key FROM cmis.automation_events") == "new"


def test_event_rules_are_made_as_documents_and_refused_where_there_is_no_event(world: World) -> None:
    org = world.org()
    document = {
        "name": "Tell of leads",
        "status": "active",
        "trigger_type": "event",
        "event_type": LEAD,
        "entity_type": "event",
        "conditions": [GOOD],
        "actions": NOTIFY,
    }
    saved = define.create_rule(world.app, org.context, document)
    assert (saved.row.trigger_type, saved.row.event_type, saved.row.entity_type) == ("event", LEAD, "event")
    with pytest.raises(InputError, match=r"actions\[0\].type: pause_campaign acts on campaigns"):
        define.create_rule(world.app, org.context, document | {"actions": PAUSE})
    with pytest.raises(InputError, match="names a rule that events trigger"):
        dry_run.try_rule(world.app, org.context, saved.row.rule_id)
    assert rule_conflicts.standing(world.app, org.context) == []
    version = world.one("SELECT definition FROM cmis.rule_versions ORDER BY version DESC LIMIT 1")
    assert version["event_type"] == LEAD


def test_delayed_actions_of_an_event_rule_follow(world: World) -> None:
    org = world.org()
    campaign = org.campaign()
    _rule(org, actions=[*NOTIFY, *PAUSE], delay_between_actions_seconds=60)
    _tell(org, {"campaign_id": str(campaign), "lead": {"score": 80}})
    world.run_all()
    assert org.campaign_row(campaign).status == "active"
    world.advance(seconds=61)
    world.run_all()
    assert org.campaign_row(campaign).status == "paused"


def test_an_optimisation_and_a_job_leave_event_rules_alone(world: World) -> None:
    org = world.org()
    campaign = org.campaign()
    rule = _rule(org, [{"field": "anything", "operator": "is_null"}], PAUSE)
    run_now.queue_optimization(world.app, org.context, None)
    world.run_all()
    assert _executions(world) == []
    [execution] = org.evaluate(rule)
    assert (execution.status, execution.skip_reason) == ("skipped", "rule_inactive")
    assert org.campaign_row(campaign).status == "active"


def test_a_number_that_cannot_be_read_again_is_refused_at_the_edge(world: World) -> None:
    org = world.org()
    with pytest.raises(InputError, match="payload"):
        _tell(org, {"score": 10**400})
    assert world.one("SELECT count(*) FROM cmis.automation_events") == 0


def test_a_trace_shows_the_beginning_of_a_long_text(world: World) -> None:
    org = world.org()
    org.campaign()
    _rule(org, [{"field": "text", "operator": "contains", "value": "x"}])
    _tell(org, {"text": "x" * 60_000})
    world.run_all()
    shown = world.one("SELECT max(length(conditions_evaluated::text)) FROM cmis.automation_executions")
    assert 500 < shown < 3_000


def test_a_viewer_emits_nothing(world: World) -> None:
    org = world.org()
    world.meddle("UPDATE cmis.user_orgs SET role = 'viewer'")
    with pytest.raises(DBAPIError, match="is no operator"):
        _tell(org, {"score": 9})
