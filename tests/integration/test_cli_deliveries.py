"""Deliveries on the command line: what waits and why, what is sent again, rates and destinations."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from engine.deliver.breaker import FAILURES
from tests.posting import SIGNING, Desk
from tests.unit.cli.running import Cmis

if TYPE_CHECKING:
    from dev.site import Site
    from tests.receiver.web import Receiver
    from tests.world import World


@pytest.fixture
def desk(world: World) -> Desk:
    made = Desk(world.org("Acme"))
    made.keep("signing", SIGNING)
    return made


@pytest.fixture
def cmis(database: Site, capsys: pytest.CaptureFixture[str]) -> Cmis:
    return Cmis(capsys, {"DATABASE_URL": database.urls.app, "CMIS_ORG": "Acme", "COLUMNS": "400"})


def test_what_waits_says_why_and_what_failed_is_sent_again(cmis: Cmis, desk: Desk, receiver: Receiver) -> None:
    refused = desk.webhook(f"{receiver.url}/fails/400")
    desk.run(refused)
    for _ in range(FAILURES):
        desk.run(desk.webhook(f"{receiver.url}/fails/503"))
    waiting = desk.webhook(f"{receiver.url}/hook")
    desk.run(waiting)
    effect = desk.effect(waiting)

    listed = cmis("actions", "list", "--channel", "webhook", "--status", "queued")
    assert "waits:" in listed.out
    assert cmis("actions", "show", str(effect.action_id), "--json").json["waits_for"] == effect.waits_for
    failed = desk.effect(refused).action_id
    again = cmis("actions", "retry", "--since", "1h", "--json").json
    assert again == [{"action_id": str(failed), "status": "queued", "already": False}]
    given_up = cmis("actions", "discard", str(effect.action_id), "--note", "not wanted")
    assert given_up.out == f"{effect.action_id} is discarded\n"
    unsettled = cmis("actions", "confirm", str(failed))
    assert (unsettled.code, "is queued" in unsettled.err) == (2, True)


def test_a_rate_is_set_and_destinations_are_shown(cmis: Cmis, desk: Desk, receiver: Receiver) -> None:
    desk.run(desk.webhook(f"{receiver.url}/hook"))

    shown = cmis("orgs", "limits", "Acme", "--deliveries", "30", "--json").json

    assert shown["rate"] == {"per_minute": 30, "burst": 5}
    [destination] = shown["destinations"]
    assert (destination["destination"], destination["state"]) == (receiver.url, "closed")
    assert "30, 5 at once" in cmis("orgs", "limits", "Acme").out
    assert cmis("orgs", "limits", "Acme", "--default", "--json").json["rate"] is None
    assert "--deliveries" in cmis("orgs", "limits", "Acme", "--deliveries", "0").err
    assert "--burst" in cmis("orgs", "limits", "Acme", "--burst", "3").err
