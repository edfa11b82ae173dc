from __future__ import annotations

import json
from decimal import Decimal
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.ids import uuid_of
from core.written import Written, lines, to_json
from engine.rules.document import json_number
from engine.rules.trace_text import number_text

if TYPE_CHECKING:
    from uuid import UUID


@pytest.mark.parametrize("beside", [1, 2**70])  # the second is more than orjson can write
def test_what_is_written_stands_in_the_document_as_it_is(beside: int) -> None:
    document = {"trace": Written('{"all":[1.50,"ü"]}'), "beside": beside}
    assert json.loads(to_json(document)) == {"trace": {"all": [1.5, "ü"]}, "beside": beside}


@given(st.lists(st.dictionaries(st.text(), st.text() | st.integers()), min_size=1))
def test_each_document_is_one_line_whatever_it_holds(documents: list[dict[str, object]]) -> None:
    assert [json.loads(line) for line in lines(documents).split("\n")] == documents


@given(st.decimals(allow_nan=False, allow_infinity=False))
def test_a_number_is_written_as_the_one_that_json_has(value: Decimal) -> None:
    read, expected = json.loads(number_text(value)), json_number(value)
    assert read == expected
    assert type(read) is type(expected)


@pytest.mark.parametrize(("value", "text"), [("42.0000", "42"), ("386.5300", "386.53"), ("-70", "-70"), ("0E+5", "0")])
def test_a_number_is_written_without_what_says_nothing(value: str, text: str) -> None:
    assert number_text(Decimal(value)) == text


@given(st.uuids())
def test_an_id_is_read_as_it_was_written(value: UUID) -> None:
    assert uuid_of(str(value)) == value
    assert hash(uuid_of(str(value))) == hash(value)


@pytest.mark.parametrize("text", ["", "7", "019ca843-0000-7000-8000-00000000000", "x" * 36])
def test_what_is_no_id_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"not an id|invalid literal"):
        uuid_of(text)
