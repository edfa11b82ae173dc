"""The consumer when its connection is lost: whatever closing it raises, the worker goes on."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kombu.connection import Connection

from core.backoff import BROKER, Backoff
from tasks.broker import app
from worker.consumer import PatientConsumer

if TYPE_CHECKING:
    import pytest


def _connected() -> PatientConsumer:
    consumer = PatientConsumer.__new__(PatientConsumer)
    consumer.app, consumer.qos_global = app, False
    consumer._backoff, consumer._connected_at = Backoff(BROKER), float("-inf")
    consumer.connection = Connection("memory://")  # type: ignore[no-untyped-call]
    consumer.event_dispatcher = None
    return consumer


def test_what_happened_just_before_the_broker_was_lost_is_kept_for_the_next_connection() -> None:
    consumer = _connected()
    told = app.events.Dispatcher(Connection("memory://"), buffer_group=["task"])  # type: ignore[no-untyped-call]
    consumer.event_dispatcher = told

    def lost(*_: object, **__: object) -> None:
        raise ConnectionResetError

    told.producer.publish = lost
    told.send("task-received", uuid="one")
    consumer.on_connection_error_after_connected(ConnectionResetError("the broker is gone"))
    assert [[event["uuid"] for event in events] for events, _ in told._outbound_buffer] == [["one"]]


def test_a_connection_that_cannot_be_closed_ends_no_worker(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """As when the broker dies between a message's receipt and its acknowledgement."""
    consumer = _connected()

    def restoring() -> None:
        message = "'NoneType' object has no attribute 'hostname'"
        raise AttributeError(message)

    monkeypatch.setattr(consumer.connection, "close", restoring)
    consumer.on_connection_error_after_connected(ConnectionResetError("the broker is gone"))
    assert consumer.connection is None
    assert "could not be closed" in caplog.text
