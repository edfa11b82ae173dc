"""One notification in place of very many: what it says, and of which effects."""

from __future__ import annotations

from uuid import UUID

import pytest

from engine.actions.base import Effect
from engine.actions.storms import MOST, NAMED, is_storm, told_together

IDS = UUID(int=1), UUID(int=2)


def _effects(number: int, body: str = "It is dear.", title: str = "Look") -> list[Effect]:
    return [
        Effect(
            UUID(int=n),
            *IDS,
            0,
            "send_notification",
            {},
            UUID(int=n),
            {},
            {"notification": {"channel": "in_app", "title": title.format(n), "body": body.format(n)}},
            "succeeded",
        )
        for n in range(number)
    ]


@pytest.mark.parametrize(("number", "storm"), [(1, False), (MOST, False), (MOST + 1, True)])
def test_more_than_twenty_are_a_storm(number: int, storm: bool) -> None:  # noqa: FBT001 - the expectation
    assert is_storm(_effects(number)) is storm


def test_what_all_say_stands_once_and_the_first_campaigns_are_named() -> None:
    names = {UUID(int=n): f"Campaign {n}" for n in range(NAMED)}
    told = told_together(_effects(1_234), names)
    named = ", ".join(f"Campaign {n}" for n in range(NAMED))
    assert told == {
        "channel": "in_app",
        "title": "Look",
        "body": f"It is dear.\n1,234 campaigns: {named} … and 1,224 more.",
        "entities": 1_234,
    }


def test_of_different_messages_the_first_are_quoted() -> None:
    told = told_together(_effects(30, body="Campaign {} " + "x" * 500, title="About {}"), {})
    lines = told["body"].split("\n")
    assert told["title"] == "About 0"
    assert len(lines) == NAMED + 2
    assert lines[9].startswith("Campaign 9 x")
    assert lines[9].endswith("…")
    assert lines[NAMED] == "…"
    assert len(told["body"]) < 2_000
