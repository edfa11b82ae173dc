"""`cmis secrets`: a value comes by stdin or a hidden prompt, and no output has it."""

from __future__ import annotations

import base64
import io
import json
import os
import pty
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from core.config import Settings
from dev.launch import wait_until
from dev.site import ROOT
from engine.secrets.sealing import Keys
from engine.store import secrets as store
from tests.unit.cli.running import Cmis, Done

if TYPE_CHECKING:
    from collections.abc import Callable

    from dev.site import Site
    from tests.world import Org, World

VALUE = "s3cr3t-of-a-test"
KEY = base64.b64encode(bytes(32)).decode()
TTY = "import os, sys; os.open(os.ttyname(0), os.O_RDWR); os.execv(sys.executable, [sys.executable, *sys.argv[1:]])"
"""Runs a command that has its stdin as its terminal."""


@pytest.fixture
def org(world: World) -> Org:
    return world.org("Acme")


@pytest.fixture
def env(database: Site) -> dict[str, str]:
    return {"DATABASE_URL": database.urls.app, "CMIS_ORG": "Acme", "COLUMNS": "300", "CMIS_SECRET_KEYS": f"k={KEY}"}


@pytest.fixture
def cmis(env: dict[str, str], capsys: pytest.CaptureFixture[str]) -> Cmis:
    return Cmis(capsys, env)


@pytest.fixture
def feed(cmis: Cmis, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Done]:
    """Run a command with bytes on its stdin."""

    def feed(content: bytes, *arguments: str) -> Done:
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(content)))
        return cmis(*arguments)

    return feed


def read(org: Org, name: str, env: dict[str, str]) -> str:
    with org.world.app.transaction(org.context) as connection:
        row = store.sealed(connection, org.id, [name])[name]
    return Keys.load(Settings.load(env)).open(org.id, name, row).reveal()


@pytest.mark.parametrize("end", [b"", b"\n", b"\r\n"])
def test_a_value_is_read_from_stdin_without_its_line_break(
    feed: Callable[..., Done], org: Org, env: dict[str, str], end: bytes
) -> None:
    done = feed(f" {VALUE} é ".encode() + end, "secrets", "set", "token", "--json")
    assert (done.json["name"], done.json["key_id"]) == ("token", "k")
    assert VALUE not in done.out + done.err
    assert read(org, "token", env) == f" {VALUE} é "


@pytest.mark.usefixtures("org")
@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "value: has 0 bytes (give 1 to 8192)"),
        (b"\n", "value: has 0 bytes"),
        (b"s3cr3t" * 2000, "value: has more than 8192 bytes"),
        (b"s3cr3t\xff", "value: is no UTF-8 text"),
        (b"s3cr3t\n\n", "value: holds a line break"),
    ],
)
def test_what_is_no_value_is_told_and_not_shown(feed: Callable[..., Done], content: bytes, said: str) -> None:
    refused = feed(content, "secrets", "set", "token")
    assert (refused.code, said in refused.err, "s3cr3t" in refused.err) == (2, True, False)


@pytest.mark.usefixtures("org")
def test_a_value_on_the_command_line_is_refused_and_not_repeated(cmis: Cmis) -> None:
    refused = cmis("secrets", "set", "token", VALUE)
    assert (refused.code, "on stdin" in refused.err, VALUE in refused.err) == (2, True, False)
    assert cmis("secrets", "list", "--json").json == []


def test_a_prompt_shows_nothing_of_what_is_typed(database: Site, org: Org, env: dict[str, str]) -> None:
    terminal, inside = pty.openpty()
    command = [sys.executable, "-c", TTY, "-m", "cli.main", "secrets", "set", "token", "--json"]
    process = subprocess.Popen(
        command,
        stdin=inside,
        stdout=inside,
        stderr=inside,
        cwd=ROOT,
        env=database.full_env() | env,
        start_new_session=True,
    )
    os.close(inside)
    said = bytearray()

    def heard(text: bytes) -> bool:
        said.extend(os.read(terminal, 1024))  # blocks until there is more, and the test's own timeout ends it
        return text in said

    for question in (b"Value: ", b"Repeat for confirmation: "):
        assert wait_until(lambda question=question: heard(question), 60), said  # type: ignore[misc]
        os.write(terminal, f"{VALUE}\n".encode())
    assert wait_until(lambda: heard(b'"key_id": "k"'), 60), said
    assert process.wait(60) == 0
    os.close(terminal)
    assert VALUE.encode() not in said
    assert read(org, "token", env) == VALUE


