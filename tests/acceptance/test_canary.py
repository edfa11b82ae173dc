"""A secret's value is nowhere but, encrypted, in its row: not in the database, the broker, logs or outputs."""

from __future__ import annotations

import base64
import json
import secrets
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import psycopg
import redis

from core.config import Settings
from core.db import CLI_ACTOR, Context, Database
from dev.fleet import fleet
from dev.launch import wait_until
from dev.site import ROOT
from engine.secrets.sealing import Keys
from engine.store import orgs
from engine.store import secrets as store
from tests.acceptance.canary import Places, Wiretap, leaks, show_everything
from tests.acceptance.flower import watching
from tests.unit.cli.running import Cmis

if TYPE_CHECKING:
    from pathlib import Path

    import pytest

    from dev.provider import Servers
    from dev.site import Site
    from dev.valkey import Valkey
    from tests.receiver.web import Receiver

EXPORT = "campaign,date,impressions,clicks,spend\nSpring sale,2025-08-30,12000,240,96.50\n"


def rule_for(receiver: Receiver) -> dict[str, Any]:
    """Return a rule whose action sends the secret to a receiver that says all back."""
    params = {"url": f"{receiver.url}/echoes/200", "headers": {"Authorization": "Bearer secret://canary"}}
    return {
        "name": "Tell",
        "status": "active",
        "conditions": [{"field": "spend", "window": "lifetime", "operator": ">", "value": 50}],
        "actions": [{"type": "trigger_webhook", "params": params}],
    }


def set_secret(site: Site, name: str, value: str) -> str:
    """Set a secret as people do: a process of its own, the value on its stdin; returns what it printed."""
    command = [sys.executable, "-m", "cli.main", "secrets", "set", name, "--org", "acme"]
    done = subprocess.run(
        command, cwd=ROOT, env=site.full_env(), input=f"{value}\n", capture_output=True, text=True, check=True
    )
    return done.stdout + done.stderr


def opened(site: Site, name: str) -> str:
    """Return a secret's value as a worker gets it."""
    database = Database(site.urls.app, variable="DATABASE_URL", application="test")
    with database.transaction(None) as connection:
        org = orgs.resolve(connection, "acme")
    assert org is not None
    with database.transaction(Context(org.org_id, CLI_ACTOR)) as connection:
        row = store.sealed(connection, org.org_id, [name])[name]
    database.close()
    return Keys.load(Settings.load(site.full_env())).open(org.org_id, name, row).reveal()


def delivered(cmis: Cmis) -> bool:
    """Say whether the rule's webhook is delivered."""
    return len(cmis("actions", "list", "--status", "succeeded", "--json").json) == 1


def test_a_secrets_value_and_its_key_are_nowhere_after_it_was_sent(
    server: Servers,
    database: Site,
    broker: Valkey,
    receiver: Receiver,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    values = [f"canary-{secrets.token_hex(12)}/+" for _ in range(2)]
    cmis = Cmis(capsys, {**database.env(), "CMIS_ORG": "acme", "COLUMNS": "300"})
    for name, text in (("export.csv", EXPORT), ("rule.json", json.dumps(rule_for(receiver)))):
        (tmp_path / name).write_text(text, encoding="utf-8")
    logs = tmp_path / "logs"
    env = database.full_env() | {"CMIS_EGRESS_ALLOW": "127.0.0.1"}
    with Wiretap(broker.url) as tap, fleet(1, 1, env, logs, deliveries=1), watching(env, logs) as flower:
        assert cmis("orgs", "create", "acme").code == 0
        assert cmis("secrets", "generate", "webhook_signing").code == 0
        outputs = {"secrets set": "".join(set_secret(database, "canary", value) for value in values)}
        for arguments in (
            ("metrics", "import", str(tmp_path / "export.csv")),
            ("rules", "create", "--file", str(tmp_path / "rule.json")),
            ("jobs", "add", "--rule", "Tell", "--every", "weekly", "--name", "weekly"),
            ("jobs", "run", "weekly", "--wait"),
        ):
            done = cmis(*arguments)
            assert done.code == 0, done.err
            outputs[" ".join(arguments)] = done.out + done.err
        assert wait_until(lambda: delivered(cmis), 60), cmis("actions", "list", "--json").out
        assert wait_until(lambda: "automation.deliver" in flower("tasks"), 30)
        outputs |= show_everything(cmis) | {f"flower {what}": flower(what) for what in ("tasks", "workers")}
    [request] = receiver.requests("/echoes/200")
    assert request.headers["authorization"] == f"Bearer {values[-1]}"
    assert opened(database, "canary") == values[-1], "it was there to be found"
    assert "secret://canary" in outputs["executions list --json"] + outputs["actions list --json"]
    assert any("evaluate_rules" in command for command in tap.heard)
    assert any("automation.deliver" in command for command in tap.heard)
    said = list(logs.iterdir()) + ([server.postgres.log] if server.postgres else [])
    cluster = server.postgres.data if server.postgres else None
    places = Places(said, outputs, tap.heard, cluster)
    key = database.env()["CMIS_SECRET_KEYS"].partition("=")[2]
    assert {one: leaks(one, database, places) for one in (*values, key)} == {one: [] for one in (*values, key)}


def test_the_search_finds_a_value_wherever_and_however_it_stands(
    server: Servers, database: Site, broker: Valkey, tmp_path: Path
) -> None:
    value = f"canary-{secrets.token_hex(12)}/+"
    message = base64.b64encode(json.dumps({"args": ["ab", {"url": value}]}).encode())
    log = tmp_path / "worker.log"
    log.write_text(f"POST https://x.test/{value}\n", encoding="utf-8")
    with psycopg.connect(database.urls.migration) as connection, redis.Redis.from_url(broker.url) as client:
        connection.execute("CREATE TABLE cmis.planted (x jsonb, y bytea, z jsonb)")
        insert = "INSERT INTO cmis.planted VALUES (%s, %s, %s)"
        connection.execute(insert, [json.dumps({"deep": [value]}), None, None])
        connection.execute(insert, [None, b"\0" + value.encode(), None])
        connection.execute(insert, [None, None, json.dumps({"body": message.decode()})])
        connection.commit()
        connection.execute("CHECKPOINT") if server.postgres else None
        with Wiretap(broker.url) as tap:
            client.publish("events", message)
            client.lpush("rules", message)
            client.hset("unacked", "1", value.encode().hex())
    outputs = {"cmis show": json.dumps({"x": value})}
    places = Places([log], outputs, tap.heard, server.postgres.data if server.postgres else None)
    found = leaks(value, database, places)
    assert found.count("table cmis.planted") == 3
    assert {"log worker.log", "output of cmis show", "broker", "broker key b'rules'", "broker key b'unacked'"} <= set(
        found
    )
    assert found.count("broker") == 3
    assert server.postgres is None or any(where.startswith("file ") for where in found)
    assert leaks(f"canary-{secrets.token_hex(12)}", database, places) == []
