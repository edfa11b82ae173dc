"""`cmis orgs business-hours`: shown, changed by admins, audited, each org's own."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from core.db import CLI_ACTOR, ENGINE_ACTOR, Context
from engine import org_hours
from engine.schedule.business import BusinessHours, parse
from engine.store import orgs
from tests.integration.engine.guarding import raw
from tests.unit.cli.running import Cmis

if TYPE_CHECKING:
    from tests.world import Org, World

SHORT = "mon-thu 08:30-17:00, fri 08:30-15:00"
CHANGE = """SELECT cmis.set_business_hours('{"mon": "09:00-12:00"}')"""


@pytest.fixture
def acme(world: World) -> Org:
    return world.org("Acme", "Europe/Berlin")


@pytest.fixture
def cmis(world: World, capsys: pytest.CaptureFixture[str]) -> Cmis:
    return Cmis(capsys, {"DATABASE_URL": world.site.urls.app, "COLUMNS": "400"})


@pytest.mark.usefixtures("acme")
def test_hours_are_the_default_until_they_are_set_and_after_they_are_reset(cmis: Cmis) -> None:
    assert cmis("orgs", "business-hours", "Acme").out == "mon-fri 09:00-17:00 (Europe/Berlin, the default)\n"

    changed = cmis("orgs", "business-hours", "Acme", "--set", f"{SHORT}, sat 10:00-24:00", "--json").json
    assert changed["business_hours"]["sat"] == "10:00-24:00"
    assert (changed["own"], "sun" in changed["business_hours"]) == (True, False)
    assert cmis("orgs", "business-hours", "Acme").out == f"{SHORT}, sat 10:00-24:00 (Europe/Berlin)\n"

    reset = cmis("orgs", "business-hours", "Acme", "--default", "--json").json
    assert (reset["own"], reset["business_hours"]) == (False, BusinessHours.DEFAULT.document())


@pytest.mark.usefixtures("acme")
def test_hours_that_are_none_are_refused_with_all_that_is_wrong_and_nothing_is_changed(cmis: Cmis) -> None:
    refused = cmis("orgs", "business-hours", "Acme", "--set", "mon 17:00-09:00, someday, tue 9-17")
    assert refused.code == 2
    assert refused.err.count("--set") == 3
    assert cmis("orgs", "business-hours", "Acme", "--set", SHORT, "--default").code == 2
    assert cmis("orgs", "business-hours", "Acme", "--json").json["own"] is False


def test_hours_are_an_orgs_own(world: World, acme: Org) -> None:
    other = world.org("other")
    org_hours.change(world.app, acme.context, parse(SHORT))
    assert str(org_hours.show(world.app, acme.context).hours) == SHORT
    assert org_hours.show(world.app, other.context).own is False
    with world.app.transaction(acme.context) as connection:
        moment = orgs.moment(connection, acme.id)
    assert BusinessHours.stored(moment.business_hours) == parse(SHORT)


def test_hours_are_changed_by_admins_and_the_command_line_and_are_audited(world: World, acme: Org) -> None:
    for role in ("viewer", "operator", "editor"):
        world.meddle("UPDATE cmis.user_orgs SET role = %(role)s", role=role)
        assert raw(acme, CHANGE) == "42501"
    assert raw(acme, CHANGE, context=Context(acme.id, ENGINE_ACTOR)) == "42501"
    assert raw(acme, "UPDATE cmis.orgs SET business_hours = NULL") == "42501"
    assert raw(acme, CHANGE, context=Context(acme.id, CLI_ACTOR)) is None
    said = "SELECT user_id, after -> 'business_hours' FROM cmis.automation_audit_log WHERE action = 'org_updated'"
    assert [tuple(row) for row in world.rows(said)] == [(CLI_ACTOR, {"mon": "09:00-12:00"})]


def test_hours_in_the_database_are_an_object_or_nothing(world: World) -> None:
    acme = world.org("strict")
    assert raw(acme, "SELECT cmis.set_business_hours('[]')") == "23514"
    assert raw(acme, "SELECT cmis.set_business_hours(NULL)") is None
