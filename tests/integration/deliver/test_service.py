"""A delivery from its message to its result, against a receiver on a real socket."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

import pytest
from standardwebhooks import Webhook

from core.db import ENGINE_ACTOR, Context
from engine import rescue
from engine.deliver.admission import Waits
from engine.deliver.beginning import Begun, Done, NotClaimed, begin
from engine.deliver.breaker import FAILURES
from engine.deliver.outcome import MAX_ATTEMPTS, Again, Discarded, Doubtful, Failed, Succeeded
from engine.deliver.results import Ending, write
from engine.lease import LostClaimError
from engine.store import destinations
from engine.store.tasks import LEASE_SECONDS
from tests.posting import SIGNING, Desk, post_of, settings

OTHER_KEYS = "other=AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="

if TYPE_CHECKING:
    from uuid import UUID

    from engine.deliver import service
    from tests.receiver.web import Receiver
    from tests.world import Org, World


def outcome_of(result: service.Result) -> object:
    assert isinstance(result, Done), result
    return result.outcome


def test_a_delivery_is_called_once_signed_and_on_record(world: World, desk: Desk, receiver: Receiver) -> None:
    task_id = desk.webhook(f"{receiver.url}/hook", {"n": 1})

    assert outcome_of(desk.run(task_id)) == Succeeded()

    [request] = receiver.requests("/hook")
    effect = desk.effect(task_id)
    assert request.headers["webhook-id"] == request.headers["idempotency-key"] == effect.idempotency_key
    assert Webhook(SIGNING).verify(request.body, dict(request.headers)) == {"n": 1}
    assert (effect.status, effect.attempts, effect.error) == ("succeeded", 1, None)
    assert effect.response == {"attempt": 1, "status": 200, "said": "ok"}
    assert (world.task(task_id).state, desk.told(task_id)) == ("succeeded", ["action_taken"])
    assert isinstance(desk.run(task_id), NotClaimed)
    assert len(receiver.requests("/hook")) == 1


def test_what_the_receiver_refuses_fails_at_once(world: World, desk: Desk, receiver: Receiver) -> None:
    task_id = desk.webhook(f"{receiver.url}/fails/400")

    assert isinstance(outcome_of(desk.run(task_id)), Failed)

    effect = desk.effect(task_id)
    assert (effect.status, effect.error["code"], effect.response["status"]) == ("failed", "FAILED", 400)
    assert (world.task(task_id).state, desk.told(task_id)) == ("failed", ["action_failed"])


def test_what_fails_is_tried_again_under_one_key_until_its_attempts_are_used_up(
    world: World, org: Org, receiver: Receiver
) -> None:
    desk = Desk(org)
    task_id = desk.slack(f"{receiver.url}/fails/500", "look")
    for attempt in range(1, MAX_ATTEMPTS):
        result = desk.run(task_id)
        while isinstance(result, Waits):
            desk.wait_until(task_id)
            result = desk.run(task_id)
        again = outcome_of(result)
        assert isinstance(again, Again)
        effect = desk.effect(task_id)
        assert (effect.status, effect.attempts, effect.waits_for) == ("queued", attempt, "its next attempt")
        desk.wait_until(task_id)
    result = desk.run(task_id)
    while isinstance(result, Waits):
        desk.wait_until(task_id)
        result = desk.run(task_id)

    assert isinstance(outcome_of(result), Discarded)
    effect = desk.effect(task_id)
    assert (effect.status, effect.attempts, world.task(task_id).state) == ("discarded", MAX_ATTEMPTS, "failed")
    assert desk.told(task_id) == ["action_discarded"]
    assert len(receiver.requests("/fails/500")) == MAX_ATTEMPTS


def test_retry_after_is_honoured_by_all_that_go_there(world: World, desk: Desk, receiver: Receiver) -> None:
    first, second = desk.webhook(f"{receiver.url}/busy/70"), desk.webhook(f"{receiver.url}/hook")
    before = world.now()

    again = outcome_of(desk.run(first))
    waits = desk.run(second)

    assert isinstance(again, Again)
    assert again.after >= timedelta(seconds=70)
    assert isinstance(waits, Waits)
    assert "asked to be left alone" in waits.reason
    assert world.task(second).run_at >= before + timedelta(seconds=70)
    assert (world.task(second).attempt, world.task(second).state) == (0, "ready")
    assert desk.effect(second).waits_for == waits.reason
    assert receiver.requests("/hook") == []


def test_a_destination_that_fails_is_left_alone_and_then_tried_by_one(
    world: World, desk: Desk, receiver: Receiver
) -> None:
    failing = [desk.webhook(f"{receiver.url}/fails/503") for _ in range(FAILURES)]
    good = [desk.webhook(f"{receiver.url}/hook") for _ in range(2)]
    for task_id in failing:
        assert isinstance(outcome_of(desk.run(task_id)), Again)
    assert desk.destination().state == "open"

    waits = desk.run(good[0])

    assert isinstance(waits, Waits)
    assert "is down until" in waits.reason
    world.advance(minutes=2)
    begun = begin(world.app, desk.org.id, good[0], "worker", desk.post)
    assert isinstance(begun, Begun)
    assert desk.destination().state == "half_open"
    behind = desk.run(good[1])
    assert isinstance(behind, Waits)
    assert "tries whether it is back" in behind.reason
    lose(world, good[0])
    world.advance(minutes=2)
    assert outcome_of(desk.run(good[0])) == Succeeded()
    assert desk.destination().state == "closed"
    assert outcome_of(desk.run(good[1])) == Succeeded()
    changes = world.rows(
        "SELECT action FROM cmis.automation_audit_log WHERE action LIKE 'destination%' ORDER BY created_at"
    )
    assert [action for (action,) in changes] == ["destination_opened", "destination_closed"]


def test_another_orgs_trouble_with_a_destination_is_its_own(world: World, desk: Desk, receiver: Receiver) -> None:
    for _ in range(FAILURES):
        desk.run(desk.webhook(f"{receiver.url}/fails/503"))
    other = Desk(world.org("other"))
    other.keep("signing", SIGNING)

    assert outcome_of(other.run(other.webhook(f"{receiver.url}/hook"))) == Succeeded()


def test_an_org_delivers_no_more_than_its_rate_and_each_waits_for_a_turn_of_its_own(
    world: World, org: Org, receiver: Receiver
) -> None:
    desk = Desk(org, post_of(settings(CMIS_ORG_DELIVERIES="6")))
    desk.keep("signing", SIGNING)
    tasks = [desk.webhook(f"{receiver.url}/hook") for _ in range(3)]

    results = [desk.run(task_id) for task_id in tasks]

    assert outcome_of(results[0]) == Succeeded()
    assert all(isinstance(result, Waits) and result.reserved for result in results[1:])
    assert "6 deliveries a minute" in desk.effect(tasks[1]).waits_for
    starts = [world.task(task_id).run_at for task_id in tasks[1:]]
    assert timedelta(seconds=9) < starts[1] - starts[0] < timedelta(seconds=11)
    desk.wait_until(tasks[1])
    assert outcome_of(desk.run(tasks[1])) == Succeeded()
    assert isinstance(desk.run(tasks[2]), NotClaimed)
    desk.wait_until(tasks[2])
    assert outcome_of(desk.run(tasks[2])) == Succeeded()


def test_a_rate_of_its_own_counts_before_the_deployments(world: World, desk: Desk, receiver: Receiver) -> None:
    with world.app.transaction(desk.org.context) as connection:
        destinations.set_limit(connection, desk.org.id, "org", 60, 1)
    first, second = desk.webhook(f"{receiver.url}/hook"), desk.webhook(f"{receiver.url}/hook")

    assert outcome_of(desk.run(first)) == Succeeded()
    assert isinstance(desk.run(second), Waits)


def lose(world: World, task_id: UUID) -> None:
    """Let a claim's worker be dead for longer than its lease, and the scheduler notice it."""
    world.meddle(
        "UPDATE cmis.tasks SET lease_expires_at = clock_timestamp() - interval '1 s' WHERE task_id = %(task_id)s",
        task_id=task_id,
    )
    assert rescue.reap(world.scheduler) == 1


