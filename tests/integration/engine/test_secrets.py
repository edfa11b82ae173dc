"""Secrets in their rows: whose they are, who may change them, the audit log, rotation, and rules that name them."""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING, Any, ClassVar

import psycopg
import pytest
import standardwebhooks
from sqlalchemy.exc import DBAPIError

from core.config import Settings
from core.errors import ConflictError, InputError, NotFoundError, PermanentError
from engine import keep_secrets
from engine.actions import registry
from engine.actions.status import PauseCampaign
from engine.bundles import Choices, create_bundle, instantiate
from engine.change_rules import duplicate_rule, restore_rule, update_rule
from engine.define import create_rule
from engine.dry_run import try_document
from engine.secrets.sealing import Keys
from engine.store import secrets as store
from engine.switch_rules import switch_rule
from models.enums import RuleStatus
from tests.world import PAUSE, SPENT

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from engine.actions.base import Params
    from tests.world import Org, World

VALUE = "s3cr3t-of-a-test"


def keys(*ids: str) -> Keys:
    entries = [f"{one}={base64.b64encode(one.encode().ljust(32)).decode()}" for one in ids]
    return Keys.load(Settings.load({"CMIS_SECRET_KEYS": ",".join(entries)}))


NOW, BOTH, LATER = keys("now"), keys("later", "now"), keys("later")


def put(org: Org, name: str = "token", value: str = VALUE, ring: Keys = NOW) -> Any:
    return keep_secrets.set_secret(org.world.app, org.context, ring, name, value)


def read(org: Org, name: str = "token", ring: Keys = NOW) -> str:
    with org.world.app.transaction(org.context) as connection:
        row = store.sealed(connection, org.id, [name])[name]
    return ring.open(org.id, name, row).reveal()


def rows(world: World) -> list[Any]:
    return list(world.rows("SELECT * FROM cmis.secrets ORDER BY name"))


def audited(world: World) -> list[Any]:
    return list(
        world.rows("""SELECT action, user_id, before, after FROM cmis.automation_audit_log
                       WHERE entity_type = 'secret' ORDER BY created_at, audit_id""")
    )


def test_a_value_is_stored_encrypted_and_opens_again(org: Org, world: World) -> None:
    assert "ciphertext" not in put(org)._asdict()
    [row] = rows(world)
    assert (row.name, row.key_id, len(row.nonce), row.deleted_at) == ("token", "now", 12, None)
    assert VALUE.encode() not in row.ciphertext
    assert read(org) == VALUE
    put(org, value="another")
    assert read(org) == "another"
    [again] = rows(world)
    assert (again.secret_id, again.created_at) == (row.secret_id, row.created_at)
    assert again.updated_at > row.updated_at
    assert again.nonce != row.nonce


def test_a_value_that_was_moved_to_another_name_or_org_does_not_open(org: Org, world: World) -> None:
    other = world.org("other")
    for owner, name in ((org, "token"), (org, "second"), (other, "token")):
        put(owner, name, f"{name} of {owner.id}")
    take = """UPDATE cmis.secrets t SET key_id = s.key_id, nonce = s.nonce, ciphertext = s.ciphertext
                FROM cmis.secrets s
               WHERE t.org_id = %(to)s AND t.name = %(name)s AND s.org_id = %(org)s AND s.name = 'token'"""
    for owner, name in ((org, "second"), (other, "token")):
        assert raw(world, take, to=owner.id, name=name, org=org.id) == 1
        with pytest.raises(PermanentError, match=f"the secret '{name}' does not open"):
            read(owner, name)
    assert read(org) == f"token of {org.id}"


def raw(world: World, statement: str, **values: Any) -> int:
    """Change rows as an administrator whom no policy binds; returns how many."""
    with psycopg.connect(world.site.urls.migration) as connection:
        return connection.execute(statement, values).rowcount


