"""Kinds whose effect is a message: what is refused at the edge, and what is composed for a campaign."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Any, Final
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.errors import InputError
from engine.actions.base import Campaign, Change, Delivery, Scope, WorkflowStep
from engine.actions.receivers import is_address
from engine.actions.registry import KINDS, parse_actions
from engine.actions.texts import as_written
from engine.secrets.references import names
from models.enums import Channel

SCOPE: Final = Scope(UUID(int=2), "Cut", UUID(int=3), "Acme", UUID(int=4))
URL: Final = "https://hooks.example.com/in"
HOSTILE: Final = "secret://webhook_signing"


def canonical(kind: str, **params: Any) -> Any:
    [spec] = parse_actions([{"type": kind, "params": params}], "actions")
    return spec.params


def campaign(name: str = "Spring") -> Campaign:
    return Campaign(
        UUID(int=1), name, "active", Decimal("99.50"), "EUR", objective="sales", platform="meta", external_id="x-1"
    )


def planned(kind: str, *, scope: Scope = SCOPE, name: str = "Spring", **params: Any) -> Any:
    [spec] = parse_actions([{"type": kind, "params": params}], "actions")
    return KINDS[spec.kind].plan(spec.params, campaign(name), scope)


def refused(kind: str, **params: Any) -> dict[str, str]:
    with pytest.raises(InputError) as error:
        parse_actions([{"type": kind, "params": params}], "actions")
    return {problem.field: str(problem) for problem in error.value.problems}


def event(**payload: Any) -> Scope:
    ids = SCOPE.rule_id, SCOPE.rule_name, SCOPE.org_id, SCOPE.org_name, SCOPE.execution_id
    return Scope(*ids, {"type": "lead", "payload": payload})


class TestNotification:
    """`send_notification`, by each channel."""

    def test_in_app_it_is_a_change_elsewhere(self) -> None:
        plan = planned("notify", title="{{ campaign.name }}", message="{{ campaign.budget }} {{ campaign.currency }}")
        assert plan == Change({}, {"notification": {"channel": "in_app", "title": "Spring", "body": "99.50 EUR"}})

    def test_by_mail(self) -> None:
        plan = planned("notify", channel="email", to="ana@example.com", title="{{ org.name }}\n{{ rule.name }}")
        usual = "Rule “Cut” matched campaign “Spring”."
        assert plan == Delivery(Channel.EMAIL, {"to": ["ana@example.com"], "subject": "Acme Cut", "text": usual})

    def test_by_slack(self) -> None:
        plan = planned("notify", channel="slack", url="secret://slack", message="look at <{{ campaign.name }}>")
        assert plan == Delivery(Channel.SLACK, {"url": "secret://slack", "text": "Cut: look at <Spring>"})

    def test_by_webhook(self) -> None:
        plan = planned("notify", channel="webhook", url=URL, title="T", message="M")
        assert plan.channel is Channel.WEBHOOK
        assert plan.message["body"]["type"] == "rule.notification"
        assert plan.message["body"]["data"]["payload"] == {"title": "T", "message": "M"}

    def test_the_same_person_is_told_once(self) -> None:
        to = ["ana@example.com", "bo@example.com", "Ana@Example.com"]
        assert canonical("notify", channel="email", to=to)["to"] == ["ana@example.com", "bo@example.com"]

    @pytest.mark.parametrize(
        ("params", "field"),
        [
            ({"channel": "pigeon"}, "channel"),
            ({"channel": ["email"]}, "channel"),
            ({"channel": "email"}, "to"),
            ({"channel": "email", "to": []}, "to"),
            ({"channel": "email", "to": [f"a{n}@example.com" for n in range(21)]}, "to"),
            ({"channel": "email", "to": ["ana@example.com", "bo"]}, "to[1]"),
            ({"channel": "email", "to": "ana@example.com\r\nBcc: eve@example.com"}, "to[0]"),
            ({"channel": "email", "to": "Ana <ana@example.com>"}, "to[0]"),
            ({"channel": "email", "to": "ana@example.com, eve@example.com"}, "to[0]"),
            ({"channel": "email", "to": "ana@example.com", "title": "secret://x"}, "title"),
            ({"channel": "email", "to": "ana@example.com", "url": URL}, "url"),
            ({"channel": "slack"}, "url"),
            ({"channel": "slack", "url": "http://2130706433/"}, "url"),
            ({"channel": "slack", "url": "secret://Bad Name"}, "url"),
            ({"channel": "slack", "url": "https://x.example.com/secret://token/{{ a }}"}, "url"),
            ({"channel": "slack", "url": URL, "headers": {}}, "headers"),
            ({"channel": "in_app", "url": URL}, "url"),
            ({"message": "{{ campaign.nam }}"}, "message"),
            ({"message": "{{ secret.x }}"}, "message"),
            ({"title": "x" * 201}, "title"),
        ],
    )
    def test_what_is_wrong_is_told_at_its_path(self, params: dict[str, Any], field: str) -> None:
        assert list(refused("send_notification", **params)) == [f"actions[0].params.{field}"]

    def test_values_are_bounded(self) -> None:
        plan = planned("notify", title="{{ event.payload.x }}" * 9, scope=event(x="y" * 9_999))
        assert len(plan.after["notification"]["title"]) == 300


class TestWebhook:
    """`trigger_webhook`."""

    def test_it_tells_what_is_known_when_it_is_planned(self) -> None:
        payload = {"text": "{{ campaign.name }}", "who": ["{{ event.payload.who }}", 1, None], "{{ x }}": True}
        plan = planned("webhook", url=URL, payload=payload, headers={"X-Own": "1"}, scope=event(who="Ana"))
        assert plan == Delivery(
            Channel.WEBHOOK,
            {
                "url": URL,
                "headers": {"X-Own": "1"},
                "signing_secret": "secret://webhook_signing",
                "body": {
                    "type": "rule.matched",
                    "data": {
                        "org_id": str(UUID(int=3)),
                        "rule": {"id": str(UUID(int=2)), "name": "Cut"},
                        "execution_id": str(UUID(int=4)),
                        "campaign": {
                            "id": str(UUID(int=1)),
                            "name": "Spring",
                            "status": "active",
                            "budget": 99.5,
                            "currency": "EUR",
                            "objective": "sales",
                            "platform": "meta",
                            "external_id": "x-1",
                        },
                        "payload": {"text": "Spring", "who": ["Ana", 1, None], "{{ x }}": True},
                        "event": {"type": "lead", "payload": {"who": "Ana"}},
                    },
                },
            },
        )

    @pytest.mark.parametrize(
        ("params", "field"),
        [
            ({}, "url"),
            ({"url": "ftp://x"}, "url"),
            ({"url": "https://user@x.example.com"}, "url"),
            ({"headers": {"Host": "x"}}, "headers.Host"),
            ({"headers": {"webhook-id": "x"}}, "headers.webhook-id"),
            ({"headers": {"Idempotency-Key": "x"}}, "headers.Idempotency-Key"),
            ({"headers": {"X": "a\r\nY: b"}}, "headers.X"),
            ({"headers": {"X": "{{ campaign.name }}"}}, "headers.X"),
            ({"headers": {"X": "1", "x": "2"}}, "headers.x"),
            ({"headers": {f"X-{n}": "1" for n in range(21)}}, "headers"),
            ({"headers": {f"X-{n}": "x" * 2_000 for n in range(10)}}, "headers"),
            ({"headers": {"X": 1}}, "headers"),
            ({"signing_secret": "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"}, "signing_secret"),
            ({"payload": []}, "payload"),
            ({"payload": {"x": float("nan")}}, "payload"),
            ({"payload": {"x": "y" * 33_000}}, "payload"),
            ({"payload": {"a": [{"b": "{{ campaign.nam }}"}]}}, "payload.a[0].b"),
            ({"payload": {"a": ["{{ org.id }}" * 40] * 3}}, "payload"),
            ({"payload": {"a": "secret://x {{ org.id }}"}}, "payload.a"),
            ({"payloads": {}}, "payloads"),
        ],
    )
    def test_what_is_wrong_is_told_at_its_path(self, params: dict[str, Any], field: str) -> None:
        given = params if "url" in params or not params else {"url": URL, **params}
        assert list(refused("trigger_webhook", **given)) == [f"actions[0].params.{field}"]

    def test_a_secret_that_is_given_in_place_of_its_name_is_not_repeated(self) -> None:
        [said] = refused("webhook", url=URL, signing_secret="whsec_canary").values()  # noqa: S106 - a canary
        assert "canary" not in said


@pytest.mark.parametrize(
    ("kind", "params"),
    [
        ("webhook", {"url": URL, "payload": {"x": "{{ campaign.name }}{{ event.payload.x }}{{ event.payload.y }}"}}),
        ("notify", {"channel": "webhook", "url": URL}),
        ("notify", {"channel": "webhook", "url": URL, "message": "{{ event.payload }}{{ rule.name }}"}),
        ("notify", {"channel": "email", "to": "ana@example.com"}),
        (
            "notify",
            {"channel": "email", "to": "ana@example.com", "title": "{{ event.payload.x }}/{{ event.payload.y }}"},
        ),
        ("notify", {"channel": "slack", "url": URL, "message": "{{ event.payload.x }}{{ event.payload.y }}"}),
    ],
)
def test_no_value_gets_at_a_secret(kind: str, params: dict[str, Any]) -> None:
    """What an event or a campaign's name says is no reference to a secret, not even in two pieces."""
    scope = Scope(UUID(int=2), HOSTILE, UUID(int=3), HOSTILE, UUID(int=4))
    for x, y in [(HOSTILE, ""), ("secret:/", "/webhook_signing"), ("secret:", "//webhook_signing"), ("", HOSTILE)]:
        hostile = Scope(
            scope.rule_id,
            scope.rule_name,
            scope.org_id,
            scope.org_name,
            scope.execution_id,
            {"type": HOSTILE, "payload": {"x": x, "y": y}},
        )
        message = dict(planned(kind, scope=hostile, name=HOSTILE, **params).message)
        message.pop("signing_secret", None)
        assert names(message) == set()