def test_a_webhook_whose_worker_died_is_sent_again_under_the_same_key(
    world: World, desk: Desk, receiver: Receiver
) -> None:
    task_id = desk.webhook(f"{receiver.url}/hook")
    begun = begin(world.app, desk.org.id, task_id, "worker", desk.post)
    assert isinstance(begun, Begun)
    begun.courier.deliver(begun.sent.messages, key=begun.key, now=begun.now)
    lose(world, task_id)
    assert desk.effect(task_id).status == "unknown"

    assert outcome_of(desk.run(task_id)) == Succeeded()

    assert [request.key for request in receiver.requests("/hook")] == [desk.effect(task_id).idempotency_key] * 2
    assert receiver.effects[desk.effect(task_id).idempotency_key] == 1
    assert sorted(desk.told(task_id)) == ["action_resolved", "action_taken", "action_unknown"]


def test_a_message_whose_receiver_knows_no_key_is_left_to_a_person(
    world: World, desk: Desk, receiver: Receiver
) -> None:
    task_id = desk.slack(f"{receiver.url}/hook", "look")
    assert isinstance(begin(world.app, desk.org.id, task_id, "worker", desk.post), Begun)
    lose(world, task_id)

    assert isinstance(outcome_of(desk.run(task_id)), Doubtful)

    assert (desk.effect(task_id).status, world.task(task_id).state) == ("unknown", "failed")
    assert receiver.requests("/hook") == []