def test_a_name_has_a_value_in_each_org_of_its_own(org: Org, world: World) -> None:
    other = world.org("other")
    put(org, value="of one")
    put(other, value="of the other")
    assert (read(org), read(other)) == ("of one", "of the other")
    assert keep_secrets.delete_secret(world.app, other.context, "token").row.name == "token"
    assert read(org) == "of one"


def test_deleting_erases_the_value_and_the_name_can_be_given_another(org: Org, world: World) -> None:
    [first] = (put(org), rows(world))[1]
    keep_secrets.delete_secret(world.app, org.context, "token")
    [erased] = rows(world)
    assert (erased.nonce, erased.ciphertext, erased.deleted_at is None) == (None, None, False)
    assert keep_secrets.list_secrets(world.app, org.context) == []
    with pytest.raises(NotFoundError, match="there is no secret 'token'"):
        keep_secrets.delete_secret(world.app, org.context, "token")
    put(org, value="second life")
    [row] = rows(world)
    assert (row.secret_id, row.deleted_at, read(org)) == (first.secret_id, None, "second life")


def test_the_audit_log_tells_who_did_what_and_no_value(org: Org, world: World) -> None:
    put(org)
    put(org, value="another")
    keep_secrets.rotate_secrets(world.app, org.context, BOTH)
    keep_secrets.delete_secret(world.app, org.context, "token")
    told = audited(world)
    assert [entry.action for entry in told] == ["secret_created"] + ["secret_updated"] * 3
    assert {entry.user_id for entry in told} == {org.context.user_id}
    assert told[0].after["name"] == "token"
    assert told[2].after == {"key_id": "later"}
    assert told[3].after["deleted_at"] is not None
    columns = {column for entry in told for side in (entry.before, entry.after) for column in side or ()}
    assert columns <= {"name", "key_id", "updated_at", "deleted_at"}


def test_a_generated_secret_signs_as_standard_webhooks_has_it_and_is_not_replaced_by_accident(org: Org) -> None:
    app, context = org.world.app, org.context
    row, value = keep_secrets.generate_secret(app, context, NOW, "webhook_signing", replace=False)
    assert row.name == "webhook_signing"
    assert read(org, "webhook_signing") == value.reveal()
    assert value.reveal().startswith("whsec_")
    assert len(base64.b64decode(value.reveal().removeprefix("whsec_"))) == 32
    assert standardwebhooks.Webhook(value.reveal()).sign("id", org.world.now(), "{}").startswith("v1,")
    with pytest.raises(ConflictError, match="has a value already"):
        keep_secrets.generate_secret(app, context, NOW, "webhook_signing", replace=False)
    assert read(org, "webhook_signing") == value.reveal()
    _, second = keep_secrets.generate_secret(app, context, NOW, "webhook_signing", replace=True)
    assert read(org, "webhook_signing") == second.reveal() != value.reveal()
    keep_secrets.delete_secret(app, context, "webhook_signing")
    keep_secrets.generate_secret(app, context, NOW, "webhook_signing", replace=False)


@pytest.mark.parametrize("role", ["viewer", "operator"])
def test_who_is_no_editor_changes_nothing_and_sees_names(org: Org, world: World, role: str) -> None:
    put(org)
    world.meddle("UPDATE cmis.user_orgs SET role = %(role)s", role=role)
    before = rows(world)
    for change in (
        lambda: put(org, value="mine"),
        lambda: keep_secrets.generate_secret(world.app, org.context, NOW, "token", replace=True),
        lambda: keep_secrets.delete_secret(world.app, org.context, "token"),
        lambda: keep_secrets.rotate_secrets(world.app, org.context, BOTH),
    ):
        with pytest.raises(DBAPIError, match="is no editor of org"):
            change()
    assert rows(world) == before
    assert [kept.row.name for kept in keep_secrets.list_secrets(world.app, org.context)] == ["token"]


