"""The judge notices what is missing, doubled or under a wrong key. No process runs, and no fault happens."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING
from uuid import UUID

import pytest

from chaos import stage, verdict
from chaos.arena import Arena, arena
from chaos.load import Asked, Load
from chaos.scenario import Scenario
from engine.run_now import queue_rule
from tests.receiver.web import Request

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from chaos.load import Kind
    from dev.provider import Servers

pytestmark = pytest.mark.slow

GONE = UUID(int=1)


@pytest.fixture
def place(server: Servers, tmp_path: Path) -> Iterator[Arena]:
    """Give the test an arena with its orgs, in which nothing was asked for yet."""
    quiet = Scenario("C99", "nothing", 1, lambda _: None)
    with arena(server, quiet, seconds=1, seed=1, logs=tmp_path) as made:
        made.stages = stage.make(made.world, made.receiver.url)
        made.load = Load(made.world, made.stages, 1, 1.0)
        yield made


def ask(place: Arena, kind: Kind, key: str) -> None:
    place.load.asked.append(Asked(len(place.load.asked), kind, place.stages[0].org.id, key, sure=True))


def evaluate(place: Arena) -> str:
    """Run the rule that adds 1 to the budget, as the load asks for it and a worker does it; returns its execution."""
    first = place.stages[0]
    queued = queue_rule(place.world.app, first.context, first.raising)
    place.world.run(first.org.id, queued.task_id)
    return str(queued.execution_id)


def came(path: str, key: str, n: int) -> Request:
    return Request("POST", path, "", {"idempotency-key": key}, json.dumps({"n": n}).encode())


def test_what_was_asked_for_and_done_is_right(place: Arena) -> None:
    ask(place, "run", evaluate(place))
    assert [*verdict._lost(place), *verdict._miscounted(place)] == []


@pytest.mark.parametrize("kind", ["job", "run", "event", "workflow"])
def test_what_left_no_row_is_lost(place: Arena, kind: Kind) -> None:
    ask(place, kind, str(GONE))
    assert [*verdict._lost(place)] == [f"{kind} 0 ({GONE}): nothing"]


def test_a_run_that_nobody_asked_for_is_told_unless_its_answer_may_have_been_lost(place: Arena) -> None:
    evaluate(place)
    assert [*verdict._lost(place)] == ["1 manual runs that nobody asked for, 0 were asked for again"]
    place.load.repeated["run"] += 1
    assert [*verdict._lost(place)] == []


def test_an_effect_that_came_twice_is_seen_in_the_budget(place: Arena) -> None:
    ask(place, "run", evaluate(place))
    first = place.stages[0]
    place.world.meddle("UPDATE cmis.campaigns SET budget = budget + 1 WHERE campaign_id = %(id)s", id=first.campaign_id)
    assert [*verdict._miscounted(place)] == [f"org {first.org.id}: 2.00 after 1 evaluations"]


def test_what_never_reached_the_receiver_or_under_two_keys_is_told(place: Arena) -> None:
    ask(place, "workflow", "instance")
    assert [*verdict._misdelivered(place)] == [
        "workflow 0 reached /hook under 0 keys",
        "workflow 0 reached /post under 0 keys",
    ]
    place.receiver.log += [came("/post", "one", 0), came("/post", "another", 0)]
    said = [*verdict._misdelivered(place)]
    assert "workflow 0 reached /post under 2 keys" in said
    assert {"unknown key one", "unknown key another"} <= {*said}


def test_open_work_is_told_until_it_is_done(place: Arena) -> None:
    first = place.stages[0]
    queued = queue_rule(place.world.app, first.context, first.raising)
    [said] = verdict.open_work(place)
    assert f"{queued.task_id} is ready" in said
    place.world.run(first.org.id, queued.task_id)
    assert verdict.open_work(place) == []
