"""Secrets at rest: what opens where, and what an error shows."""

from __future__ import annotations

import base64
from uuid import UUID, uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.errors import PermanentError, SetupError
from engine.secrets.sealing import Keys, Sealed

ORG, OTHER = uuid4(), uuid4()
KEY = base64.b64encode(bytes(range(32))).decode()
NEW = base64.b64encode(bytes(range(1, 33))).decode()


@given(st.uuids(), st.from_regex(r"[a-z][a-z0-9_-]{0,20}", fullmatch=True), st.text(min_size=1, max_size=500))
def test_what_is_sealed_opens_where_it_belongs(org_id: UUID, name: str, value: str) -> None:
    keys = Keys.parse(f"a={KEY}")
    sealed = keys.seal(org_id, name, value)
    assert keys.open(org_id, name, sealed) == value
    assert value.encode() not in sealed.ciphertext or len(value) < 4


def test_a_value_opens_for_no_other_org_and_no_other_name() -> None:
    keys = Keys.parse(f"a={KEY}")
    sealed = keys.seal(ORG, "token", "hush-hush")
    for org_id, name in ((OTHER, "token"), (ORG, "token2"), (ORG, "toke")):
        with pytest.raises(PermanentError, match="does not open") as caught:
            keys.open(org_id, name, sealed)
        assert "hush" not in str(caught.value)


def test_a_value_that_was_changed_does_not_open() -> None:
    keys = Keys.parse(f"a={KEY}")
    sealed = keys.seal(ORG, "token", "hush-hush")
    flipped = bytes([sealed.ciphertext[0] ^ 1]) + sealed.ciphertext[1:]
    with pytest.raises(PermanentError, match="does not open"):
        keys.open(ORG, "token", Sealed(sealed.key_id, sealed.nonce, flipped))


def test_the_first_key_seals_and_all_open() -> None:
    old = Keys.parse(f"a={KEY}").seal(ORG, "token", "hush-hush")
    both = Keys.parse(f"b={NEW},a={KEY}")
    assert both.open(ORG, "token", old) == "hush-hush"
    assert both.seal(ORG, "token", "hush-hush").key_id == "b"
    with pytest.raises(SetupError, match="the key a of secret token is not among CMIS_SECRET_KEYS"):
        Keys.parse(f"b={NEW}").open(ORG, "token", old)


@pytest.mark.parametrize(
    "text", ["", None, KEY, "a=", "a=dG9vIHNob3J0", f"a={KEY},a={NEW}", f"a={KEY},", "a=kein base64 hush", f"a b={KEY}"]
)
def test_keys_that_are_none_are_refused_without_showing_them(text: str | None) -> None:
    with pytest.raises(SetupError) as caught:
        Keys.parse(text)
    assert "CMIS_SECRET_KEYS" in str(caught.value)
    assert all(hidden not in str(caught.value) for hidden in ("hush", "dG9v", KEY))


def test_keys_show_nothing_of_themselves() -> None:
    assert KEY not in repr(Keys.parse(f"a={KEY}"))
