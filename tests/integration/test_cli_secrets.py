"""`cmis secrets`, against the real database as the app role."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

import pytest

from core.errors import InputError, SetupError
from engine import define, keep_secrets
from engine.secrets.sealing import Keys, Sealed
from engine.store import secrets as store
from tests.posting import SECRET_KEYS
from tests.unit.cli.running import Cmis
from tests.world import SPENT, World

if TYPE_CHECKING:
    from collections.abc import Iterator

    from dev.site import Site
    from tests.world import Org

CANARY = "canary-0815-canary"
NEWER = f"newer=//////////////////////////////////////////8=,{SECRET_KEYS}"


@pytest.fixture
def org(database: Site) -> Iterator[Org]:
    world = World.open(database)
    yield world.org("Acme")
    world.close()


@pytest.fixture
def cmis(database: Site, capsys: pytest.CaptureFixture[str]) -> Cmis:
    environ = {"DATABASE_URL": database.urls.app, "CMIS_ORG": "Acme", "COLUMNS": "300", "CMIS_SECRET_KEYS": SECRET_KEYS}
    return Cmis(capsys, environ)


def value_of(org: Org, name: str, keys: str = SECRET_KEYS) -> str:
    with org.world.app.transaction(org.context) as connection:
        row = store.sealed(connection, org.id, [name])[name]
    return Keys.parse(keys).open(org.id, name, Sealed(row.key_id, row.nonce, row.ciphertext))


def test_a_value_goes_in_and_is_shown_nowhere(cmis: Cmis, org: Org, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO(f"{CANARY}\n"))
    first = cmis("secrets", "set", "token")
    monkeypatch.setattr("sys.stdin", io.StringIO(f"{CANARY}!"))
    second = cmis("secrets", "set", "token", "--json")

    assert (first.code, first.out) == (0, "secret token is set; name it as secret://token\n")
    assert second.json == {"name": "token", "new": False}
    assert value_of(org, "token") == f"{CANARY}!"
    [listed] = cmis("secrets", "list", "--json").json
    assert (listed["name"], listed["key_id"]) == ("token", "test")
    said = first.out + first.err + second.out + second.err + cmis("secrets", "list").out + cmis("audit", "list").out
    assert CANARY not in said
    stored = org.world.rows(
        "SELECT s::text FROM cmis.secrets s UNION ALL SELECT a::text FROM cmis.automation_audit_log a"
    )
    assert all(CANARY not in text and CANARY.encode().hex() not in text for (text,) in stored)
    told = org.world.rows("SELECT action, after FROM cmis.automation_audit_log WHERE action LIKE 'secret%'")
    assert [action for action, _ in told] == ["secret_created", "secret_updated"]


def test_a_signing_secret_is_shown_once_to_who_asks(cmis: Cmis, org: Org) -> None:
    shown = cmis("secrets", "generate", "webhook_signing", "--show-once").out.strip()
    assert shown.startswith("whsec_")
    assert value_of(org, "webhook_signing") == shown
    assert cmis("secrets", "generate", "webhook_signing").out.startswith("secret webhook_signing is made")


def test_what_is_deleted_is_gone_and_its_name_may_be_used_again(
    cmis: Cmis, org: Org, monkeypatch: pytest.MonkeyPatch
) -> None:
    cmis("secrets", "generate", "token")
    assert cmis("secrets", "delete", "token").code == 0
    assert cmis("secrets", "list", "--json").json == []
    assert org.world.one("SELECT count(*) FROM cmis.secrets WHERE ciphertext IS NOT NULL") == 0
    again = cmis("secrets", "delete", "token")
    assert (again.code, "there is no secret 'token'" in again.err) == (2, True)
    monkeypatch.setattr("sys.stdin", io.StringIO("other"))
    assert cmis("secrets", "set", "token").code == 0
    assert value_of(org, "token") == "other"


def test_rotation_moves_every_value_to_the_first_key(
    cmis: Cmis, org: Org, database: Site, capsys: pytest.CaptureFixture[str]
) -> None:
    cmis("secrets", "generate", "one")
    cmis("secrets", "generate", "two")
    before = value_of(org, "one")
    newer = Cmis(capsys, {"DATABASE_URL": database.urls.app, "CMIS_ORG": "Acme", "CMIS_SECRET_KEYS": NEWER})

    assert newer("secrets", "rotate", "--json").json == {"key_id": "newer", "rotated": 2}
    assert newer("secrets", "rotate", "--json").json == {"key_id": "newer", "rotated": 0}

    assert {row["key_id"] for row in newer("secrets", "list", "--json").json} == {"newer"}
    assert value_of(org, "one", NEWER) == before
    with pytest.raises(SetupError, match="key newer"):
        value_of(org, "one")


@pytest.mark.parametrize("name", ["", "A", "1a", "with space", "a" * 64, "secret://a"])
def test_a_name_that_is_none_is_refused(cmis: Cmis, org: Org, name: str) -> None:
    done = cmis("secrets", "generate", name)
    assert (done.code, "NAME" in done.err) == (2, True)
    with pytest.raises(InputError, match="1 to 8192 bytes"):
        keep_secrets.put(org.world.app, org.context, Keys.parse(SECRET_KEYS), "good", "x" * 9000)


def test_without_keys_the_variable_is_named(database: Site, org: Org, capsys: pytest.CaptureFixture[str]) -> None:
    del org
    bare = Cmis(capsys, {"DATABASE_URL": database.urls.app, "CMIS_ORG": "Acme"})
    done = bare("secrets", "generate", "token")
    assert (done.code, "CMIS_SECRET_KEYS is not set" in done.err) == (1, True)


def test_a_viewer_may_set_nothing(cmis: Cmis, org: Org) -> None:
    org.world.meddle("UPDATE cmis.user_orgs SET role = 'viewer'")
    done = cmis("secrets", "generate", "token", "--as", str(org.context.user_id))
    assert (done.code, "is no editor" in done.err) == (2, True)


def test_a_rule_that_names_a_secret_which_is_not_there_is_refused(org: Org) -> None:
    document = {
        "name": "Tell",
        "conditions": SPENT,
        "actions": [{"type": "notify", "params": {"message": "secret://a"}}],
    }
    with pytest.raises(InputError, match=r"actions\[0\].params: there is no secret a .*cmis secrets set a"):
        define.create_rule(org.world.app, org.context, document)
