"""The encoding of a file: what the caller says, else what its bytes show, else Windows-1252, which is told.

A byte order mark decides. Without one, a NUL in every other byte shows UTF-16, and a file that is UTF-8 throughout is
UTF-8, since text in another encoding hardly ever is by chance. A file that is UTF-8 in one line and not in another
contradicts itself and is refused.
"""

from __future__ import annotations

import codecs
import re
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, BinaryIO, Final

from core.errors import InputError
from engine.imports.cells import quoted

if TYPE_CHECKING:
    from collections.abc import Iterator

START: Final = 4096
"""So many first bytes show a mark or the NULs of UTF-16; an even number."""
_BLOCK: Final = 1024 * 1024
_LONG_LINE: Final = 4 * 1024 * 1024
_FOREIGN_WORD: Final = re.compile(r"[^\s,;\"]*[^\x00-\x7f\s][^\s,;\"]*")


class Encoding(StrEnum):
    """The encodings that a file may be said to be in. `utf-16` leaves the byte order to the file."""

    UTF_8 = "utf-8"
    UTF_16 = "utf-16"
    UTF_16_LE = "utf-16-le"
    UTF_16_BE = "utf-16-be"
    WINDOWS_1250 = "windows-1250"
    WINDOWS_1251 = "windows-1251"
    WINDOWS_1252 = "windows-1252"
    WINDOWS_1254 = "windows-1254"
    LATIN_1 = "latin-1"


_WIDE: Final = frozenset({Encoding.UTF_16_LE, Encoding.UTF_16_BE})
_MARKS: Final = {
    codecs.BOM_UTF8: Encoding.UTF_8,
    codecs.BOM_UTF16_LE: Encoding.UTF_16_LE,
    codecs.BOM_UTF16_BE: Encoding.UTF_16_BE,
}


@dataclass(frozen=True, slots=True)
class Detected:
    """What to decode a file with; `assumed` says why, where nothing in the file shows it."""

    encoding: Encoding
    assumed: str | None = None


def detect(binary: BinaryIO, forced: Encoding | None) -> Detected:
    """Return the encoding of an open file; `forced` wins.

    Raises InputError where the file shows another encoding than `forced`, or contradicts itself, or shows none.
    """
    binary.seek(0)
    start = binary.read(START)
    shown = _marked(start) or _by_nulls(start)
    if forced is not None:
        return Detected(_forced(forced, shown, start))
    if shown is not None:
        return Detected(shown)
    if b"\0" in start:
        remedy = "save it as CSV UTF-8, or say --encoding utf-16-le or --encoding utf-16-be"
        raise InputError.of("file", "holds NUL bytes, and not in the pattern of UTF-16", remedy)
    line = undecodable_line(binary, Encoding.UTF_8)
    return Detected(Encoding.UTF_8) if line is None else _one_byte(binary, line)


def undecodable_line(binary: BinaryIO, encoding: Encoding) -> int | None:
    """Return the first line that is not text in `encoding`, or None where all of it is. Reads block by block."""
    binary.seek(0)
    decoder = codecs.getincrementaldecoder(encoding)()
    line = 1
    try:
        while block := binary.read(_BLOCK):
            line += decoder.decode(block).count("\n")
        decoder.decode(b"", final=True)
    except UnicodeDecodeError as error:
        return line + error.object[: error.start].decode(encoding).count("\n")
    return None


def _marked(start: bytes) -> Encoding | None:
    return next((encoding for mark, encoding in _MARKS.items() if start.startswith(mark)), None)


def _by_nulls(start: bytes) -> Encoding | None:
    """Return the UTF-16 whose high bytes are mostly NUL, as they are wherever most characters are ASCII."""
    even, odd = start[0::2].count(0), start[1::2].count(0)
    pairs = len(start) // 2
    if not even and odd * 2 > pairs:
        return Encoding.UTF_16_LE
    if not odd and even * 2 > pairs:
        return Encoding.UTF_16_BE
    return None


def _forced(forced: Encoding, shown: Encoding | None, start: bytes) -> Encoding:
    wanted = forced
    if forced is Encoding.UTF_16:
        wanted = shown if shown in _WIDE else Encoding.UTF_16_LE
    if shown is not None and shown is not wanted:
        raise InputError.of("file", f"is {shown} by its first bytes, not {forced}", "leave --encoding out")
    if start and (wanted in _WIDE) != (b"\0" in start):
        has = "holds no NUL bytes" if wanted in _WIDE else "holds NUL bytes"
        raise InputError.of("file", f"{has}: it is no {forced} text", "leave --encoding out, or say another")
    return wanted


def _one_byte(binary: BinaryIO, line: int) -> Detected:
    """Decide on a file whose `line` is not UTF-8."""
    contradiction = next((number for number, raw in _lines(binary) if not raw.isascii() and _is_utf_8(raw)), None)
    if contradiction is not None:
        message = f"line {line} is not UTF-8, but line {contradiction} is: encodings are mixed"
        raise InputError.of("file", message, f"mend line {line}, or say --encoding windows-1252")
    undefined = undecodable_line(binary, Encoding.WINDOWS_1252)
    if undefined is not None:
        remedy = "save it as CSV UTF-8, or say its encoding with --encoding"
        raise InputError.of("file", f"line {undefined} is neither UTF-8 nor Windows-1252", remedy)
    raw = next(raw for number, raw in _lines(binary) if number == line)
    word = _FOREIGN_WORD.search(raw.decode(Encoding.WINDOWS_1252))
    seen = f"line {line}: {quoted(word[0])}" if word else f"line {line}"
    return Detected(
        Encoding.WINDOWS_1252, f"the file is not UTF-8; read as windows-1252 ({seen}); --encoding reads it otherwise"
    )


def _lines(binary: BinaryIO) -> Iterator[tuple[int, bytes]]:
    binary.seek(0)
    return enumerate(iter(lambda: binary.readline(_LONG_LINE), b""), 1)


def _is_utf_8(raw: bytes) -> bool:
    try:
        raw.decode(Encoding.UTF_8)
    except UnicodeDecodeError:
        return False
    return True
