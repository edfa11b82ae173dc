"""What looks at a process mean: only six bad ones in a row end it, and never one that waits for a server."""

from __future__ import annotations

from typing import Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.process_enums import ProcessState
from vitals.liveness import LOOKS, Liveness, Seen

IDLE: Final = Seen(turned=True, took=False, free=True, waiting=0)
AT_WORK: Final = Seen(turned=True, took=True, free=True, waiting=900)
FULL: Final = Seen(turned=True, took=False, free=False, waiting=900)
DEAF: Final = Seen(turned=True, took=False, free=True, waiting=3)
HANGING: Final = Seen(turned=False, took=False, free=True, waiting=0)
AWAY: Final = Seen(turned=False, took=False, free=True, waiting=0, away="the broker is out of reach")
GOOD: Final = [IDLE, AT_WORK, FULL]
BAD: Final = [DEAF, HANGING]


@pytest.mark.parametrize("seen", GOOD)
def test_one_that_idles_works_or_has_its_hands_full_is_alive(seen: Seen) -> None:
    liveness = Liveness(10)
    for _ in range(2 * LOOKS):
        judgement = liveness.judge(seen)
        assert (judgement.state, judgement.reason, judgement.polled) == (ProcessState.WORKING, None, True)


@pytest.mark.parametrize(
    ("seen", "reason"),
    [(DEAF, "3 messages wait and it takes none, for 60 s now"), (HANGING, "its loop does not turn, for 60 s now")],
)
def test_the_sixth_bad_look_says_stuck_and_why(seen: Seen, reason: str) -> None:
    liveness = Liveness(10)
    judgements = [liveness.judge(seen) for _ in range(LOOKS)]
    assert [one.state for one in judgements] == [ProcessState.WORKING] * (LOOKS - 1) + [ProcessState.STUCK]
    assert judgements[-1].reason == reason
    assert not any(one.polled for one in judgements)


def test_one_whose_server_is_away_waits_however_long_that_takes() -> None:
    liveness = Liveness(10)
    assert {liveness.judge(AWAY).state for _ in range(100)} == {ProcessState.WAITING}


@given(st.lists(st.sampled_from([*GOOD, *BAD, AWAY]), max_size=40))
def test_stuck_is_said_exactly_after_six_bad_looks_in_a_row(looks: list[Seen]) -> None:
    liveness, bad = Liveness(1), 0
    for seen in looks:
        bad = bad + 1 if seen in BAD else 0
        assert (liveness.judge(seen).state is ProcessState.STUCK) == (bad >= LOOKS)
