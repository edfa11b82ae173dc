from __future__ import annotations

import io
import sys
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from types import SimpleNamespace
from typing import TYPE_CHECKING

import pytest

from cli.arguments import MAX_FILE, moment_at, parse_days, parse_id, parse_moment, read_json
from core.errors import InputError

if TYPE_CHECKING:
    from pathlib import Path

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)


def problem(error: pytest.ExceptionInfo[InputError]) -> str:
    [found] = error.value.problems
    assert found.remedy
    return str(found)


def refusal(path: Path, content: bytes) -> str:
    path.write_bytes(content)
    with pytest.raises(InputError) as error:
        read_json("--file", str(path))
    return problem(error)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "given.json"


def test_a_file_with_a_byte_order_mark_is_read(path: Path) -> None:
    path.write_bytes(b'\xef\xbb\xbf{"a": 0.1}')
    assert read_json("--file", str(path)) == {"a": 0.1}


def test_an_exact_fraction_keeps_every_digit(path: Path) -> None:
    path.write_text("[0.10000000000000000001]", encoding="utf-8")
    assert read_json("--file", str(path), exact=True) == [Decimal("0.10000000000000000001")]
    assert read_json("--file", str(path)) == [0.1]


def test_a_dash_is_stdin(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=io.BytesIO(b"[1]")))
    assert read_json("--file", "-") == [1]


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "--file: is empty"),
        (b" \n", "--file: is empty"),
        (b'{\n "a": }', "--file: is no JSON: Expecting value at line 2, column 7"),
        (b'{"a": 1, "b": {"c": 1, "c": 2}}', "--file: the key 'c' stands twice in one object"),
        (b'{"a": NaN}', "--file: NaN is no JSON number"),
        (b"[-Infinity]", "--file: -Infinity is no JSON number"),
        (b'{"a": "\xff"}', "--file: is not UTF-8 (byte 8)"),
        (b"[" * 100_000, "--file: is nested too deep"),
        (b"9" * 5_000, "--file: holds a number that is too large"),
        (b'"' + b"x" * MAX_FILE + b'"', "--file: has more than 256 KiB"),
    ],
)
def test_a_file_that_is_no_json_is_refused_with_the_reason(path: Path, content: bytes, said: str) -> None:
    assert refusal(path, content).startswith(said)


def test_an_exponent_out_of_range_is_refused_where_numbers_are_exact(path: Path) -> None:
    path.write_text("1e9999999999999999999999", encoding="utf-8")
    with pytest.raises(InputError) as error:
        read_json("--facts", str(path), exact=True)
    assert "--facts: holds a number that is too large" in problem(error)


def test_a_file_of_exactly_the_limit_is_read(path: Path) -> None:
    path.write_bytes(b'"' + b"x" * (MAX_FILE - 2) + b'"')
    assert len(read_json("--file", str(path))) == MAX_FILE - 2


@pytest.mark.parametrize(("name", "reason"), [("missing.json", "no such file"), (".", "is a directory")])
def test_a_file_that_cannot_be_opened_is_named_with_its_option(tmp_path: Path, name: str, reason: str) -> None:
    with pytest.raises(InputError) as error:
        read_json("--file", str(tmp_path / name))
    assert str(tmp_path) in problem(error)
    assert reason in problem(error)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("7d", datetime(2026, 2, 22, 12, tzinfo=UTC)),
        ("90m", datetime(2026, 3, 1, 10, 30, tzinfo=UTC)),
        ("99999w", datetime(1970, 1, 1, tzinfo=UTC)),
        ("2026-02-01", datetime(2026, 1, 31, 23, tzinfo=UTC)),
        ("2026-02-01T08:00Z", datetime(2026, 2, 1, 8, tzinfo=UTC)),
        ("2026-03-29T02:30", datetime(2026, 3, 29, 1, tzinfo=UTC)),
        ("2026-10-25T02:30", datetime(2026, 10, 25, 0, 30, tzinfo=UTC)),
    ],
)
def test_a_moment_is_so_long_ago_or_a_time_local_to_the_org(text: str, expected: datetime) -> None:
    assert moment_at(parse_moment("--since", text, "Europe/Berlin"), NOW) == expected


def test_a_duration_is_kept_until_now_is_known() -> None:
    assert parse_moment("--since", "12h", "UTC") == timedelta(hours=12)


@pytest.mark.parametrize("text", ["", "d", "-7d", "7x", "tomorrow", "0001-01-01", "9999-12-31", "123456d"])
def test_what_is_no_moment_is_refused(text: str) -> None:
    with pytest.raises(InputError) as error:
        parse_moment("--since", text, "UTC")
    assert problem(error).startswith("--since: ")


@pytest.mark.parametrize(
    ("text", "days"),
    [("mon,thu", [1, 4]), ("Sunday, SAT", [0, 6]), ("0,wednesday,2", [0, 3, 2]), (None, None)],
)
def test_days_are_counted_from_sunday(text: str | None, days: list[int] | None) -> None:
    assert parse_days(text) == days


@pytest.mark.parametrize("text", ["", "mon,", "7", "mond", "moon"])
def test_what_is_no_day_is_refused(text: str) -> None:
    with pytest.raises(InputError) as error:
        parse_days(text)
    assert problem(error).startswith("--on: ")


def test_what_is_no_id_is_refused_with_its_option() -> None:
    assert parse_id("--entity", None) is None
    with pytest.raises(InputError) as error:
        parse_id("--entity", "42")
    assert problem(error).startswith("--entity: '42' is no id")
