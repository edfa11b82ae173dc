from __future__ import annotations

from typing import TYPE_CHECKING

from engine.actions.registry import KINDS
from tests.unit.cli.running import Cmis

if TYPE_CHECKING:
    import pytest


def test_every_kind_is_listed_with_its_aliases_its_package_and_what_it_does(capsys: pytest.CaptureFixture[str]) -> None:
    listed = {row["name"]: row for row in Cmis(capsys, {})("actions", "kinds", "--json").json}
    assert listed.keys() == KINDS.keys()
    assert listed["adjust_bid"] == {
        "name": "adjust_bid",
        "aliases": ["increase_bid", "decrease_bid"],
        "reversible": True,
        "idempotent": False,
        "package": "cmis-automation",
        "description": "Change a campaign's bid: by percent, by an amount, or to a value.",
    }
    assert not listed["send_notification"]["reversible"]
    assert all(row["description"] for row in listed.values())


def test_the_kinds_are_a_table_for_people(capsys: pytest.CaptureFixture[str]) -> None:
    shown = Cmis(capsys, {})("actions", "kinds").out
    assert "pause_underperforming, pause" in shown
    assert "Add tags to a campaign, or remove them." in shown
