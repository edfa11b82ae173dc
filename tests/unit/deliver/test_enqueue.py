from __future__ import annotations

from datetime import UTC, datetime
from uuid import UUID

from hypothesis import given
from hypothesis import strategies as st

from core.ids import uuid7
from engine.actions.base import Effect, EffectStatus
from engine.deliver.enqueue import MAX_TOGETHER, TOGETHER, carried
from models.enums import Channel

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)


def effect(
    channel: Channel | None,
    *,
    run: int = 1,
    position: int = 0,
    status: EffectStatus = "queued",
    to: str = "https://hooks.test/a",
) -> Effect:
    ids = uuid7(NOW), UUID(int=run), UUID(int=2)
    after = {"url": to, "text": str(ids[0])}
    return Effect(*ids, position, "notify", {}, uuid7(NOW), {}, after, status, channel=channel)


def test_what_people_read_goes_out_together_and_the_rest_alone() -> None:
    effects = [effect(channel) for channel in Channel for _ in range(3)]
    sizes = sorted(len(parcel.action_ids) for parcel in carried(effects, now=NOW))
    assert sizes == [1] * 3 * (len(Channel) - len(TOGETHER)) + [3] * len(TOGETHER)


def test_another_run_or_place_is_another_message() -> None:
    effects = [effect(Channel.SLACK), effect(Channel.SLACK, run=2), effect(Channel.SLACK, position=1)]
    assert [len(parcel.action_ids) for parcel in carried(effects, now=NOW)] == [1, 1, 1]


def test_another_address_is_another_message() -> None:
    effects = [effect(Channel.SLACK), effect(Channel.SLACK, to="https://hooks.test/b"), effect(Channel.SLACK)]
    assert sorted(len(parcel.action_ids) for parcel in carried(effects, now=NOW)) == [1, 2]


def test_a_message_names_a_hundred_campaigns_at_most() -> None:
    parcels = carried([effect(Channel.EMAIL) for _ in range(2 * MAX_TOGETHER + 1)], now=NOW)
    assert [len(parcel.action_ids) for parcel in parcels] == [MAX_TOGETHER, MAX_TOGETHER, 1]


def test_only_what_is_queued_for_outside_is_carried() -> None:
    others: list[EffectStatus] = ["succeeded", "held", "failed", "discarded"]
    effects = [effect(Channel.WEBHOOK, status=status) for status in others]
    assert carried([*effects, effect(None)], now=NOW) == []


@given(st.lists(st.tuples(st.sampled_from(list(Channel)), st.integers(1, 3), st.integers(0, 2)), max_size=250))
def test_each_is_carried_once(given_: list[tuple[Channel, int, int]]) -> None:
    effects = [effect(channel, run=run, position=position) for channel, run, position in given_]
    ids = [action_id for parcel in carried(effects, now=NOW) for action_id in parcel.action_ids]
    assert sorted(ids) == sorted(one.action_id for one in effects)