def test_a_worker_that_comes_too_late_with_its_result_writes_nothing(
    world: World, desk: Desk, receiver: Receiver
) -> None:
    task_id = desk.webhook(f"{receiver.url}/hook")
    late = begin(world.app, desk.org.id, task_id, "late", desk.post)
    assert isinstance(late, Begun)
    lose(world, task_id)
    receiver.script("/hook", "fails/400")
    assert isinstance(outcome_of(desk.run(task_id)), Failed)

    with pytest.raises(LostClaimError):
        finish_late(world, late)

    assert desk.effect(task_id).status == "failed"


def finish_late(world: World, late: Begun) -> None:
    with world.app.transaction(Context(late.claim.org_id, ENGINE_ACTOR)) as connection:
        write(connection, Ending(late.claim, late.rows, Succeeded(), late.way))


def test_one_message_of_many_effects_ends_them_all(org: Org, receiver: Receiver) -> None:
    desk = Desk(org)
    task_id = desk.slack(f"{receiver.url}/hook", "Spring is paused", "Summer is paused")

    assert outcome_of(desk.run(task_id)) == Succeeded()

    assert [effect.status for effect in desk.effects(task_id)] == ["succeeded", "succeeded"]
    [request] = receiver.requests("/hook")
    assert b"Spring is paused" in request.body
    assert b"Summer is paused" in request.body


def test_a_secret_that_is_not_there_fails_the_delivery_and_names_the_remedy(desk: Desk, receiver: Receiver) -> None:
    task_id = desk.webhook(f"{receiver.url}/hook", signing_secret="secret://nowhere")  # noqa: S106 - a reference

    assert isinstance(outcome_of(desk.run(task_id)), Failed)
    assert "cmis secrets set nowhere" in desk.effect(task_id).error["message"]
    assert receiver.requests("/hook") == []


def test_without_the_key_of_its_secrets_a_delivery_waits_for_the_operator(org: Org, receiver: Receiver) -> None:
    desk = Desk(org, post_of(settings(CMIS_SECRET_KEYS=OTHER_KEYS)))
    desk.keep("signing", SIGNING)
    task_id = desk.webhook(f"{receiver.url}/hook")

    assert isinstance(outcome_of(desk.run(task_id)), Again)
    assert "CMIS_SECRET_KEYS" in desk.effect(task_id).error["message"]


def test_what_a_receiver_repeats_of_a_secret_is_stored_nowhere(world: World, desk: Desk, receiver: Receiver) -> None:
    desk.keep("token", "canary-4711-canary")
    headers = {"Authorization": "Bearer secret://token"}
    task_id = desk.webhook(f"{receiver.url}/echoes/200", {"mine": "secret://token"}, headers=headers)

    assert outcome_of(desk.run(task_id)) == Succeeded()

    [request] = receiver.requests("/echoes/200")
    assert request.headers["authorization"] == "Bearer canary-4711-canary"
    stored = world.one("SELECT string_agg(a::text, '') FROM cmis.automation_actions a")
    assert "canary" not in stored
    assert "***" in stored


