"""Every kind of action keeps the contract, and the kit that says so is not blind."""

from __future__ import annotations

from datetime import date
from typing import TYPE_CHECKING, Any

import pytest

from engine.actions.base import Change, Delivery
from engine.actions.budget import AdjustBudget
from engine.actions.kit import Example, check, check_pure
from engine.actions.notification import SendNotification
from engine.actions.registry import KINDS
from engine.actions.rehearsal import WORKFLOW, rehearsal
from engine.actions.status import PauseCampaign
from engine.actions.tags import TagEntity
from engine.actions.webhook import TriggerWebhook
from models.enums import Channel

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from engine.actions.base import Action
    from tests.world import World

EXAMPLES: Mapping[str, Sequence[Example]] = {
    "pause_campaign": [
        Example({}),
        Example({"reason": "too dear"}, spelling="pause"),
        Example({}, {"status": "paused"}, spelling="pause_underperforming"),
        Example({}, {"status": "completed"}),
    ],
    "resume_campaign": [Example({}, {"status": "paused"}), Example({}), Example({}, {"status": "archived"})],
    "adjust_budget": [
        Example({"percent": 12.5}),
        Example({"amount": -7.77}),
        Example({"set": 64, "floor": 70, "ceiling": 80}),
        Example({"value": 10}, {"budget": None}),
        Example({"value": 20}, spelling="increase_budget"),
        Example({"percent": 30, "floor": 60}, spelling="decrease_budget"),
    ],
    "adjust_bid": [
        Example({"set": 1.25}),
        Example({"amount": 0.01, "ceiling": 9}),
        Example({"percent": 5}, {"bid_amount": None}),
        Example({"percent": 10}, spelling="increase_bid"),
        Example({"value": 10}, spelling="decrease_bid"),
    ],
    "tag_entity": [
        Example({"tag": "hot"}),
        Example({"tags": ["hot", "new"], "remove": "cold"}, {"tags": ["cold", "old"]}),
        Example({"value": "old", "remove": True}, {"tags": ["cold", "old"]}),
        Example({"tag": "old"}, {"tags": ["old"]}),
    ],
    "set_field": [
        Example({"field": "name", "value": "Renamed"}),
        Example({"field": "objective", "value": "sales"}),
        Example({"field": "objective", "value": None}, {"objective": "sales"}),
        Example({"field": "end_date", "value": "2027-01-31"}, {"end_date": date(2026, 12, 31)}),
        Example({"field": "end_date", "value": None}, {"end_date": date(2026, 12, 31)}),
    ],
    "send_notification": [
        Example({}),
        Example({"title": "Look", "message": "at this"}, spelling="notify"),
        Example({"value": "look"}, spelling="send_alert"),
        Example({"channel": "in_app"}, spelling="create_alert"),
        Example({"title": "{{ campaign.name }}", "message": "{{ rule.name }} of {{ org.name }}"}),
        Example({"channel": "email", "to": "ana@example.com", "title": "{{ campaign.name }}"}),
        Example({"channel": "slack", "url": "secret://slack"}),
        Example({"channel": "webhook", "url": "https://hooks.example.com/1"}),
    ],
    "trigger_webhook": [
        Example({"url": "https://hooks.example.com/1", "payload": {"to": ["{{ campaign.budget }}", 1, None]}}),
        Example({"value": "secret://hook", "headers": {"Authorization": "Bearer secret://token"}}, spelling="webhook"),
    ],
    "start_workflow": [
        Example({"template": WORKFLOW}),
        Example({"value": WORKFLOW, "version": 1, "context": {"of": ["{{ campaign.name }}", 1], "campaign": "mine"}}),
    ],
}


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_keeps_the_contract(world: World, kind: str) -> None:
    assert kind in EXAMPLES, f"give {kind} examples here"
    with rehearsal(world.app) as stage:
        check(KINDS[kind], EXAMPLES[kind], stage)


def test_a_rehearsal_leaves_nothing_behind(world: World) -> None:
    with rehearsal(world.app) as stage:
        check(KINDS["adjust_budget"], EXAMPLES["adjust_budget"], stage)
    assert world.one("SELECT count(*) FROM cmis.campaigns") == 0
    assert world.one("SELECT count(*) FROM cmis.orgs WHERE name <> '(reserved)'") == 0


