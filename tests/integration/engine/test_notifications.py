"""The list of notifications: digests that keep a storm to a line, and who read what."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

import pytest

from core.db import CLI_ACTOR, Context
from core.errors import NotFoundError
from core.ids import uuid7
from engine import effects, notifications
from engine.actions.registry import KINDS
from engine.store import actions, executions
from engine.store import notifications as store
from tests.integration.engine.guarding import bind
from tests.world import SPENT

if TYPE_CHECKING:
    from collections.abc import Sequence
    from uuid import UUID

    from tests.world import Org, World

TOLD = [
    {"type": "notify", "params": {"title": "{{ campaign.name }} is dear", "message": "of {{ org.name }}"}},
    {"type": "notify", "params": {"message": "again"}},
]


def digest(org: Org, *, unread: bool = True, limit: int = 100) -> Sequence[Any]:
    with org.world.app.transaction(org.context) as connection:
        since = org.world.now() - timedelta(days=30)
        return notifications.digest(connection, org.context, since=since, unread=unread, limit=limit)


def each(org: Org) -> Sequence[Any]:
    with org.world.app.transaction(org.context) as connection:
        since = org.world.now() - timedelta(days=30)
        return store.listing(connection, org.id, since=since, unread=False, limit=100)


def told(org: Org, *titles: str, rule_id: UUID | None = None) -> list[UUID]:
    """Tell what no action told."""
    now = org.world.now()
    rows: list[dict[str, Any]] = [
        {"notification_id": uuid7(now), "channel": "in_app", "title": title, "body": "-", "rule_id": rule_id}
        for title in titles
    ]
    with org.world.app.transaction(org.context) as connection:
        executions.insert_notifications(connection, org.id, rows, now=now)
    return [row["notification_id"] for row in rows]


def test_a_rule_that_matches_many_campaigns_is_a_line_for_each_of_its_actions(world: World) -> None:
    org = world.org("acme")
    for name in ("D", "A", "C", "B"):
        org.campaign(name=name)
    rule_id = org.rule(SPENT, TOLD)
    org.evaluate(rule_id)
    lines = sorted(digest(org), key=lambda line: line.position)
    assert [(line.position, line.notifications, line.entities) for line in lines] == [(0, 4, 4), (1, 4, 4)]
    assert [line.campaigns for line in lines] == [["A", "B", "C"]] * 2
    assert lines[0].title in {f"{name} is dear" for name in "ABCD"}
    assert lines[0].body == "of acme"
    assert {row.title for row in each(org) if row.position == 0} == {f"{name} is dear" for name in "ABCD"}


def test_a_day_ends_where_the_orgs_zone_says(world: World) -> None:
    org = world.org("acme", "Pacific/Kiritimati")
    org.campaign()
    rule_id = org.rule(SPENT, TOLD[1:])
    org.evaluate(rule_id)
    world.advance(days=1)
    org.evaluate(rule_id)
    org.evaluate(rule_id)
    assert [line.notifications for line in digest(org)] == [2, 1]
    [first, second] = digest(org)
    assert first.day == second.day + timedelta(days=1)


def test_what_no_action_told_stands_for_itself(world: World) -> None:
    org = world.org()
    rule_id = org.rule()
    told(org, "paused", "paused", rule_id=rule_id)
    assert [line.notifications for line in digest(org)] == [1, 1]


def test_a_line_is_read_as_a_whole_and_what_came_later_is_not(world: World) -> None:
    org = world.org()
    for name in ("A", "B"):
        org.campaign(name=name)
    rule_id = org.rule(SPENT, TOLD)
    org.evaluate(rule_id)
    seen = next(line for line in digest(org) if line.position == 0)
    world.advance(minutes=1)
    org.evaluate(rule_id)
    assert notifications.mark_read(world.app, org.context, [seen.notification_id], each=False) == 2
    left = {(line.position, line.notifications) for line in digest(org)}
    assert left == {(0, 2), (1, 4)}
    read = [row for row in each(org) if row.read_at is not None]
    assert {(row.position, row.read_by) for row in read} == {(0, org.context.user_id)}
    lines = {(line.position, line.read, line.notifications) for line in digest(org, unread=False)}
    assert lines == {(0, True, 2), (0, False, 2), (1, False, 4)}


def test_one_alone_is_read_alone(world: World) -> None:
    org = world.org()
    for name in ("A", "B"):
        org.campaign(name=name)
    org.evaluate(org.rule(SPENT, TOLD[:1]))
    [line] = digest(org)
    assert notifications.mark_read(world.app, org.context, [line.notification_id], each=True) == 1
    assert [one.notifications for one in digest(org)] == [1]


def test_all_are_read_once_and_keep_their_reader(world: World) -> None:
    org, other = world.org("one"), world.org("two")
    told(org, "a", "b")
    [theirs] = told(other, "theirs")
    assert notifications.mark_all_read(world.app, org.context) == 2
    again = Context(org.id, CLI_ACTOR)
    assert notifications.mark_all_read(world.app, again) == 0
    ids = [row.notification_id for row in each(org)]
    assert notifications.mark_read(world.app, again, ids, each=False) == 0
    assert {row.read_by for row in each(org)} == {org.context.user_id}
    assert [line.notification_id for line in digest(other)] == [theirs]


def test_an_id_of_another_org_is_none_of_ours_and_then_nothing_is_marked(world: World) -> None:
    org, other = world.org("one"), world.org("two")
    [ours], [theirs] = told(org, "a"), told(other, "b")
    with pytest.raises(NotFoundError, match=str(theirs)):
        notifications.mark_read(world.app, org.context, [ours, theirs], each=False)
    assert len(digest(org)) == len(digest(other)) == 1


def verified(org: Org) -> bool:
    """Say whether the kind finds what each of its effects has told."""
    now = org.world.now()
    with org.world.app.transaction(org.context) as connection:
        only = {"type": "send_notification"}
        rows = actions.listing(connection, org.id, since=now - timedelta(days=1), until=now, matching=only)
        assert rows
        return not KINDS["send_notification"].verify(connection, org.id, [effects.read(row) for row in rows])


def test_twenty_campaigns_are_told_one_by_one(world: World) -> None:
    org = world.org()
    made = {org.campaign() for _ in range(20)}
    org.evaluate(org.rule(SPENT, TOLD[1:]))
    assert {(row.entity_id, row.entities) for row in each(org)} == {(one, 1) for one in made}
    assert verified(org)


@pytest.mark.parametrize("bound", [False, True])
def test_of_more_than_twenty_one_notification_tells_and_stands_for_every_effect(world: World, *, bound: bool) -> None:
    """Also where what changes budgets is applied campaign by campaign, because the day's net change is bounded."""
    org = world.org()
    if bound:
        bind(org, max_daily_net_change=1_000_000)
    for number in range(21):
        org.campaign(name=f"Campaign {number}", budget=100)
    [execution] = org.evaluate(org.rule(SPENT, [{"type": "increase_budget", "value": 1}, *TOLD]))
    assert execution.results == {"succeeded": 63}
    first, second = sorted(each(org), key=lambda row: row.position)
    assert [(row.position, row.entities, row.action_id, row.entity_id) for row in (first, second)] == [
        (1, 21, None, None),
        (2, 21, None, None),
    ]
    assert (first.title, second.title) == ("Campaign 0 is dear", "rule")
    named = ", ".join(f"Campaign {number}" for number in range(10))
    assert second.body == f"again\n21 campaigns: {named} … and 11 more."
    assert {(line.position, line.notifications, line.entities) for line in digest(org)} == {(1, 1, 21), (2, 1, 21)}
    assert world.one("SELECT count(*) FROM cmis.automation_audit_log WHERE action = 'action_taken'") == 63
    assert verified(org)
    world.meddle("DELETE FROM cmis.notifications WHERE position = 2")
    assert not verified(org)


