"""`cmis orgs limits`: rates and caps, shown, changed by admins, each org's own."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from core.db import RESERVED_ORG
from engine.store import publishing
from tests.unit.cli.running import Cmis

if TYPE_CHECKING:
    from tests.world import Org, World

SENT = "UPDATE cmis.tasks SET published_at = cmis.clock() WHERE task_id = %(id)s"


@pytest.fixture
def acme(world: World) -> Org:
    return world.org("Acme")


@pytest.fixture
def cmis(world: World, capsys: pytest.CaptureFixture[str]) -> Cmis:
    return Cmis(capsys, {"DATABASE_URL": world.site.urls.app, "COLUMNS": "400"})


def caps(shown: Any) -> dict[str, Any]:
    return {one["queue"]: one["cap"] for one in shown["queues"] if one["cap"] is not None}


def test_caps_are_the_deployments_until_they_are_set_and_each_can_be_given_back(
    world: World, acme: Org, cmis: Cmis
) -> None:
    assert caps(cmis("orgs", "limits", "Acme", "--json").json) == {}
    both = cmis("orgs", "limits", "Acme", "--in-flight", "rules=7", "--in-flight", "actions=2", "--json").json
    assert (caps(both), both["rate"]) == ({"rules": 7, "actions": 2}, None)
    rated = cmis("orgs", "limits", "Acme", "--deliveries", "60", "--json").json
    assert (caps(rated), rated["rate"]["per_minute"]) == ({"rules": 7, "actions": 2}, 60)
    one = cmis("orgs", "limits", "Acme", "--in-flight", "rules=default", "--json").json
    assert (caps(one), one["rate"]["per_minute"]) == ({"actions": 2}, 60)
    none = cmis("orgs", "limits", "Acme", "--default", "--json").json
    assert (caps(none), none["rate"]) == ({}, None)
    with world.app.transaction(acme.context) as connection:
        assert publishing.standing(connection, acme.id, "rules", default=3) == (0, 3)


def test_what_is_in_flight_is_shown_beside_the_cap(world: World, acme: Org, cmis: Cmis) -> None:
    sent, *_ = [world.enqueue({acme.id: [acme.rule()]}) for _ in range(3)]
    world.meddle(SENT, id=sent)
    shown = cmis("orgs", "limits", "Acme", "--in-flight", "rules=7", "--json").json
    assert shown["queues"][0] == {"queue": "rules", "in_flight": 1, "cap": 7}
    assert "the deployment's (CMIS_ORG_IN_FLIGHT)" in cmis("orgs", "limits", "Acme").out


@pytest.mark.usefixtures("acme")
@pytest.mark.parametrize(
    ("given", "said"),
    [
        (["nowhere=3"], "knows no queue 'nowhere'"),
        (["rules"], "not 'rules'"),
        (["rules=0"], "not 'rules=0'"),
        (["rules=-1"], "not 'rules=-1'"),
        (["rules=1000001"], "not 'rules=1000001'"),
        (["rules=1", "rules=2"], "was given twice for rules"),
    ],
)
def test_a_cap_that_is_none_is_refused_by_name_and_nothing_is_changed(cmis: Cmis, given: list[str], said: str) -> None:
    options = [part for one in given for part in ("--in-flight", one)]
    refused = cmis("orgs", "limits", "Acme", *options)
    assert refused.code == 2
    assert said in refused.err
    assert "--in-flight" in refused.err
    assert caps(cmis("orgs", "limits", "Acme", "--json").json) == {}


@pytest.mark.usefixtures("acme")
def test_default_is_given_alone(cmis: Cmis) -> None:
    refused = cmis("orgs", "limits", "Acme", "--default", "--in-flight", "rules=3")
    assert (refused.code, "--default" in refused.err) == (2, True)


def test_the_reserved_org_is_bound_by_no_cap_and_an_org_sees_only_its_own(world: World, acme: Org) -> None:
    other = world.org("Other")
    with world.app.transaction(other.context) as connection:
        publishing.set_cap(connection, other.id, "rules", 1)
    with world.app.transaction(acme.context) as connection:
        assert publishing.standing(connection, other.id, "rules", default=9).cap == 9
        assert publishing.standing(connection, RESERVED_ORG, "rules", default=9).cap == 1_000_000
