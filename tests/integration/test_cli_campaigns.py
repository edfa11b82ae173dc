"""`cmis campaigns`: what an import brings, and what people change by hand."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.unit.cli.running import Cmis

if TYPE_CHECKING:
    from dev.site import Site
    from tests.world import Org, World


@pytest.fixture
def org(world: World) -> Org:
    return world.org("Acme")


@pytest.fixture
def cmis(database: Site, capsys: pytest.CaptureFixture[str]) -> Cmis:
    return Cmis(capsys, {"DATABASE_URL": database.urls.app, "CMIS_ORG": "Acme"})


def test_a_campaign_is_given_a_budget_and_a_bid_that_the_ledger_and_the_audit_log_have(cmis: Cmis, org: Org) -> None:
    campaign = org.campaign(name="Sale", budget=None)
    changed = cmis(
        "campaigns", "update", "Sale", "--budget", "120.5", "--budget-type", "lifetime", "--bid", "2", "--json"
    )
    row = changed.json
    assert (row["budget"], row["budget_type"], row["bid_amount"], row["status"]) == (120.5, "lifetime", 2, "active")
    assert cmis("campaigns", "show", str(campaign), "--json").json == row
    [entry] = cmis("audit", "list", "--action", "campaign_updated", "--json").json
    assert entry["after"] == {"budget": 120.5, "budget_type": "lifetime", "bid_amount": 2}
    again = cmis("campaigns", "update", "Sale", "--budget", "120.50", "--json").json
    assert again["version"] == row["version"]
    assert "paused" in cmis("campaigns", "update", "Sale", "--status", "paused").out


def test_guardrails_bind_people_too(cmis: Cmis, org: Org) -> None:
    org.campaign(name="Sale", budget=100)
    assert cmis("orgs", "guardrails", "Acme", "--set", "max_change_pct=20", "--json").code == 0
    refused = cmis("campaigns", "update", "Sale", "--budget", "130")
    assert (refused.code, "max_change_pct" in refused.err, "change the guardrails" in refused.err) == (2, True, True)
    assert cmis("campaigns", "show", "Sale", "--json").json["budget"] == 100
    assert cmis("campaigns", "update", "Sale", "--budget", "120").code == 0


def test_a_viewer_changes_nothing(cmis: Cmis, org: Org) -> None:
    org.campaign(name="Sale", budget=100)
    org.world.meddle("UPDATE cmis.user_orgs SET role = 'viewer'")
    refused = cmis("campaigns", "update", "Sale", "--budget", "101", "--as", str(org.context.user_id))
    assert refused.code == 2
    assert "act as a member who is operator or more" in refused.err


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("Sale",), ["one of --status, --budget, --budget-type, --bid is required"]),
        (("Nope", "--budget", "1"), ["CAMPAIGN: there is no campaign 'Nope'"]),
        (("Sale", "--budget", "-1", "--bid", "x"), ["--budget: '-1' is no amount", "--bid: 'x' is no amount"]),
        (("Sale", "--budget", "1.001"), ["in whole cents"]),
        (("Sale", "--budget", "1e400"), ["is no amount"]),
        (("Sale", "--budget", "NaN"), ["is no amount"]),
        (("Sale", "--budget", "1000000000000"), ["below 10^12"]),
    ],
)
def test_what_is_wrong_is_told_whole(cmis: Cmis, org: Org, arguments: tuple[str, ...], said: list[str]) -> None:
    org.campaign(name="Sale", budget=100)
    refused = cmis("campaigns", "update", *arguments)
    assert refused.code == 2
    assert all(one in refused.err for one in said)
    assert cmis("campaigns", "show", "Sale", "--json").json["budget"] == 100
