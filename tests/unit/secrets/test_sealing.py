"""Encryption of values: whose it is and what it is called are part of it, and no message shows a value or a key."""

from __future__ import annotations

import base64
from dataclasses import replace
from uuid import UUID, uuid4

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from core.config import Settings
from core.errors import PermanentError, SetupError
from dev.keys import new_keys
from engine.secrets.sealing import Keys

ORG = UUID(int=7)
KEY = base64.b64encode(bytes(range(32))).decode()
OTHER = base64.b64encode(bytes(range(32, 64))).decode()
VALUE = "s3cr3t value"


def keys(text: str | None) -> Keys:
    return Keys.load(Settings.load({} if text is None else {"CMIS_SECRET_KEYS": text}))


@given(st.text(), st.text(), st.text())
def test_what_was_sealed_opens_for_its_org_and_name_alone(value: str, name: str, other: str) -> None:
    assume(name != other)
    ring = keys(f"k={KEY}")
    sealed = ring.seal(ORG, name, value)
    assert ring.open(ORG, name, sealed).reveal() == value
    for org_id, called in ((ORG, other), (UUID(int=8), name)):
        with pytest.raises(PermanentError, match="does not open"):
            ring.open(org_id, called, sealed)


def test_the_same_value_is_never_the_same_twice() -> None:
    ring = keys(f"k={KEY}")
    sealed = [ring.seal(ORG, "name", VALUE) for _ in range(100)]
    assert len({one.nonce for one in sealed}) == len({one.ciphertext for one in sealed}) == 100
    assert {len(one.nonce) for one in sealed} == {12}
    assert not any(VALUE.encode() in one.ciphertext for one in sealed)


@pytest.mark.parametrize("place", [0, -1])
def test_a_value_that_was_changed_does_not_open(place: int) -> None:
    ring = keys(f"k={KEY}")
    sealed = ring.seal(ORG, "name", VALUE)
    changed = bytearray(sealed.ciphertext)
    changed[place] ^= 1
    with pytest.raises(PermanentError, match="`cmis secrets set name`") as refused:
        ring.open(ORG, "name", replace(sealed, ciphertext=bytes(changed)))
    assert VALUE not in str(refused.value)


def test_the_first_key_encrypts_and_all_decrypt() -> None:
    old = keys(f"old={KEY}").seal(ORG, "name", VALUE)
    both = keys(f" new={OTHER} , old={KEY} ")
    assert both.current == "new"
    assert both.seal(ORG, "name", VALUE).key_id == "new"
    assert both.open(ORG, "name", old).reveal() == VALUE
    with pytest.raises(
        SetupError, match=r"encrypted with the key 'old', which CMIS_SECRET_KEYS has not \(add that key"
    ):
        keys(f"new={OTHER}").open(ORG, "name", old)


@pytest.mark.parametrize("text", [None, "", "  "])
def test_without_a_key_the_first_use_says_what_to_do(text: str | None) -> None:
    ring = keys(text)
    sealed = keys(f"k={KEY}").seal(ORG, "name", VALUE)
    for use in (lambda: ring.current, lambda: ring.seal(ORG, "name", VALUE), lambda: ring.open(ORG, "name", sealed)):
        with pytest.raises(SetupError, match=r"CMIS_SECRET_KEYS is not set.*openssl rand -base64 32") as refused:
            use()
        assert VALUE not in str(refused.value)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (KEY, "entry 1 of CMIS_SECRET_KEYS does not begin with an id"),
        (KEY.rstrip("="), "entry 1 of CMIS_SECRET_KEYS does not begin with an id"),
        (f"k={KEY},{OTHER}", "entry 2 of CMIS_SECRET_KEYS does not begin with an id"),
        (f"k={KEY},", "entry 2 of CMIS_SECRET_KEYS does not begin with an id"),
        (f"{KEY}=k", "entry 1 of CMIS_SECRET_KEYS does not begin with an id"),
        (f"k={KEY[:-4]}", "the key of entry 1 of CMIS_SECRET_KEYS has 30 bytes, not 32"),
        (f"k=!{KEY[1:]}", "the key of entry 1 of CMIS_SECRET_KEYS is no base64"),
        (f"k=é{KEY[1:]}", "the key of entry 1 of CMIS_SECRET_KEYS is no base64"),
        (f"k={KEY},k={OTHER}", "CMIS_SECRET_KEYS has two keys of the id 'k'"),
    ],
)
def test_keys_that_cannot_be_read_are_told_by_their_place_and_not_shown(text: str, said: str) -> None:
    with pytest.raises(SetupError) as refused:
        keys(text)
    assert said in str(refused.value)
    assert not any(key[2:20] in str(refused.value) for key in (KEY, OTHER))


def test_neither_settings_nor_keys_show_a_key() -> None:
    settings = Settings.load({"CMIS_SECRET_KEYS": f"k={KEY}"})
    assert KEY not in f"{settings} {Keys.load(settings)}"


def test_a_key_of_a_run_on_this_machine_can_be_used() -> None:
    org_id, ring = uuid4(), keys(new_keys())
    assert ring.open(org_id, "name", ring.seal(org_id, "name", VALUE)).reveal() == VALUE
