"""Pauses grow, never pass their cap, and never agree; waiting ends when asked to."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.backoff import BROKER, DATABASE, PROCESS, Backoff, Pace, sleep, until_reached
from core.clock import monotonic
from core.refusals import is_refusal

PACES = st.sampled_from([DATABASE, BROKER, PROCESS])
QUICK = Pace(first=0.001, cap=0.002)


class AwayError(Exception):
    pass


@given(PACES, st.integers(1, 10_000))
def test_a_pause_lies_between_a_tenth_of_the_longest_and_the_longest_and_never_passes_the_cap(
    pace: Pace, failures: int
) -> None:
    shortest, longest = (pace.pause(failures, chance) for chance in (min, max))
    assert longest == pytest.approx(min(pace.cap, pace.first * 2 ** min(failures - 1, 60)))
    assert shortest == pytest.approx(longest / 10)
    assert shortest <= pace.pause(failures) <= longest


def test_failures_are_counted_until_it_works() -> None:
    backoff = Backoff(DATABASE)
    for _ in range(20):
        backoff.next()
    backoff.reset()
    assert backoff.next() <= DATABASE.first


def test_it_is_tried_until_it_works_and_each_failure_is_told() -> None:
    told: list[str] = []
    answers = iter([AwayError("one"), AwayError("two"), None])

    def attempt() -> str:
        if (answer := next(answers)) is not None:
            raise answer
        return "there"

    assert until_reached(attempt, AwayError, QUICK, say=lambda error, _pause: told.append(str(error))) == "there"
    assert told == ["one", "two"]


def test_after_the_time_allowed_the_last_failure_is_raised() -> None:
    def attempt() -> None:
        raise AwayError

    with pytest.raises(AwayError):
        until_reached(attempt, AwayError, QUICK, say=lambda *_: None, for_seconds=0.05)


def test_another_error_is_not_waited_for() -> None:
    def attempt() -> None:
        raise KeyError

    with pytest.raises(KeyError):
        until_reached(attempt, AwayError, QUICK, say=lambda *_: None)


def test_a_sleep_ends_when_asked_to() -> None:
    started = monotonic()
    sleep(600, lambda: True)
    assert monotonic() - started < 60


@pytest.mark.parametrize(
    "said",
    [
        'connection failed: FATAL:  password authentication failed for user "cmis_app"',
        'FATAL:  role "nobody" does not exist',
        'FATAL:  database "nowhere" does not exist',
        'FATAL:  no pg_hba.conf entry for host "10.0.0.1", user "cmis_app", database "cmis"',
        "fe_sendauth: no password supplied",
        'FATAL:  role "cmis_owner" is not permitted to log in',
        "SSL error: certificate verify failed",
    ],
)
def test_what_needs_a_person_is_a_refusal(said: str) -> None:
    assert is_refusal(said)


@pytest.mark.parametrize(
    "said",
    [
        'connection to server at "127.0.0.1", port 5432 failed: Connection refused',
        'connection to server on socket "/run/x/.s.PGSQL.5432" failed: No such file or directory',
        "FATAL:  the database system is starting up",
        "FATAL:  the database system is shutting down",
        "FATAL:  sorry, too many clients already",
        "connection timeout expired",
        "server closed the connection unexpectedly",
        "failed to resolve host 'database': [Errno -3] Temporary failure in name resolution",
    ],
)
def test_what_time_may_mend_is_none(said: str) -> None:
    assert not is_refusal(said)