@pytest.mark.parametrize("name", ["", "Token", "1token", "to ken", "token/x", "a" * 64, "töken"])
def test_a_name_that_no_reference_could_have_is_refused(org: Org, name: str) -> None:
    with pytest.raises(InputError, match="is no name of a secret"):
        put(org, name)


@pytest.mark.parametrize(
    ("value", "said"),
    [
        ("", "has 0 bytes"),
        ("é" * 4097, "has 8194 bytes"),
        ("VAL\nUE", "holds a line break"),
        ("VAL\rUE", "holds a line break"),
        ("VAL\x00UE", "control character"),
        ("VAL\ud800UE", "control character"),
    ],
)
def test_a_value_that_no_header_could_hold_is_refused_and_not_shown(org: Org, value: str, said: str) -> None:
    with pytest.raises(InputError, match=said) as refused:
        put(org, value=value)
    assert "VAL" not in str(refused.value)
    assert put(org, value="é" * 4096).name == "token"


def test_rotation_leaves_no_value_under_the_old_key_and_can_be_repeated(org: Org, world: World) -> None:
    values = {f"name_{number}": f"value {number}" for number in range(250)}
    for name, value in values.items():
        put(org, name, value)
    keep_secrets.delete_secret(world.app, org.context, "name_7")
    before = {row.name: row.updated_at for row in rows(world)}
    rotated = keep_secrets.rotate_secrets(world.app, org.context, BOTH)
    assert (rotated.key_id, rotated.count, rotated.failed) == ("later", 249, {})
    assert all(read(org, name, LATER) == value for name, value in values.items() if name != "name_7")
    assert {row.name: row.updated_at for row in rows(world)} == before, "no value was set"
    assert keep_secrets.rotate_secrets(world.app, org.context, BOTH).count == 0


def test_what_does_not_open_is_told_and_the_others_are_rotated(org: Org, world: World) -> None:
    for name in ("damaged", "fine", "strange"):
        put(org, name, ring=keys("lost") if name == "strange" else NOW)
    raw(world, "UPDATE cmis.secrets SET ciphertext = ciphertext || '\\x00' WHERE name = 'damaged'")
    rotated = keep_secrets.rotate_secrets(world.app, org.context, BOTH)
    assert (rotated.count, set(rotated.failed)) == (1, {"damaged", "strange"})
    assert "does not open" in rotated.failed["damaged"]
    assert "encrypted with the key 'lost'" in rotated.failed["strange"]
    assert read(org, "fine", LATER) == VALUE


class Call(PauseCampaign):
    """What another package could bring: parameters of its own, in which secrets are named."""

    name = "call"
    aliases = ("ring", "phone")
    defaults: ClassVar[Mapping[str, Any]] = {"signing_secret": "secret://signing"}

    def validate(self, params: Mapping[str, Any], *, spelling: str, path: str) -> Params:
        del spelling, path
        return {**self.defaults, **params}


