"""Batches carry what `apply_async` sends, field by field, and the depth of a queue counts what they brought."""

from __future__ import annotations

import json
from base64 import b64decode
from contextlib import contextmanager
from itertools import pairwise
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import pytest
import redis
from celery._state import _task_stack
from celery.exceptions import QueueNotFound
from kombu.connection import Connection
from kombu.entity import Queue

from dev.launch import has_ended, spawn, stop, wait_until
from dev.signals import DIE
from dev.wheels import valkey_program
from engine.store.dispatch import Message
from tasks import depth
from tasks.publish import BATCH, GRACE_SECONDS, publish

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from celery import Celery

    from dev.valkey import Valkey

AMQP_URL = "amqp://guest:guest@127.0.0.1:5672//"


@pytest.fixture
def connection(celery: Celery, broker: Valkey) -> Iterator[Connection]:
    """Give the test a connection to an empty broker."""
    del broker
    with celery.connection_for_write() as made:
        yield made


@pytest.fixture
def rabbit(celery: Celery) -> Iterator[tuple[Connection, str]]:
    """Give the test a connection to RabbitMQ and a declared queue of its own there."""
    queue = Queue(f"test-{uuid4()}", expires=60)  # type: ignore[no-untyped-call]
    with Connection(AMQP_URL, connect_timeout=1) as made:  # type: ignore[no-untyped-call]
        try:
            made.ensure_connection(max_retries=1, timeout=1)
        except OSError:
            pytest.skip("no RabbitMQ answers at 127.0.0.1:5672")
        celery.amqp.queues.add(queue)
        try:
            yield made, queue.name
        finally:
            del celery.amqp.queues[queue.name]
            made.default_channel.queue_delete(queue.name)


def _use_prefix(app: Celery, monkeypatch: pytest.MonkeyPatch, prefix: str) -> None:
    options = app.conf.broker_transport_options | {"global_keyprefix": prefix}
    monkeypatch.setitem(app.conf, "broker_transport_options", options)


def _some(count: int, queue: str = "rules", priority: int = 3, kind: str = "evaluate_rules") -> list[Message]:
    return [Message(uuid4(), uuid4(), kind, queue, priority, 100 + number) for number in range(count)]


def _apply_async(app: Celery, connection: Connection, messages: Sequence[Message]) -> None:
    """Publish the plain way, one by one."""
    for one in messages:
        app.tasks[f"automation.{one.kind}"].apply_async(
            args=(str(one.org_id), str(one.task_id)),
            task_id=str(one.task_id),
            connection=connection,
            queue=one.queue,
            priority=one.priority,
            soft_time_limit=one.timeout_seconds,
            time_limit=one.timeout_seconds + GRACE_SECONDS,
        )


def _lists(url: str) -> dict[str, list[dict[str, Any]]]:
    """Return all lists of the broker, oldest message first, without what differs from message to message."""
    with redis.Redis.from_url(url, decode_responses=True) as client:
        keys = sorted(key for key in client.scan_iter() if client.type(key) == "list")
        return {key: [_without_tag(one) for one in reversed(client.lrange(key, 0, -1))] for key in keys}


def _without_tag(raw: str) -> dict[str, Any]:
    message: dict[str, Any] = json.loads(raw)
    assert message["properties"].pop("delivery_tag")
    return message


def _both_ways(app: Celery, connection: Connection, url: str, messages: Sequence[Message]) -> dict[str, Any]:
    """Assert that both ways fill the broker with the same; returns that."""
    _apply_async(app, connection, messages)
    with redis.Redis.from_url(url) as client:
        plain = _lists(url)
        client.flushall()
    assert publish(connection, messages) == []
    assert _lists(url) == plain
    return plain


