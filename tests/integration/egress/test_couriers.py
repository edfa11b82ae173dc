"""Couriers on real sockets: what a receiver sees of each channel, and what is made of each thing that it does."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Final

import pytest
from standardwebhooks import Webhook

from core.config import Settings
from core.errors import PermanentError, SetupError
from engine.deliver.answers import Delivered, Later, Refused, Unclear
from engine.deliver.couriers.connector import ConnectorCourier
from engine.deliver.couriers.registry import couriers
from engine.deliver.couriers.slack import LONGEST, SlackCourier
from engine.deliver.couriers.webhook import WebhookCourier
from engine.egress.allow import Allow
from engine.egress.client import Egress
from models.enums import Channel

if TYPE_CHECKING:
    from engine.deliver.answers import Answer
    from engine.deliver.courier import Courier
    from tests.receiver.web import Receiver

SIGNING: Final = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
KEY: Final = "0195-execution:0:0195-campaign"
HERE: Final = Allow.parse("127.0.0.1")
CHANGE: Final = {
    "connector_id": "0195-connector",
    "campaign": {"id": "0195", "external_id": "ext-1", "platform": "meta", "name": "Spring <sale>"},
    "change": {"budget": {"before": "100", "after": "120"}},
    "version": 7,
}


def now() -> datetime:
    return datetime.now(UTC)


def message(channel: str, url: str) -> dict[str, Any]:
    """Return a message of the channel, its secrets filled in."""
    if channel == "webhook":
        return {"url": url, "headers": {"X-Own": "1"}, "body": {"n": 1, "ä": [None]}, "signing_secret": SIGNING}
    if channel == "slack":
        return {"url": url, "text": "Budget of Spring sale: 100 → 120"}
    return {**CHANGE, "url": url, "signing_secret": SIGNING, "verifies": True}


def courier(channel: str, *, seconds: float = 10.0) -> Courier:
    egress = Egress(HERE, total_seconds=seconds)
    kinds: dict[str, type[WebhookCourier | SlackCourier | ConnectorCourier]] = {
        "webhook": WebhookCourier,
        "slack": SlackCourier,
        "connector": ConnectorCourier,
    }
    return kinds[channel](egress)


def deliver(channel: str, url: str, *, seconds: float = 10.0) -> Answer:
    return courier(channel, seconds=seconds).deliver([message(channel, url)], key=KEY, now=now())


def outline(answer: Answer) -> tuple[str, int | None]:
    return type(answer).__name__, answer.status


@pytest.fixture(params=["webhook", "slack", "connector"])
def channel(request: pytest.FixtureRequest) -> str:
    return str(request.param)


class TestAnswers:
    """Every behaviour of a receiver, for every channel."""

    @pytest.mark.parametrize(
        ("behaviour", "expected"),
        [
            ("ok", ("Delivered", 200)),
            ("fails/204", ("Delivered", 204)),
            ("large", ("Delivered", 200)),
            ("fails/400", ("Refused", 400)),
            ("fails/404", ("Refused", 404)),
            ("fails/410", ("Refused", 410)),
            ("redirects/302", ("Refused", 302)),
            ("redirects/307", ("Refused", 307)),
            ("fails/408", ("Later", 408)),
            ("fails/425", ("Later", 425)),
            ("busy/7", ("Later", 429)),
            ("fails/500", ("Later", 500)),
            ("fails/503", ("Later", 503)),
            ("resets/500", ("Later", 500)),
            ("resets/400", ("Refused", 400)),
            ("resets", ("Unclear", 200)),
            ("drops", ("Unclear", None)),
        ],
    )
    def test_each_has_its_meaning(
        self, receiver: Receiver, channel: str, behaviour: str, expected: tuple[str, int | None]
    ) -> None:
        assert outline(deliver(channel, f"{receiver.url}/{behaviour}")) == expected
        assert len(receiver.log) == 1

    @pytest.mark.parametrize(
        ("behaviour", "expected"),
        [("hangs", ("Unclear", None)), ("trickles/headers", ("Unclear", None)), ("trickles/body", ("Unclear", 200))],
    )
    def test_one_that_never_ends_leaves_it_unclear(
        self, receiver: Receiver, channel: str, behaviour: str, expected: tuple[str, int | None]
    ) -> None:
        answer = deliver(channel, f"{receiver.url}/{behaviour}", seconds=0.3)
        assert outline(answer) == expected
        assert isinstance(answer, Unclear)
        assert "did not end within 0.3 s" in answer.reason

    def test_one_that_is_busy_says_for_how_long(self, receiver: Receiver, channel: str) -> None:
        answer = deliver(channel, f"{receiver.url}/busy/7")
        assert isinstance(answer, Later)
        assert (answer.retry_after, answer.blames, answer.said) == (timedelta(seconds=7), False, "slow down")

    def test_one_that_cannot_be_reached_may_be_later(self, receiver: Receiver, channel: str) -> None:
        receiver.__exit__()
        answer = deliver(channel, f"{receiver.url}/hook")
        assert isinstance(answer, Later)
        assert (answer.status, answer.blames) == (None, True)
        assert "was not reached" in answer.reason

    @pytest.mark.parametrize(
        "url",
        ["http://169.254.169.254/", "http://127.1/", "file:///etc/passwd", "secret://hook", "nonsense", "", None, 7],
    )
    def test_a_url_that_may_not_be_called_is_refused(self, channel: str, url: Any) -> None:
        one = {**message(channel, ""), "url": url}
        answer = courier(channel).deliver([one], key=KEY, now=now())
        assert outline(answer) == ("Refused", None)

    def test_an_excerpt_of_the_answer_is_kept_without_what_was_confidential(
        self, receiver: Receiver, channel: str
    ) -> None:
        one = {
            **message(channel, f"{receiver.url}/echoes/500/T01234567?token=s3cret-token"),
            "headers": {"X-Api-Key": "s3cret-key", "Authorization": "Bearer s3cret-bearer"},
        }
        answer = courier(channel).deliver([one], key=KEY, now=now())
        assert isinstance(answer, Refused | Later)
        assert "/echoes/" not in answer.said
        assert "***" in answer.said
        assert len(answer.said) <= 500
        assert not re.search("s3cret|T01234567|MfKQ9r8", answer.said + answer.reason)


class TestSeen:
    """What a receiver sees."""

    @pytest.mark.parametrize("channel", ["webhook", "connector"])
    def test_every_attempt_has_the_same_key_and_a_signature_that_the_public_package_verifies(
        self, receiver: Receiver, channel: str
    ) -> None:
        receiver.script("/hook", "fails/500", "drops", "busy/1", "ok")
        began = now()
        kinds = [
            outline(
                courier(channel).deliver(
                    [message(channel, f"{receiver.url}/hook")], key=KEY, now=began + timedelta(seconds=attempt)
                )
            )
            for attempt in range(4)
        ]
        assert kinds == [("Later", 500), ("Unclear", None), ("Later", 429), ("Delivered", 200)]
        seen = receiver.requests("/hook")
        assert {(each.headers["webhook-id"], each.headers["idempotency-key"]) for each in seen} == {(KEY, KEY)}
        assert {each.body for each in seen} == {seen[0].body}
        times = [int(each.headers["webhook-timestamp"]) for each in seen]
        assert times == [int(began.timestamp()) + attempt for attempt in range(4)]
        for each in seen:
            assert Webhook(SIGNING).verify(each.body, dict(each.headers)) == json.loads(each.body)
        assert receiver.effects == {KEY: 1}  # taken by the attempt whose answer was lost, and not again

    def test_a_webhook_has_the_body_and_headers_of_its_message(self, receiver: Receiver) -> None:
        assert isinstance(deliver("webhook", f"{receiver.url}/hook"), Delivered)
        [seen] = receiver.log
        assert json.loads(seen.body) == {"n": 1, "ä": [None]}
        assert (seen.headers["content-type"], seen.headers["x-own"]) == ("application/json", "1")

    def test_a_change_is_pushed_with_what_it_was_and_is(self, receiver: Receiver) -> None:
        assert isinstance(deliver("connector", f"{receiver.url}/hook"), Delivered)
        [seen] = receiver.log
        assert json.loads(seen.body) == {"type": "campaign.changed", "data": CHANGE}
        assert SIGNING not in seen.body.decode()

    def test_slack_gets_escaped_text_and_no_key(self, receiver: Receiver) -> None:
        one = {"url": f"{receiver.url}/hook", "text": "A & B <!channel> <https://evil.example|click>"}
        assert isinstance(courier("slack").deliver([one], key=KEY, now=now()), Delivered)
        [seen] = receiver.log
        assert json.loads(seen.body) == {"text": "A &amp; B &lt;!channel&gt; &lt;https://evil.example|click&gt;"}
        assert not {"webhook-id", "idempotency-key", "webhook-signature"} & set(seen.headers)

    def test_slack_gets_what_a_run_says_of_many_campaigns_as_one_message(self, receiver: Receiver) -> None:
        texts = ["one", "two & more", "one", *(f"{number} {'x' * 1_000}" for number in range(98))]
        many = [{"url": f"{receiver.url}/hook", "text": text} for text in texts]
        assert isinstance(courier("slack").deliver(many, key=KEY, now=now()), Delivered)
        [seen] = receiver.log
        lines = json.loads(seen.body)["text"].split("\n")
        assert lines[:3] == ["one", "two &amp; more", f"0 {'x' * 1_000}"]
        assert len("\n".join(lines)) <= LONGEST + 20
        assert lines[-1] == f"… and {100 - (len(lines) - 1)} more"

    def test_messages_for_different_webhooks_are_not_joined(self, receiver: Receiver) -> None:
        two = [{"url": f"{receiver.url}/{name}", "text": "x"} for name in "ab"]
        assert isinstance(courier("slack").deliver(two, key=KEY, now=now()), Refused)
        assert receiver.log == []


class TestMessages:
    """Messages that cannot be sent: refused with what is wrong, and without what is secret."""

    @pytest.mark.parametrize(
        ("changed", "reason"),
        [
            ({"signing_secret": None}, "no signing_secret"),
            ({"signing_secret": "s3cret"}, "whsec_"),
            ({"headers": {"Webhook-Id": "mine"}}, "webhook-id is set by the product"),
            ({"headers": {"idempotency-key": "mine"}}, "idempotency-key is set by the product"),
            ({"headers": {"Host": "internal"}}, "host is the client's own"),
            ({"headers": {"Authorization": "Bearer s3cret\r\nX: y"}}, "authorization has a character"),
            ({"headers": {"X": 7}}, "no object of texts"),
            ({"headers": ["X"]}, "no object of texts"),
            ({"body": "\ud800"}, "no JSON"),
            ({"body": {"n": 2**70}}, "no JSON"),
            ({"body": "x" * 300_000}, "more than 262,144"),
        ],
    )
    def test_a_webhook_that_cannot_be_sent(self, receiver: Receiver, changed: dict[str, Any], reason: str) -> None:
        one = {**message("webhook", f"{receiver.url}/hook"), **changed}
        answer = courier("webhook").deliver([one], key=KEY, now=now())
        assert isinstance(answer, Refused)
        assert reason in answer.reason
        assert "s3cret" not in answer.reason
        assert receiver.log == []

    @pytest.mark.parametrize("changed", [{"text": ""}, {"text": None}, {"text": "\ud800"}])
    def test_a_slack_message_that_cannot_be_sent(self, receiver: Receiver, changed: dict[str, Any]) -> None:
        one = {**message("slack", f"{receiver.url}/hook"), **changed}
        assert isinstance(courier("slack").deliver([one], key=KEY, now=now()), Refused)
        assert receiver.log == []


class TestNames:
    """Destinations and accounts: what breakers and token buckets are kept under."""

    def test_a_destination_is_scheme_host_and_port(self, channel: str) -> None:
        one = message(channel, "https://Hooks.Example.com/services/T0/s3cret?x=1")
        assert courier(channel).destination(one) == "https://hooks.example.com:443"
        with pytest.raises(PermanentError):
            courier(channel).destination({"url": "nonsense"})
        with pytest.raises(PermanentError):
            courier(channel).destination({})

    def test_accounts_hold_nothing_secret(self) -> None:
        url = "https://hooks.slack.com/services/T0/B0/s3cret"
        account = courier("slack").account(message("slack", url))
        assert re.fullmatch("slack:[0-9a-f]{12}", account or "")
        assert account != courier("slack").account(message("slack", url + "2"))
        assert courier("connector").account(message("connector", url)) == "connector:0195-connector"
        assert courier("webhook").account(message("webhook", url)) is None


class TestFind:
    """Asking a connector whether a key arrived."""

    def test_it_says_whether_it_has_the_key(self, receiver: Receiver) -> None:
        one = message("connector", f"{receiver.url}/hook?account=7")
        connector = courier("connector")
        assert connector.find(one, key=KEY) is False
        connector.deliver([one], key=KEY, now=now())
        assert connector.find(one, key=KEY) is True
        asked = receiver.log[-1]
        assert (asked.method, asked.path) == ("GET", "/hook")
        assert asked.query == "account=7&idempotency_key=0195-execution%3A0%3A0195-campaign"

    @pytest.mark.parametrize("behaviour", ["fails/500", "fails/401", "fails/204", "redirects/302", "drops", "hangs"])
    def test_any_other_answer_says_nothing(self, receiver: Receiver, behaviour: str) -> None:
        receiver.script("/hook", behaviour)
        assert courier("connector", seconds=0.3).find(message("connector", f"{receiver.url}/hook"), key=KEY) is None

    def test_one_that_does_not_verify_is_not_asked(self, receiver: Receiver) -> None:
        one = {**message("connector", f"{receiver.url}/hook"), "verifies": False}
        assert courier("connector").find(one, key=KEY) is None
        assert receiver.log == []

    def test_others_cannot_be_asked(self, receiver: Receiver) -> None:
        for channel in ("webhook", "slack"):
            assert courier(channel).find(message(channel, f"{receiver.url}/hook"), key=KEY) is None
        assert receiver.log == []


class TestRegistry:
    """The couriers of a deployment."""

    def test_each_channel_has_its_courier(self) -> None:
        made = couriers(Settings.load({}))
        assert {channel: type(each) for channel, each in made.items() if channel is not Channel.EMAIL} == {
            Channel.WEBHOOK: WebhookCourier,
            Channel.SLACK: SlackCourier,
            Channel.CONNECTOR: ConnectorCourier,
        }
        assert {channel: each.keyed for channel, each in made.items() if channel is not Channel.EMAIL} == {
            Channel.WEBHOOK: True,
            Channel.SLACK: False,
            Channel.CONNECTOR: True,
        }

    def test_they_reach_what_the_deployment_allows_and_nothing_else(self, receiver: Receiver) -> None:
        one = message("slack", f"{receiver.url}/hook")
        open_ = couriers(Settings.load({"CMIS_EGRESS_ALLOW": f"127.0.0.1:{receiver.port}"}))
        closed = couriers(Settings.load({}))
        assert isinstance(open_[Channel.SLACK].deliver([one], key=KEY, now=now()), Delivered)
        answer = closed[Channel.SLACK].deliver([one], key=KEY, now=now())
        assert isinstance(answer, Refused)
        assert "CMIS_EGRESS_ALLOW" in answer.reason

    def test_a_list_that_makes_no_sense_is_the_operators_to_mend(self) -> None:
        with pytest.raises(SetupError, match="CMIS_EGRESS_ALLOW"):
            couriers(Settings.load({"CMIS_EGRESS_ALLOW": "http://x"}))
