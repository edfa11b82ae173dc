"""`cmis orgs members`: shown, made, changed and removed by admins and the command line; each org's own."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from tests.unit.cli.running import Cmis

if TYPE_CHECKING:
    from tests.world import World


@pytest.fixture
def cmis(world: World, capsys: pytest.CaptureFixture[str]) -> Cmis:
    run = Cmis(capsys, {"DATABASE_URL": world.site.urls.app, "COLUMNS": "400"})
    assert run("orgs", "create", "Acme", "--admin", "Ana@acme.example").code == 0
    assert run("orgs", "create", "Other").code == 0
    return run


def roles(cmis: Cmis, *options: str, org: str = "Acme") -> dict[str, str]:
    return {one["email"]: one["role"] for one in cmis("orgs", "members", org, *options, "--json").json}


def ids(cmis: Cmis) -> dict[str, str]:
    return {one["email"]: one["user_id"] for one in cmis("orgs", "members", "Acme", "--json").json}


def test_a_member_is_made_changed_removed_and_made_again_and_all_of_it_is_audited(cmis: Cmis) -> None:
    assert roles(cmis) == {"ana@acme.example": "admin"}
    both = roles(cmis, "--set", "Ben@acme.example=operator", "--set", "cy@acme.example=viewer")
    assert both == {"ana@acme.example": "admin", "ben@acme.example": "operator", "cy@acme.example": "viewer"}
    ben = ids(cmis)["ben@acme.example"]
    assert "ben@acme.example" in cmis("orgs", "members", "Acme").out
    assert roles(cmis, "--set", "ben@acme.example=editor", "--remove", "cy@acme.example") == {
        "ana@acme.example": "admin",
        "ben@acme.example": "editor",
    }
    assert roles(cmis, "--remove", "ben@acme.example") == {"ana@acme.example": "admin"}
    assert cmis("rules", "list", "--org", "Acme", "--as", ben).code == 2
    assert roles(cmis, "--set", "ben@acme.example=viewer")["ben@acme.example"] == "viewer"
    assert ids(cmis)["ben@acme.example"] == ben
    entries = cmis("audit", "list", "--org", "Acme", "--entity", ben, "--json").json
    assert [one["action"].partition("_")[0] for one in reversed(entries)] == ["user", *["member"] * 4]


def test_a_person_may_belong_to_several_orgs_and_each_sees_its_own(cmis: Cmis) -> None:
    assert roles(cmis, "--set", "ana@acme.example=viewer", org="Other") == {"ana@acme.example": "viewer"}
    assert roles(cmis) == {"ana@acme.example": "admin"}
    assert roles(cmis, "--remove", "ana@acme.example", org="Other") == {}
    assert roles(cmis) == {"ana@acme.example": "admin"}


def test_only_admins_change_members(cmis: Cmis) -> None:
    roles(cmis, "--set", "ben@acme.example=editor")
    named = ids(cmis)
    refused = cmis("orgs", "members", "Acme", "--set", "ben@acme.example=admin", "--as", named["ben@acme.example"])
    assert (refused.code, "act as a member who is admin" in refused.err) == (2, True)
    assert roles(cmis, "--as", named["ben@acme.example"])["ben@acme.example"] == "editor"
    assert (
        roles(cmis, "--set", "ben@acme.example=admin", "--as", named["ana@acme.example"])["ben@acme.example"] == "admin"
    )


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--set", "ben@acme.example"], "no EMAIL=ROLE"),
        (["--set", "ben@acme.example=owner"], "viewer, operator, editor, admin"),
        (["--set", "ben=viewer"], "no e-mail address"),
        (["--set", "engine@system.cmis=admin"], "address of a system actor"),
        (["--remove", "nobody@acme.example"], "no member's address"),
        (["--set", "ana@acme.example=viewer", "--remove", "ana@acme.example"], "is given a role, too"),
        (["--set", "new@acme.example=viewer", "--remove", "nobody@acme.example"], "no member's address"),
    ],
)
def test_what_makes_no_sense_is_refused_and_nothing_is_changed(cmis: Cmis, options: list[str], said: Any) -> None:
    refused = cmis("orgs", "members", "Acme", *options)
    assert (refused.code, said in refused.err) == (2, True), refused.err
    assert roles(cmis) == {"ana@acme.example": "admin"}
