"""What a receiver's status means, per channel; and how long it asked to be left alone."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.deliver.answers import Delivered, Later, Refused, Unclear
from engine.deliver.couriers import connector, slack, webhook
from engine.deliver.couriers.verdicts import LONGEST_WAIT, judge, retry_after
from engine.egress.response import Response

NOW = datetime(2027, 3, 1, 12, 0, tzinfo=UTC)
TABLES = {"webhook": webhook.TABLE, "slack": slack.TABLE, "connector": connector.TABLE}


def answered(status: int, headers: dict[str, str] | None = None) -> Response:
    return Response(status, headers or {}, b"", truncated=False)


@pytest.mark.parametrize("channel", sorted(TABLES))
@pytest.mark.parametrize(
    ("statuses", "kind"),
    [
        ((200, 201, 202, 204, 299), Delivered),
        ((300, 301, 302, 303, 304, 307, 308), Refused),
        ((400, 401, 403, 404, 409, 410, 413, 422, 499), Refused),
        ((408, 425, 429), Later),
        ((500, 501, 502, 503, 504, 599), Later),
        ((101, 103, 600, 999), Unclear),
    ],
)
def test_every_status_has_its_meaning(channel: str, statuses: tuple[int, ...], kind: type) -> None:
    for status in statuses:
        answer = judge(TABLES[channel], answered(status), "said", now=NOW)
        assert type(answer) is kind, status
        assert (answer.status, answer.said) == (status, "said")


def test_a_receiver_that_is_busy_is_not_blamed_and_one_that_failed_is() -> None:
    blamed = {}
    for status in (408, 429, 500, 503):
        answer = judge(webhook.TABLE, answered(status), "", now=NOW)
        assert isinstance(answer, Later)
        blamed[status] = answer.blames
    assert blamed == {408: True, 429: False, 500: True, 503: True}


def test_a_reason_says_what_came_and_what_to_do() -> None:
    gone = judge(slack.TABLE, answered(410), "", now=NOW)
    moved = judge(webhook.TABLE, answered(302), "", now=NOW)
    assert isinstance(gone, Refused)
    assert isinstance(moved, Refused)
    assert gone.reason == "the receiver answered 410 Gone: the channel is archived; make a webhook for another"
    assert moved.reason == "the receiver answered 302 Found: redirects are not followed"


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("7", 7),
        (" 120 ", 120),
        ("86400", 86_400),
        ("86401", 86_400),
        ("9" * 5_000, 86_400),
        ("Mon, 01 Mar 2027 12:00:30 GMT", 30),
        ("Monday, 01-Mar-27 12:01:00 GMT", 60),
        ("Mon, 01 Mar 2027 13:00:30 +0100", 30),
        ("Mon, 01 Mar 2032 12:00:00 GMT", 86_400),
        ("0", None),
        ("-5", None),
        ("1.5", None),
        ("٣", None),
        ("soon", None),
        ("", None),
        ("Mon, 01 Mar 2027 11:59:30 GMT", None),
        ("Mon, 32 Mar 2027 11:59:30 GMT", None),
        ("Mon, 01 Mar 99999 11:59:30 GMT", None),
    ],
)
def test_retry_after_is_seconds_or_a_date_and_bounded(text: str, seconds: int | None) -> None:
    assert retry_after(text, NOW) == (seconds and timedelta(seconds=seconds))
    later = judge(webhook.TABLE, answered(503, {"retry-after": text}), "", now=NOW)
    assert isinstance(later, Later)
    assert later.retry_after == (seconds and timedelta(seconds=seconds))


@given(st.text())
def test_no_retry_after_is_beyond_its_bounds(text: str) -> None:
    wait = retry_after(text, NOW)
    assert wait is None or timedelta(0) < wait <= LONGEST_WAIT
