"""Encodings: what a mark, NUL bytes or the whole file shows, what the caller says, and what is assumed and told."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

import pytest

from core.errors import InputError
from engine.imports.encodings import Detected, Encoding, detect, undecodable_line
from tests.unit.imports.files import read_bytes

if TYPE_CHECKING:
    from pathlib import Path

ROWS = "campaign,date,clicks\nÉté,2023-08-01,3\n日本語,2023-08-02,4\n"
WESTERN = "campaign,date,clicks\nÉté – 5 €,2023-08-01,3\n"  # noqa: RUF001 - a dash that Windows-1252 has and Latin-1 not


def found(content: bytes, forced: Encoding | None = None) -> Detected:
    return detect(io.BytesIO(content), forced)


def campaigns(directory: Path, content: bytes, encoding: Encoding | None = None) -> list[str]:
    return [key.external_id for key in read_bytes(directory, content, encoding=encoding).sums.campaigns]


@pytest.mark.parametrize(
    ("content", "encoding"),
    [
        (ROWS.encode(), Encoding.UTF_8),
        (ROWS.encode("utf-8-sig"), Encoding.UTF_8),
        (b"\xff\xfe" + ROWS.encode("utf-16-le"), Encoding.UTF_16_LE),
        (b"\xfe\xff" + ROWS.encode("utf-16-be"), Encoding.UTF_16_BE),
        (ROWS.encode("utf-16-le"), Encoding.UTF_16_LE),
        (ROWS.encode("utf-16-be"), Encoding.UTF_16_BE),
    ],
)
def test_a_mark_or_the_bytes_themselves_show_unicode_and_nothing_is_assumed(
    tmp_path: Path, content: bytes, encoding: Encoding
) -> None:
    assert found(content) == Detected(encoding)
    assert campaigns(tmp_path, content) == ["Été", "日本語"]


def test_what_is_not_utf_8_is_read_as_windows_1252_and_the_user_is_told_by_a_word_of_it(tmp_path: Path) -> None:
    content = WESTERN.encode("windows-1252")
    assert campaigns(tmp_path, content) == ["Été – 5 €"]  # noqa: RUF001
    reading = read_bytes(tmp_path, content)
    assert reading.encoding is Encoding.WINDOWS_1252
    assert reading.notes == (
        "the file is not UTF-8; read as windows-1252 (line 2: 'Été'); --encoding reads it otherwise",
    )


@pytest.mark.parametrize(
    ("codec", "name"),
    [
        ("windows-1250", "Łódź"),
        ("windows-1251", "Привет"),
        ("windows-1252", "Été"),
        ("windows-1254", "Şişli"),
        ("latin-1", "Été"),
        ("utf-16-le", "日本語"),
        ("utf-16-be", "日本語"),
        ("utf-16", "日本語"),
        ("utf-8", "日本語"),
    ],
)
def test_the_caller_says_the_encoding_and_nothing_is_noted(tmp_path: Path, codec: str, name: str) -> None:
    content = f"campaign,date,clicks\n{name},2023-08-01,3\n".encode(codec)
    reading = read_bytes(tmp_path, content, encoding=Encoding(codec))
    assert [key.external_id for key in reading.sums.campaigns] == [name]
    assert reading.notes == ()


@pytest.mark.parametrize("order", ["utf-16-le", "utf-16-be"])
@pytest.mark.parametrize("mark", ["", "\ufeff"])
def test_utf_16_leaves_the_byte_order_to_the_file(tmp_path: Path, order: str, mark: str) -> None:
    content = (mark + ROWS).encode(order)
    assert campaigns(tmp_path, content, Encoding.UTF_16) == ["Été", "日本語"]


@pytest.mark.parametrize(
    ("content", "forced", "message"),
    [
        (ROWS.encode("utf-16"), Encoding.UTF_8, "is utf-16-le by its first bytes, not utf-8"),
        (ROWS.encode("utf-16-be"), Encoding.UTF_16_LE, "is utf-16-be by its first bytes, not utf-16-le"),
        (ROWS.encode("utf-8-sig"), Encoding.LATIN_1, "is utf-8 by its first bytes, not latin-1"),
        (ROWS.encode(), Encoding.UTF_16, "holds no NUL bytes: it is no utf-16 text"),
        (b"a,b\0\n", Encoding.LATIN_1, "holds NUL bytes: it is no latin-1 text"),
        (WESTERN.encode("windows-1252"), Encoding.UTF_8, "line 2 is not UTF-8 text.*--encoding"),
        (b"campaign,date\n\x98,2023-08-01\n", Encoding.WINDOWS_1251, "line 2 is not WINDOWS-1251 text.*--encoding"),
        (ROWS.encode("utf-16-le")[:-1], Encoding.UTF_16_LE, "line 3 is not UTF-16-LE text"),
        (b"\xef\xbb\xbf" + ROWS.encode() + b"\xc9t\xe9,2023-08-01,3\n", None, "line 4 is not UTF-8 text"),
        (ROWS.encode() + WESTERN.encode("windows-1252"), None, "line 5 is not UTF-8, but line 2 is"),
        (b"campaign,date\nA,2023-08-01\n\x81\xe9,2023-08-01\n", None, "line 3 is neither UTF-8 nor Windows-1252"),
        (b"campaign,date\0\0clicks\n", None, "holds NUL bytes"),
        ("日本語,日付\n".encode("utf-16-le"), None, "NUL bytes.*--encoding utf-16-le"),
    ],
)
def test_a_wrong_encoding_is_refused_with_the_remedy(
    tmp_path: Path, content: bytes, forced: Encoding | None, message: str
) -> None:
    with pytest.raises(InputError, match=message) as caught:
        read_bytes(tmp_path, content, encoding=forced)
    assert caught.value.problems[0].remedy


def test_mixed_encodings_are_read_where_the_caller_says_how(tmp_path: Path) -> None:
    content = ROWS.encode() + b"\xc9t\xe9,2023-08-03,5\n"
    with pytest.raises(InputError, match="say --encoding windows-1252"):
        read_bytes(tmp_path, content)
    assert campaigns(tmp_path, content, Encoding.LATIN_1)[-1] == "Été"


def test_control_characters_of_latin_1_never_reach_a_name(tmp_path: Path) -> None:
    content = b"campaign,date,clicks\nA\x9b31m,2023-08-01,3\nB,2023-08-01,3\n"
    reading = read_bytes(tmp_path, content, encoding=Encoding.LATIN_1)
    assert [key.external_id for key in reading.sums.campaigns] == ["B"]
    assert "control characters" in reading.rejections[0].reason


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16-le", "utf-16-be"])
def test_the_line_that_cannot_be_decoded_is_found_far_into_a_file_and_across_blocks(encoding: str) -> None:
    lines = 200_000
    good = "äöüĊ,2023-08-01\n" * lines  # a byte of Ċ in UTF-16 looks like a line's end
    broken = b"\xff" if encoding == "utf-8" else "\ud800x".encode(encoding, "surrogatepass")
    assert undecodable_line(io.BytesIO(good.encode(encoding)), Encoding(encoding)) is None
    content = good.encode(encoding) + broken + good.encode(encoding)
    assert undecodable_line(io.BytesIO(content), Encoding(encoding)) == lines + 1
