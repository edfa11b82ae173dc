"""The list of notifications on the command line, against the real database as the app role."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.unit.cli.running import Cmis
from tests.world import SPENT, World

if TYPE_CHECKING:
    from dev.site import Site
    from tests.world import Org


@pytest.fixture
def org(world: World) -> Org:
    return world.org("Acme")


@pytest.fixture
def cmis(database: Site, capsys: pytest.CaptureFixture[str]) -> Cmis:
    return Cmis(capsys, {"DATABASE_URL": database.urls.app, "CMIS_ORG": "Acme", "COLUMNS": "300"})


def test_a_storm_is_a_line_that_is_read_at_once(cmis: Cmis, org: Org) -> None:
    for name in "DACBE":
        org.campaign(name=name)
    told = {"title": "[red]{{ campaign.name }} is dear"}
    org.evaluate(org.rule(SPENT, [{"type": "notify", "params": told}], name="Watch"))

    shown = cmis("notifications", "list", "--unread").out
    assert all(word in shown for word in ("[red]", "Watch", "A, B, C, and 2 more", "│ 5"))
    [line] = cmis("notifications", "list", "--json").json
    assert (line["notifications"], line["read"], line["campaigns"]) == (5, False, ["A", "B", "C"])
    each = cmis("notifications", "list", "--each", "--json").json
    assert sorted(one["campaign"] for one in each) == list("ABCDE")

    assert cmis("notifications", "read", each[0]["notification_id"], "--each").out == "1 marked as read\n"
    assert cmis("notifications", "read", line["notification_id"], "--json").json == {"read": 4}
    assert cmis("notifications", "list", "--unread").out.startswith("Notifications: none.")
    assert {one["read_at"] is None for one in cmis("notifications", "list", "--each", "--json").json} == {False}
    assert cmis("notifications", "read", "--all").out == "0 marked as read\n"


def test_one_notification_for_many_campaigns_says_for_how_many(cmis: Cmis, org: Org) -> None:
    for _ in range(21):
        org.campaign()
    org.evaluate(org.rule(SPENT, [{"type": "notify"}]))
    assert "21 campaigns" in cmis("notifications", "list").out
    assert cmis("notifications", "read", "--all").out == "1 marked as read\n"


def test_wrong_input_is_told(cmis: Cmis, org: Org) -> None:
    for arguments in (["read"], ["read", str(org.id), "--all"], ["read", "x"], ["read", str(org.id)]):
        done = cmis("notifications", *arguments)
        assert done.code == 2
        assert done.err.startswith("error ID")