@given(st.text())
def test_no_address_holds_more_than_one(text: str) -> None:
    if is_address(text):
        assert text.isascii()
        assert text.isprintable()
        assert text.count("@") == 1
        assert not set(text) & set(' ,;:<>()[]"\\\r\n')


@given(st.dictionaries(st.text(max_size=5), st.text() | st.integers() | st.none(), max_size=5))
def test_a_payload_without_references_goes_out_as_it_is(payload: dict[str, Any]) -> None:
    if "{{" not in json.dumps(payload, ensure_ascii=False) and "\\ud" not in json.dumps(payload):
        assert planned("webhook", url=URL, payload=payload).message["body"]["data"]["payload"] == payload


class TestStep:
    """Kinds in a step of a workflow."""

    def test_a_webhook_names_workflow_step_and_context(self) -> None:
        plan = planned("trigger_webhook", scope=step({"lead": 7}), url=URL)
        body = plan.message["body"]
        assert body["type"] == "workflow.step"
        assert body["data"]["workflow"] == {"id": str(SCOPE.rule_id), "name": "Cut"}
        assert (body["data"]["step_id"], body["data"]["context"]) == ("post", {"lead": 7})
        assert body["data"].keys().isdisjoint({"rule", "execution_id"})

    def test_what_references_brought_is_cut_and_not_read_again(self) -> None:
        kind, long = KINDS["send_notification"], "{{ campaign.name }}" + "x" * 5_000
        params = kind.validate(as_written({"title": long, "message": long}, kind.texts), spelling="notify", path="p")
        said = kind.plan(params, campaign(), step({}))
        assert isinstance(said, Change)
        assert said.after["notification"]["title"].startswith("{{ campaign.name }}xxx")
        assert len(said.after["notification"]["title"]) == 199

    @given(st.text(max_size=50))
    def test_a_payload_says_just_what_it_was_given(self, text: str) -> None:
        kind = KINDS["trigger_webhook"]
        given_ = as_written({"url": URL, "payload": {"a": [text]}}, kind.texts)
        if "secret://" not in text:
            plan = kind.plan(kind.validate(given_, spelling="webhook", path="p"), campaign(), step({}))
            assert isinstance(plan, Delivery)
            assert plan.message["body"]["data"]["payload"] == {"a": [text]}


def step(context: dict[str, Any]) -> Scope:
    ids = SCOPE.rule_id, SCOPE.rule_name, SCOPE.org_id, SCOPE.org_name, SCOPE.execution_id
    return Scope(*ids, step=WorkflowStep(SCOPE.execution_id, "post", context))