@pytest.mark.parametrize("prefix", ["", "one:"])
def test_a_batch_brings_what_apply_async_sends_to_the_same_lists(
    celery: Celery, broker: Valkey, monkeypatch: pytest.MonkeyPatch, prefix: str
) -> None:
    _use_prefix(celery, monkeypatch, prefix)
    messages = [one for priority in (0, 2, 3, 9) for one in _some(2, priority=priority)]
    messages += _some(2, "maintenance", kind="maintain")
    with celery.connection_for_write() as connection:
        found = _both_ways(celery, connection, broker.url, messages)
    keys = ["maintenance\x06\x163", "rules", "rules\x06\x163", "rules\x06\x169"]
    assert {key: len(found[key]) for key in found} == dict(
        zip([prefix + key for key in keys], (2, 4, 2, 2), strict=True)
    )
    [first, *_] = found[f"{prefix}rules"]
    assert first["headers"]["timelimit"] == [110, 100]
    assert first["headers"]["argsrepr"] == f"('{messages[0].org_id}', '{messages[0].task_id}')"


def test_a_message_sent_by_a_task_names_the_task(celery: Celery, connection: Connection, broker: Valkey) -> None:
    task = celery.tasks["automation.maintain"]
    task.push_request(id="this", root_id="first", called_directly=False)
    _task_stack.push(task)
    try:
        found = _both_ways(celery, connection, broker.url, _some(1))
    finally:
        _task_stack.pop()
        task.pop_request()
    [message] = found["rules\x06\x163"]
    assert (message["headers"]["root_id"], message["headers"]["parent_id"]) == ("first", "this")


def test_a_socket_takes_batches_as_a_port_does(celery: Celery, tmp_path: Path) -> None:
    with _socket(tmp_path) as path, Connection(f"redis+socket://{path}") as connection:  # type: ignore[no-untyped-call]
        found = _both_ways(celery, connection, f"unix://{path}", _some(3))
    assert sum(map(len, found.values())) == 3


@contextmanager
def _socket(directory: Path) -> Iterator[str]:
    path = str(directory / "valkey.sock")
    with (directory / "log").open("wb") as log:
        command = [str(valkey_program()), "--port", "0", "--unixsocket", path, "--save", "", "--dir", str(directory)]
        server = spawn(command, output=log)
    try:
        assert wait_until(lambda: has_ended(server) or (directory / "valkey.sock").exists(), 20)
        yield path
    finally:
        stop(server, DIE, 5)


def test_more_than_a_batch_arrives_once_and_in_order(connection: Connection, broker: Valkey) -> None:
    messages = _some(2 * BATCH + 3)
    assert publish(connection, messages) == []
    [arrived] = _lists(broker.url).values()
    assert [one["headers"]["id"] for one in arrived] == [str(one.task_id) for one in messages]


def test_the_batch_that_fails_and_all_after_it_are_not_taken(
    connection: Connection, broker: Valkey, caplog: pytest.LogCaptureFixture
) -> None:
    taken, failing, after = _some(BATCH), _some(BATCH, "ingest"), _some(1)
    assert publish(connection, _some(1, "ingest")) == []  # from now on the queue is declared
    with redis.Redis.from_url(broker.url) as client:
        client.set("ingest\x06\x163", "no list")
    assert publish(connection, [*taken, *failing, *after]) == [*failing, *after]
    assert [len(found) for found in _lists(broker.url).values()] == [BATCH]
    assert f"took {BATCH} of {2 * BATCH + 1} messages" in caplog.text
    assert "WRONGTYPE" in caplog.text


@pytest.mark.parametrize("used", [False, True], ids=["on a new connection", "on one that has published"])
def test_a_full_broker_takes_nothing(
    connection: Connection, broker: Valkey, caplog: pytest.LogCaptureFixture, *, used: bool
) -> None:
    messages = _some(3)
    assert publish(connection, _some(used)) == []
    with redis.Redis.from_url(broker.url) as client:
        client.config_set("maxmemory", "1")
        try:
            assert publish(connection, messages) == messages
        finally:
            client.config_set("maxmemory", "0")
    assert "OOM" in caplog.text or "maxmemory" in caplog.text
    assert publish(connection, messages) == []