def test_a_generated_value_is_shown_once_where_that_is_asked_for(cmis: Cmis, org: Org, env: dict[str, str]) -> None:
    shown = cmis("secrets", "generate", "signing", "--show-once")
    assert shown.out == f"{read(org, 'signing', env)}\n"
    assert cmis("secrets", "generate", "signing", "--show-once").code == 2
    again = cmis("secrets", "generate", "signing", "--show-once", "--replace", "--json").json
    assert again["value"] == read(org, "signing", env) != shown.out.strip()
    hidden = cmis("secrets", "generate", "quiet", "--json")
    assert "value" not in hidden.json
    assert "whsec_" not in hidden.out + hidden.err + cmis("secrets", "generate", "quieter").out


def test_secrets_are_listed_with_what_names_them_deleted_and_rotated(cmis: Cmis, org: Org) -> None:
    org.rule(actions=[{"type": "notify", "params": {"message": "secret://signing"}}], name="Teller")
    for name in ("signing", "other"):
        assert cmis("secrets", "generate", name).code == 0
    listed = cmis("secrets", "list", "--json").json
    assert [(one["name"], one["key_id"], one["rules"]) for one in listed] == [
        ("other", "k", []),
        ("signing", "k", ["Teller"]),
    ]
    assert all(word in cmis("secrets", "list").out for word in ("signing", "Teller", "k"))
    newer = Cmis(
        cmis.capsys, {**cmis.environ, "CMIS_SECRET_KEYS": f"new={base64.b64encode(bytes(range(32))).decode()},k={KEY}"}
    )
    assert newer("secrets", "rotate").out == "2 encrypted anew with the key new\n"
    assert newer("secrets", "rotate", "--json").json == {"key_id": "new", "rotated": 0, "failed": {}}
    done = cmis("secrets", "delete", "signing")
    assert (done.code, done.out) == (0, "deleted signing\n")
    assert "the rule 'Teller' names it" in done.err
    assert [one["name"] for one in cmis("secrets", "list", "--json").json] == ["other"]
    assert "there is no secret 'signing'" in cmis("secrets", "delete", "signing").err


@pytest.mark.usefixtures("org")
def test_what_cannot_be_rotated_is_a_failure(cmis: Cmis) -> None:
    assert cmis("secrets", "generate", "token").code == 0
    lost = Cmis(cmis.capsys, {**cmis.environ, "CMIS_SECRET_KEYS": f"new={KEY}"})
    done = lost("secrets", "rotate", "--json")
    assert (done.code, list(json.loads(done.out)["failed"])) == (2, ["token"])
    assert "encrypted with the key 'k', which CMIS_SECRET_KEYS has not" in lost("secrets", "rotate").err


@pytest.mark.usefixtures("org")
def test_the_variable_is_needed_by_what_seals_alone(cmis: Cmis) -> None:
    without = Cmis(cmis.capsys, {**cmis.environ, "CMIS_SECRET_KEYS": ""})
    assert without("secrets", "list").code == 0
    for arguments in (("generate", "token"), ("rotate",)):
        refused = without("secrets", *arguments)
        assert (refused.code, "CMIS_SECRET_KEYS is not set" in refused.err) == (1, True)
    assert "`cmis secrets list`" in without("secrets", "delete", "token").err


def test_who_is_no_editor_is_told_what_it_takes(cmis: Cmis, org: Org) -> None:
    org.world.meddle("UPDATE cmis.user_orgs SET role = 'operator'")
    refused = cmis("secrets", "generate", "token", "--as", str(org.context.user_id))
    assert (refused.code, "act as a member who is editor or more" in refused.err) == (2, True)
