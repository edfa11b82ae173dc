"""What `/healthz` answers, over a real socket: 503 only where a new start would help."""

from __future__ import annotations

import json
from dataclasses import replace
from http.client import HTTPConnection
from typing import Any
from uuid import uuid4

import pytest

from core.clock import monotonic
from core.db import Database
from dev.site import free_port
from engine.store.processes import Identity
from models.process_enums import ProcessState
from vitals import healthz
from vitals.liveness import Judgement, Seen
from vitals.pulse import Look, Pulse, Snapshot

WORKING = Judgement(ProcessState.WORKING, None, polled=True)


@pytest.fixture
def pulse() -> Pulse:
    """A pulse that does not beat: its snapshot is what the test makes it."""
    identity = Identity(uuid4(), "worker", "host", 1, "0.1.0", ("rules",))
    nowhere = Database("postgresql://cmis_app:hush@127.0.0.1:1/x", variable="DATABASE_URL", application="test")
    seen = Seen(turned=True, took=False, free=True, waiting=0)
    made = Pulse(identity, nowhere, lambda: Look(seen, 0, None), lambda _reason: None, 60)
    made.snapshot = Snapshot(identity, WORKING, 7, monotonic() - 3, monotonic(), monotonic(), None)
    return made


@pytest.fixture
def port(pulse: Pulse) -> int:
    """Serve it on a port of its own."""
    port = free_port()
    healthz.serve(pulse, "127.0.0.1", port)
    return port


def ask(port: int, method: str = "GET", path: str = "/healthz") -> tuple[int, Any]:
    connection = HTTPConnection("127.0.0.1", port, timeout=10)
    connection.request(method, path)
    response = connection.getresponse()
    body = response.read()
    connection.close()
    return response.status, json.loads(body) if body else None


def change(pulse: Pulse, **values: Any) -> None:
    assert pulse.snapshot is not None
    pulse.snapshot = replace(pulse.snapshot, **values)


def test_a_process_at_work_is_well_and_says_what_it_did(port: int) -> None:
    status, said = ask(port)
    assert (status, said["state"], said["reasons"], said["tasks"]) == (200, "working", [], 7)
    assert said["kind"] == "worker"
    assert said["claimed_seconds_ago"] >= 3


def test_one_that_waits_for_a_server_is_well_too_and_names_it(pulse: Pulse, port: int) -> None:
    change(
        pulse,
        judgement=Judgement(ProcessState.WAITING, "the broker is out of reach", polled=False),
        unwritten="DATABASE_URL cannot be used: connection refused",
    )
    status, said = ask(port)
    assert (status, said["state"]) == (200, "waiting")
    assert said["reasons"] == ["the broker is out of reach", "DATABASE_URL cannot be used: connection refused"]


def test_a_stuck_one_and_one_that_is_not_looked_at_any_more_are_to_be_started_again(pulse: Pulse, port: int) -> None:
    change(pulse, judgement=Judgement(ProcessState.STUCK, "its loop does not turn", polled=False))
    assert ask(port)[0] == 503
    change(pulse, judgement=WORKING, looked_at=monotonic() - 61)
    status, said = ask(port)
    assert (status, said["state"]) == (503, "stuck")
    assert said["reasons"] == ["not looked at for 61 s"]


def test_before_the_first_look_it_starts(pulse: Pulse, port: int) -> None:
    pulse.snapshot = None
    assert ask(port)[1]["state"] == "starting"


def test_nothing_else_is_served_and_nothing_is_told_of_the_database(port: int) -> None:
    assert ask(port, path="/")[0] == 404
    assert ask(port, "HEAD") == (200, None)
    assert "hush" not in json.dumps(ask(port)[1])


def test_a_port_that_is_taken_costs_the_endpoint_only(
    pulse: Pulse, port: int, caplog: pytest.LogCaptureFixture
) -> None:
    healthz.serve(pulse, "127.0.0.1", port)
    assert "give each process of a host a CMIS_HEALTH_PORT of its own" in caplog.text
    assert ask(port)[0] == 200