@pytest.mark.parametrize(("kind", "queue"), [("evaluate_rules", "typo"), ("typo", "rules")])
def test_a_queue_or_a_kind_that_does_not_exist_stops_everything(
    connection: Connection, broker: Valkey, kind: str, queue: str
) -> None:
    wrong = _some(1, queue, kind=kind)
    with pytest.raises((QueueNotFound, KeyError), match="typo"):
        publish(connection, [*_some(1), *wrong])
    assert _lists(broker.url) == {}


def test_the_events_of_a_batch_are_those_of_apply_async_in_one_message(
    celery: Celery, connection: Connection, broker: Valkey, monkeypatch: pytest.MonkeyPatch
) -> None:
    messages = _some(3)
    with redis.Redis.from_url(broker.url) as client, client.pubsub() as events:
        events.psubscribe("*")
        assert events.get_message(timeout=5)
        _apply_async(celery, connection, messages)
        plain = [_event(events) for _ in messages]
        publish(connection, messages)
        batched = _event(events)
        monkeypatch.setitem(celery.conf, "task_send_sent_event", value=False)
        publish(connection, messages)
        assert events.get_message(timeout=0.2) is None
    assert [one.pop("clock") for one in plain] < [one.pop("clock") for one in batched]
    assert all(one["timestamp"] <= other["timestamp"] for one, other in pairwise(plain + batched))
    assert [one | {"timestamp": 0} for one in batched] == [one | {"timestamp": 0} for one in plain]
    assert batched[0]["type"] == "task-sent"


def _event(events: redis.client.PubSub) -> Any:
    message = events.get_message(timeout=5)
    assert message is not None
    return json.loads(_decoded(json.loads(message["data"])))


def _decoded(message: dict[str, Any]) -> bytes:
    assert message["properties"]["body_encoding"] == "base64"
    return b64decode(message["body"])


@pytest.mark.parametrize("prefix", ["", "one:"])
@pytest.mark.usefixtures("broker")
def test_the_depth_counts_all_priorities_of_each_queue(
    celery: Celery, monkeypatch: pytest.MonkeyPatch, prefix: str
) -> None:
    _use_prefix(celery, monkeypatch, prefix)
    messages = [one for priority in (0, 3, 6, 9) for one in _some(2, priority=priority)]
    with celery.connection_for_write() as connection:
        publish(connection, [*messages, *_some(1, "ingest")])
        assert depth.waiting(connection, ["rules", "actions", "ingest"]) == {"rules": 8, "actions": 0, "ingest": 1}
        assert depth.waiting(connection, []) == {}


def test_rabbitmq_gets_them_one_by_one_and_counts_them(rabbit: tuple[Connection, str]) -> None:
    connection, queue = rabbit
    messages = _some(3, queue)
    assert publish(connection, messages) == []
    waiting = {"no-such-queue": 0, queue: 3, "nor-this": 0}
    assert wait_until(lambda: depth.waiting(connection, list(waiting)) == waiting, 5)
    get = connection.default_channel.basic_get
    arrived = [get(queue, no_ack=True) for _ in messages]  # type: ignore[no-untyped-call]
    assert [one.headers["id"] for one in arrived] == [str(one.task_id) for one in messages]
    assert [one.headers["timelimit"] for one in arrived] == [[110 + number, 100 + number] for number in range(3)]
    assert {one.properties["priority"] for one in arrived} == {3}


def test_a_rabbitmq_that_goes_away_took_nothing(rabbit: tuple[Connection, str]) -> None:
    connection, queue = rabbit
    messages = _some(2, queue)
    with Connection("amqp://guest:guest@127.0.0.1:1//", connect_timeout=1) as nobody:  # type: ignore[no-untyped-call]
        assert publish(nobody, messages) == messages
    assert depth.waiting(connection, [queue]) == {queue: 0}