def test_what_waited_for_its_delay_is_told_together_too(world: World) -> None:
    org = world.org()
    for _ in range(25):
        org.campaign()
    actions_of = [{"type": "tag_entity", "value": "x"}, *TOLD[1:]]
    org.evaluate(org.rule(SPENT, actions_of, delay_between_actions_seconds=60))
    assert each(org) == []
    world.advance(seconds=61)
    world.run_all()
    assert [(row.position, row.entities) for row in each(org)] == [(1, 25)]


def test_a_line_is_of_a_day_by_the_products_own_zone_rules(world: World) -> None:
    """A digest that a change of clocks makes 25 hours long is read as a whole, and no more."""
    org = world.org("acme", "Europe/Berlin")
    org.campaign()
    rule_id = org.rule([{"field": "status", "operator": "=", "value": "active"}], TOLD[1:], cooldown_minutes=0)
    day = _clocks_go_back(world.now())
    for moment in (day - timedelta(minutes=1), day, day.replace(hour=23, minute=59), day + timedelta(days=1)):
        world.advance(seconds=(moment.astimezone(UTC) - world.now()).total_seconds())
        org.evaluate(rule_id)
    lines = digest(org)
    assert [((line.day - day.date()).days, line.notifications) for line in lines] == [(1, 1), (0, 2), (-1, 1)]
    assert notifications.mark_read(world.app, org.context, [lines[1].notification_id], each=False) == 2


def _clocks_go_back(now: datetime) -> datetime:
    """Return the next last Sunday of an October, which is 25 hours long in Berlin."""
    ends = [datetime(year, 10, 31, tzinfo=ZoneInfo("Europe/Berlin")) for year in (now.year, now.year + 1)]
    sundays = [end - timedelta(days=(end.weekday() + 1) % 7) for end in ends]
    return next(day for day in sundays if day - timedelta(days=1) > now)