@pytest.fixture
def call(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Have an action kind whose params hold references."""
    monkeypatch.setattr(registry, "_OURS", (*registry._OURS, Call()))
    registry.kinds.cache_clear()
    registry._spellings.cache_clear()
    yield
    monkeypatch.undo()
    registry.kinds.cache_clear()
    registry._spellings.cache_clear()


PARAMS = {"url": "https://x.test", "headers": {"authorization": "Bearer secret://token"}}
RULE = {"name": "Call", "conditions": SPENT, "actions": [PAUSE[0], {"type": "call", "params": PARAMS}]}
MISSING = ["actions[1].params.headers.authorization", "actions[1].params.signing_secret"]


def refused(change: Any) -> list[str]:
    with pytest.raises(InputError, match=r"`cmis secrets set (token|signing)`") as error:
        change()
    return sorted(problem.field for problem in error.value.problems)


@pytest.mark.usefixtures("call")
def test_a_rule_that_names_a_secret_which_is_not_there_is_refused_at_every_edge(org: Org, world: World) -> None:
    app, context = world.app, org.context
    assert refused(lambda: create_rule(app, context, RULE)) == MISSING
    assert refused(lambda: try_document(app, context, RULE)) == MISSING
    plain = create_rule(app, context, RULE | {"name": "Plain", "actions": PAUSE}).row.rule_id
    assert refused(lambda: update_rule(app, context, plain, {"actions": RULE["actions"]})) == MISSING
    create_bundle(app, context, {"name": "Calls", "category": "performance", "rules": [RULE]})
    assert refused(lambda: instantiate(app, context, "Calls", Choices())) == [f"rules[0].{path}" for path in MISSING]
    put(org, "token")
    assert refused(lambda: create_rule(app, context, RULE)) == MISSING[1:], "what a kind implies counts, too"
    put(org, "signing")
    assert create_rule(app, context, RULE).row.actions == RULE["actions"]
    assert update_rule(app, context, plain, {"actions": RULE["actions"]}).row.version == 2
    assert len(instantiate(app, context, "Calls", Choices(prefix="of it: ")).rules) == 1
    update_rule(app, context, plain, {"actions": PAUSE})
    keep_secrets.delete_secret(app, context, "token")
    assert refused(lambda: restore_rule(app, context, plain, 2)) == MISSING[:1]
    assert refused(lambda: duplicate_rule(app, context, "Call")) == MISSING[:1]
    assert refused(lambda: update_rule(app, context, "Call", {"status": "active"})) == MISSING[:1]


@pytest.mark.usefixtures("call")
def test_a_rule_whose_secret_is_gone_can_still_be_paused(org: Org, world: World) -> None:
    put(org, "token")
    put(org, "signing")
    create_rule(world.app, org.context, RULE | {"status": "active"})
    keep_secrets.delete_secret(world.app, org.context, "token")
    assert update_rule(world.app, org.context, "Call", {"cooldown_minutes": 5}).row.status == "active"
    assert switch_rule(world.app, org.context, "Call", RuleStatus.PAUSED).row.status == "paused"


@pytest.mark.usefixtures("call")
def test_a_reference_without_a_name_is_told_as_such(org: Org) -> None:
    wrong = RULE | {"actions": [{"type": "call", "params": {"url": "secret://Not-A-Name", "signing_secret": "x"}}]}
    with pytest.raises(InputError, match=r"actions\[0\].params.url: has secret:// without the name of a secret"):
        create_rule(org.world.app, org.context, wrong)


@pytest.mark.usefixtures("call")
def test_another_orgs_secret_is_none_of_ours(org: Org, world: World) -> None:
    other = world.org("other")
    put(other, "token")
    put(other, "signing")
    assert refused(lambda: create_rule(world.app, org.context, RULE)) == MISSING


@pytest.mark.usefixtures("call")
def test_what_names_a_secret_is_listed_with_it(org: Org, world: World) -> None:
    put(org, "token")
    put(org, "signing")
    put(org, "unused")
    create_rule(world.app, org.context, RULE)
    create_rule(world.app, org.context, RULE | {"name": "Put away"})
    switch_rule(world.app, org.context, "Put away", RuleStatus.ARCHIVED)
    insert = """INSERT INTO cmis.connectors (org_id, connector_id, name, url, signing_secret, created_at, updated_at)
                VALUES (%(org)s, gen_random_uuid(), 'ads', 'secret://token', 'secret://signing', now(), now())"""
    raw(world, insert, org=org.id)
    kept = {one.row.name: (one.rules, one.connectors) for one in keep_secrets.list_secrets(world.app, org.context)}
    assert kept == {"signing": (["Call"], ["ads"]), "token": (["Call"], ["ads"]), "unused": ([], [])}
    deleted = keep_secrets.delete_secret(world.app, org.context, "token")
    assert (deleted.rules, deleted.connectors) == (["Call"], ["ads"])
