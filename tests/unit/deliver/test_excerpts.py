"""Excerpts of answers: short, printable, and without what the message holds in confidence."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from engine.deliver.couriers.excerpts import LONGEST, MASK, excerpt, of_headers, of_url
from engine.egress.response import Response

SECRET = "kV9-longish+secret/value"  # noqa: S105 - of this test


def answered(body: bytes, *, truncated: bool = False, **headers: str) -> Response:
    return Response(500, {name.replace("_", "-"): value for name, value in headers.items()}, body, truncated=truncated)


def test_an_answer_is_shortened_and_printable() -> None:
    said = excerpt(answered(b"one\r\ntwo\x00\x1b[31m\xff three " + b"x" * 1_000), [])
    assert said.startswith("one two [31m� three xxx")
    assert len(said) == LONGEST
    assert said.isprintable()


def test_a_secret_is_masked_before_anything_is_cut_off() -> None:
    body = b"x" * 490 + SECRET.encode()
    assert excerpt(answered(body), [SECRET]) == "x" * 490 + MASK


def test_a_secret_is_masked_in_the_spellings_that_answers_have() -> None:
    body = "kV9-longish+secret/value kV9-longish+secret\\/value kV9-longish%2Bsecret%2Fvalue"
    assert excerpt(answered(body.encode()), [SECRET]) == f"{MASK} {MASK} {MASK}"


def test_a_secret_that_the_limit_of_the_answer_cuts_in_two_is_not_shown() -> None:
    whole = SECRET.encode() * 3 + SECRET[:20].encode()
    assert SECRET[:20] in excerpt(answered(whole), [SECRET])  # nothing was cut off: it is another text
    assert excerpt(answered(whole, truncated=True), [SECRET]) == MASK * 3


def test_an_answer_that_is_packed_says_nothing() -> None:
    assert excerpt(answered(b"\x1f\x8b...", content_encoding="gzip"), []) == ""


def test_the_parts_of_a_url_and_of_headers_are_confidential() -> None:
    url = "https://hooks.example.com/services/T0000000/B1111111/XXXXXXXX?token=tok-123456"
    body = b"T0000000 no: /services/T0000000/B1111111/XXXXXXXX, XXXXXXXX, tok-123456, hooks.example.com, abcdef123"
    said = excerpt(answered(body), [*of_url(url), *of_headers({"authorization": "Bearer abcdef123"})])
    assert said == "*** no: ***, ***, ***, hooks.example.com, ***"


@given(st.text(), st.integers(0, 60), st.text(min_size=12), st.booleans())
def test_no_answer_repeats_a_secret(around: str, at: int, secret: str, truncated: bool) -> None:  # noqa: FBT001
    body = (around[:at] + secret + around[at:]).encode(errors="replace")
    said = excerpt(answered(body, truncated=truncated), [secret.encode(errors="replace").decode()])
    assert len(said) <= LONGEST
    shown = secret.encode(errors="replace").decode()
    assert shown not in said or shown in MASK * len(shown)
