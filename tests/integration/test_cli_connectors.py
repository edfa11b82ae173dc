"""`cmis connectors`: made, changed, paused and archived by editors, with every problem told at once."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.connecting import URL, connect
from tests.posting import SIGNING, Desk
from tests.unit.cli.running import Cmis
from tests.world import PAUSE, SPENT, World

if TYPE_CHECKING:
    from dev.site import Site
    from tests.world import Org


@pytest.fixture
def org(world: World) -> Org:
    made = world.org("Acme")
    Desk(made).keep("webhook_signing", SIGNING)
    return made


@pytest.fixture
def cmis(database: Site, capsys: pytest.CaptureFixture[str]) -> Cmis:
    return Cmis(capsys, {"DATABASE_URL": database.urls.app, "CMIS_ORG": "Acme"})


def test_a_connector_is_made_shown_changed_paused_and_archived_on_record(cmis: Cmis, org: Org) -> None:
    made = cmis("connectors", "create", "Bridge", "--url", URL, "--platform", "google_ads", "--verifies", "--json").json
    assert (made["url"], made["platform"], made["verifies"], made["status"]) == (URL, "google_ads", True, "active")
    assert (made["signing_secret"], made["rate_per_minute"], made["burst"]) == ("secret://webhook_signing", None, None)
    assert cmis("connectors", "show", "Bridge", "--json").json == made
    assert cmis("connectors", "list", "--json").json == [made]
    assert "Bridge" in cmis("connectors", "list").out

    limited = ("--rate-per-minute", "30", "--burst", "5", "--no-verifies", "--name", "Ads", "--clear", "platform")
    changed = cmis("connectors", "update", made["connector_id"], *limited, "--json").json
    assert (changed["name"], changed["platform"], changed["verifies"]) == ("Ads", None, False)
    bucket = "SELECT rate_per_minute, burst FROM cmis.token_buckets WHERE bucket = :bucket"
    assert org.world.rows(bucket, bucket=f"connector:{made['connector_id']}") == [(30, 5)]
    cleared = cmis("connectors", "update", "Ads", "--clear", "rate-per-minute", "--clear", "burst", "--json").json
    assert (cleared["rate_per_minute"], cleared["burst"]) == (None, None)
    assert org.world.rows(bucket, bucket=f"connector:{made['connector_id']}") == [(None, None)]

    assert cmis("connectors", "pause", "Ads", "--json").json["status"] == "paused"
    assert cmis("connectors", "pause", "Ads", "--json").json["status"] == "paused"
    assert cmis("connectors", "activate", "Ads", "--json").json["status"] == "active"
    assert cmis("connectors", "archive", "Ads", "--json").json["status"] == "archived"
    assert cmis("connectors", "list", "--json").json == []
    assert len(cmis("connectors", "list", "--status", "archived", "--json").json) == 1
    refused = cmis("connectors", "activate", "Ads")
    assert (refused.code, "is archived" in refused.err) == (2, True)
    assert cmis("connectors", "archive", "Ads").code == 0
    told = [entry["action"] for entry in cmis("audit", "list", "--entity", made["connector_id"], "--json").json]
    assert told == ["connector_updated"] * 5 + ["connector_created"]


def test_all_that_is_wrong_is_told_and_a_secret_in_the_clear_is_not_repeated(cmis: Cmis, org: Org) -> None:
    refused = cmis(
        *("connectors", "create", " ", "--url", "ftp://bridge.test/", "--signing-secret", SIGNING),
        *("--platform", "x" * 101, "--rate-per-minute", "0", "--burst", "0"),
    )
    assert refused.code == 2
    for option in ("name: is blank", "--url", "--signing-secret", "--platform", "--rate-per-minute", "--burst"):
        assert option in refused.err
    assert SIGNING not in refused.err
    assert org.world.rows("SELECT FROM cmis.connectors") == []


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--url", "secret://bridge_url"), "`cmis secrets set bridge_url`"),
        (("--url", URL, "--signing-secret", "secret://nothing"), "`cmis secrets set nothing`"),
        (("--url", "secret://Bridge URL"), "--url: is no reference to a secret"),
        (("--url", URL, "--burst", "2"), "--burst: needs a rate of its own"),
        (("--url", "https://user:password@bridge.test/"), "give what authorises the call in a header"),
    ],
)
def test_what_cannot_work_is_refused_with_its_remedy(cmis: Cmis, org: Org, options: tuple[str, ...], said: str) -> None:
    refused = cmis("connectors", "create", "Bridge", *options)
    assert (refused.code, said in refused.err) == (2, True), refused.err
    assert org.world.rows("SELECT FROM cmis.connectors") == []


def test_a_name_is_an_orgs_only_once_and_another_org_does_not_see_it(cmis: Cmis, org: Org) -> None:
    connect(org, "Bridge")
    other = org.world.org("Other")
    Desk(other).keep("webhook_signing", SIGNING)
    again = cmis("connectors", "create", "Bridge", "--url", URL)
    assert (again.code, "there is a connector 'Bridge' already" in again.err) == (2, True)
    missing = cmis("connectors", "show", "Bridge", "--org", "Other")
    assert (missing.code, "see `cmis connectors list`" in missing.err) == (2, True)
    assert cmis("connectors", "create", "Bridge", "--url", URL, "--org", "Other").code == 0
    assert cmis("connectors", "update", "Bridge").code == 2


@pytest.mark.parametrize("verb", ["create", "update", "pause"])
def test_an_operator_changes_no_connector(cmis: Cmis, org: Org, verb: str) -> None:
    connect(org, "Bridge")
    org.world.meddle("UPDATE cmis.user_orgs SET role = 'operator'")
    options = {"create": ("--url", URL), "update": ("--url", URL), "pause": ()}[verb]
    refused = cmis(
        "connectors", verb, "Bridge" if verb != "create" else "New", *options, "--as", str(org.context.user_id)
    )
    assert (refused.code, "act as a member who is editor or more" in refused.err) == (2, True)


def test_pushes_are_listed_and_undo_passes_over_them(cmis: Cmis, org: Org) -> None:
    connect(org, "Bridge")
    campaign = org.campaign(name="Sale")
    [execution] = org.evaluate(org.rule(SPENT, PAUSE))
    org.world.meddle("UPDATE cmis.automation_actions SET status = 'succeeded', finished_at = created_at")
    listed = cmis("actions", "list", "--campaign", "Sale", "--json").json
    assert sorted(row["type"] for row in listed) == ["pause_campaign", "push_change"]
    assert "push_change" in cmis("actions", "list").out
    assert "push_change" in cmis("executions", "show", str(execution.execution_id)).out
    for selection in (("--execution", str(execution.execution_id)), ("--since", "1d")):
        [undone] = cmis("actions", "undo", *selection, "--dry-run", "--json").json
        assert (undone["type"], undone["outcome"]) == ("pause_campaign", "undone")
    assert cmis("actions", "undo", "--since", "1d").code == 0
    assert org.campaign_row(campaign).status == "active"
    by_hand = cmis("actions", "list", "--status", "queued", "--json").json
    assert [(row["type"], row["rule"], row["campaign"]) for row in by_hand] == [("push_change", None, "Sale")]
    assert cmis("actions", "show", by_hand[0]["action_id"]).code == 0