def test_a_delivery_that_has_waited_for_a_day_is_given_up(world: World, desk: Desk, receiver: Receiver) -> None:
    for _ in range(FAILURES):
        desk.run(desk.webhook(f"{receiver.url}/fails/503"))
    task_id = desk.webhook(f"{receiver.url}/hook")
    assert isinstance(desk.run(task_id), Waits)
    world.meddle("UPDATE cmis.destinations SET not_before = cmis.clock() + interval '3 days'")
    world.advance(hours=23, minutes=59, seconds=50)

    assert isinstance(outcome_of(desk.run(task_id)), Discarded)
    assert desk.effect(task_id).status == "discarded"


def test_an_address_that_is_not_public_is_refused(org: Org, receiver: Receiver) -> None:
    desk = Desk(org, post_of(settings(CMIS_EGRESS_ALLOW="")))
    desk.keep("signing", SIGNING)
    task_id = desk.webhook(f"{receiver.url}/hook")

    assert isinstance(outcome_of(desk.run(task_id)), Failed)
    assert receiver.requests("/hook") == []


def tokens(world: World) -> float:
    return float(world.one("SELECT tokens FROM cmis.token_buckets WHERE bucket = 'org'"))


def test_a_turn_is_kept_while_its_destination_is_down_and_makes_one_attempt_only(
    world: World, org: Org, receiver: Receiver
) -> None:
    desk = Desk(org, post_of(settings(CMIS_ORG_DELIVERIES="6")))
    desk.keep("signing", SIGNING)
    first, second = desk.webhook(f"{receiver.url}/fails/503"), desk.webhook(f"{receiver.url}/fails/503")
    assert isinstance(outcome_of(desk.run(first)), Again)
    assert isinstance(desk.run(second), Waits)
    left = tokens(world)
    world.meddle("UPDATE cmis.destinations SET state = 'open', not_before = cmis.clock() + interval '1 minute'")
    desk.wait_until(second)
    down = desk.run(second)
    assert isinstance(down, Waits)
    assert (down.reserved, tokens(world)) == (False, left)

    desk.wait_until(second)
    assert isinstance(outcome_of(desk.run(second)), Again)
    assert tokens(world) == left

    world.meddle("UPDATE cmis.destinations SET state = 'closed', not_before = NULL, failures = 0")
    world.meddle("UPDATE cmis.token_buckets SET tokens = 0, refilled_at = cmis.clock()")
    world.meddle("UPDATE cmis.tasks SET run_at = cmis.clock() WHERE task_id = %(id)s", id=second)
    waits = desk.run(second)
    assert isinstance(waits, Waits)
    assert waits.reserved


def test_what_is_in_doubt_keeps_its_turn_too(world: World, org: Org, receiver: Receiver) -> None:
    desk = Desk(org, post_of(settings(CMIS_ORG_DELIVERIES="6")))
    desk.keep("signing", SIGNING)
    task_id = desk.webhook(f"{receiver.url}/hook")
    assert isinstance(begin(world.app, org.id, task_id, "dying", desk.post), Begun)
    lose(world, task_id)
    world.meddle("UPDATE cmis.destinations SET in_flight = '{}'")
    assert isinstance(desk.run(task_id), Waits)

    desk.wait_until(task_id)

    assert outcome_of(desk.run(task_id)) == Succeeded()


def test_who_stood_still_for_longer_than_the_lease_calls_nobody(
    world: World, desk: Desk, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    task_id = desk.webhook(f"{receiver.url}/hook")
    times = iter([0.0])
    monkeypatch.setattr("engine.lease.monotonic", lambda: next(times, LEASE_SECONDS + 1.0))
    assert desk.run(task_id) == NotClaimed()
    assert receiver.requests("/hook") == []
    assert world.task(task_id).state == "running", "its lease is the reaper's"