class _Mutating(TagEntity):
    def plan(self, params: Any, campaign: Any, scope: Any) -> Any:
        campaign.tags.append("mutated")
        return super().plan(params, campaign, scope)


class _Blind(PauseCampaign):
    def verify(self, connection: Any, org_id: Any, effects: Any) -> Any:
        del connection, org_id, effects
        return {}


class _OnlyTheFirst(PauseCampaign):
    def apply(self, connection: Any, org_id: Any, effects: Any, *, now: Any) -> None:
        super().apply(connection, org_id, effects[:1], now=now)


class _NotBack(AdjustBudget):
    def revert(self, connection: Any, org_id: Any, effects: Any, *, now: Any) -> None:
        self.apply(connection, org_id, effects, now=now)


class _NotIdempotent(AdjustBudget):
    idempotent = True


class _Elsewhere(PauseCampaign):
    def plan(self, params: Any, campaign: Any, scope: Any) -> Any:
        plan: Any = super().plan(params, campaign, scope)
        return Change({**plan.before, "platform": "x"}, {**plan.after, "platform": "y"})


class _Greedy(PauseCampaign):
    def validate(self, params: Any, *, spelling: str, path: str) -> Any:
        del params, spelling, path
        return {}


class _Unstable(PauseCampaign):
    def validate(self, params: Any, *, spelling: str, path: str) -> Any:
        super().validate(params, spelling=spelling, path=path)
        return {"reason": params.get("reason", "") + "!"}


class _Forgiving(SendNotification):
    def revert(self, connection: Any, org_id: Any, effects: Any, *, now: Any) -> None:
        del connection, org_id, effects, now


class _Told(TriggerWebhook):
    """Sends what it is told to, by a channel that it is told."""

    def __init__(self, plan: Delivery) -> None:
        self._plan = plan

    def plan(self, params: Any, campaign: Any, scope: Any) -> Any:
        del params, campaign, scope
        return self._plan


_MESSAGE: Any = {"url": "https://hooks.example.com", "headers": {}, "body": {}, "signing_secret": "secret://signing"}


@pytest.mark.parametrize(
    ("action", "said"),
    [
        (_Mutating(), "changed its parameters or the campaign"),
        (_Blind(), "before apply, verify misses 0 of 2 effects"),
        (_OnlyTheFirst(), "apply was to leave"),
        (_NotBack(), "revert was to leave"),
        (_NotIdempotent(), "after apply it plans"),
        (_Elsewhere(), r"changes \['platform'\]; actions may change status, budget"),
        (_Greedy(), "an unknown parameter is accepted"),
        (_Unstable(), "canonical .* is validated to"),
        (_Forgiving(), "revert does not refuse"),
        (_Told(Delivery(Channel.CONNECTOR, _MESSAGE)), "no action delivers by"),
        (_Told(Delivery(Channel.SLACK, _MESSAGE)), r"a message by slack has \['text', 'url'\]"),
        (_Told(Delivery(Channel.WEBHOOK, {**_MESSAGE, "body": "text"})), "body of the message have the wrong type"),
        (_Told(Delivery(Channel.WEBHOOK, {**_MESSAGE, "body": {"a": (1,)}})), "is not ready for JSON"),
        (_Told(Delivery(Channel.WEBHOOK, {**_MESSAGE, "signing_secret": "whsec_x"})), "is not named as secret://name"),
    ],
)
def test_the_kit_says_what_is_wrong_with_a_kind(world: World, action: Action, said: str) -> None:
    with rehearsal(world.app) as stage, pytest.raises(AssertionError, match=said):
        check(action, EXAMPLES[action.name], stage)


@pytest.mark.parametrize(
    ("examples", "said"),
    [
        ([Example({})], "no example is spelled pause_underperforming, pause"),
        (
            [Example({}, {"status": "paused"}, spelling) for spelling in (None, "pause", "pause_underperforming")],
            "no example changes anything",
        ),
    ],
)
def test_the_kit_asks_for_examples_that_show_something(examples: list[Example], said: str) -> None:
    with pytest.raises(AssertionError, match=said):
        check_pure(PauseCampaign(), examples)
