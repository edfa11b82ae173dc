"""Whatever lies in the broker's lists, a worker drops and counts what makes no sense, lives, and does what does."""

from __future__ import annotations

import base64
import copy
import json
from typing import TYPE_CHECKING, Any

import pytest
import redis

from core.ids import uuid7
from dev.fleet import fleet
from dev.launch import wait_until
from engine.store.dispatch import Message
from tasks.publish import publish

if TYPE_CHECKING:
    from pathlib import Path

    from celery import Celery

    from dev.site import Site
    from dev.valkey import Valkey
    from tests.world import World

QUEUE = "rules"
HANDS = 2
"""Children of a worker of a fleet."""


def encoded(body: object) -> str:
    """Return a body as kombu puts it into its envelope."""
    return base64.b64encode(json.dumps(body).encode()).decode()


def headers(envelope: dict[str, Any], **changed: Any) -> dict[str, Any]:
    """Return an envelope with other headers."""
    made = copy.deepcopy(envelope)
    made["headers"] |= changed
    return made


def garbage(good: dict[str, Any]) -> list[bytes]:
    """Return what is no message, or one that makes no sense; the last is as long as any."""
    bare = [b"\xff\xfe\x00", b"no json", b"", b"7", b"[]", b"{}", b'{"body": 7, "properties": {}}', b"[" * 200_000]
    bare.append(b'{"__type__": "uuid", "__value__": "x"}')
    forged: list[dict[str, Any]] = [
        good | {"body": "not base64"},
        good | {"body": encoded(7)},
        good | {"body": encoded([["x"], {}, None])},
        good | {"body": encoded([["a", "b", "c"], {"d": 1}, {}])},
        good | {"body": encoded([[{"a": 1}, [2]], {}, {}])},
        good | {"content-type": "application/x-python-serialize"},
        good | {"content-encoding": "klingon"},
        good | {"properties": {}},
        good | {"properties": good["properties"] | {"delivery_tag": {"a": 1}}},
        good | {"headers": None},
        good | {"headers": {}},
        good | {"headers": [1]},
        headers(good, task=["unhashable"]),
        headers(good, task=None),
        headers(good, task="automation.unknown"),
        headers(good, task="automation.unknown", id=None),
        headers(good, timelimit="x"),
        headers(good, timelimit=[5, "a"]),
        # those that meet no free hand wait, and are looked at later, in the loop
        *(headers(good, timelimit="x", id=f"another-{number}") for number in range(2 * HANDS)),
        headers(good, timelimit=["a", {}]),
        headers(good, eta="yesterday"),
        headers(good, expires={"a": 1}),
        headers(good, compression="application/x-none"),
        headers(good, id=["x"]),
        good | {"body": "A" * (3 << 20)},
    ]
    return bare + [json.dumps(one).encode() for one in forged]


@pytest.mark.exhaustive
def test_a_worker_outlives_all_garbage_counts_it_and_goes_on(
    world: World, database: Site, celery: Celery, broker: Valkey, tmp_path: Path
) -> None:
    org = world.org()
    org.campaign()
    with celery.connection_for_write() as connection:
        publish(connection, [Message(org.id, uuid7(world.now()), "evaluate_rules", QUEUE, 0, 300)])
    with redis.Redis.from_url(broker.url) as client:
        [key] = client.keys(f"{QUEUE}*")
        template = json.loads(client.lpop(key) or b"null")
        for one in garbage(template):
            client.lpush(QUEUE, one)
    with redis.Redis.from_url(broker.url) as client, fleet(1, 1, database.full_env(), tmp_path) as running:
        [worker] = running.workers
        task_id = world.enqueue({org.id: [org.rule()]})
        assert wait_until(lambda: world.task(task_id).state == "succeeded", 60), worker.log.read_text()[-3000:]
        assert wait_until(lambda: client.llen(QUEUE) == 0, 60)
        assert worker.is_alive()
        counted = celery.control.inspect(timeout=10)._request("dropped")
    assert sum(next(iter(counted.values())).values()) >= 20, counted
