"""The file: its size, encoding and delimiter, and its records one by one with their line numbers."""

from __future__ import annotations

import csv
import io
import os
import stat
from contextlib import closing, contextmanager
from typing import TYPE_CHECKING, BinaryIO, Final

from core.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator
    from pathlib import Path

MAX_BYTES: Final = 64 * 1024 * 1024
MAX_LINE: Final = 1024 * 1024
MAX_COLUMNS: Final = 500
_DELIMITERS: Final = (",", ";", "\t")
_REPORT_EVERY: Final = 2_000
_SIGNATURES: Final = {
    b"PK\x03\x04": ("is a spreadsheet or an archive", "export or unpack it as CSV"),
    b"\x1f\x8b": ("is compressed by gzip", "unpack it first: gunzip FILE"),
    b"\xff\xfe": ("is UTF-16 text", "save it as CSV UTF-8, or run: iconv -f UTF-16 -t UTF-8 FILE"),
    b"\xfe\xff": ("is UTF-16 text", "save it as CSV UTF-8, or run: iconv -f UTF-16 -t UTF-8 FILE"),
}


class Export:
    """An open export: its heading and, as often as asked for, its records."""

    def __init__(self, binary: BinaryIO, size: int) -> None:
        self._binary = binary
        self.size = size
        self.delimiter = _sniff_delimiter(next((line for line in self._lines() if line.strip()), ""))
        self.heading = self._read_heading()

    def records(self, progress: Callable[[int], None]) -> Iterator[tuple[int, list[str]]]:
        """Yield (line number, stripped cells) for each record after the heading, blank lines left out.

        Reports the bytes read so far now and then. Raises InputError where the text is no UTF-8 or a quote is broken.
        """
        records = self._all_records()
        next(records)
        for count, record in enumerate(records):
            if count % _REPORT_EVERY == 0:
                progress(self._binary.tell())
            yield record
        progress(self.size)

    def _read_heading(self) -> list[str]:
        _, heading = next(self._all_records(), (0, []))
        while heading and not heading[-1]:
            heading.pop()  # spreadsheets end lines with empty cells
        if not heading:
            raise InputError.of("file", "is empty", "give an export with a heading and rows")
        if len(heading) > MAX_COLUMNS:
            raise InputError.of("file", f"has {len(heading)} columns", f"export at most {MAX_COLUMNS} columns")
        return heading

    def _all_records(self) -> Iterator[tuple[int, list[str]]]:
        with closing(self._lines()) as lines:  # an error must not leave the file's text layer to the garbage collector
            reader = csv.reader(lines, delimiter=self.delimiter, strict=True, skipinitialspace=True)
            line = 1
            try:
                for cells in reader:
                    stripped = [cell.strip() for cell in cells]
                    if any(stripped):
                        yield line, stripped
                    line = reader.line_num + 1
            except csv.Error as error:
                message = f"line {line}: broken quoting or an overlong field ({error})"
                raise InputError.of(
                    "file", message, 'close the quote, and write a quote inside a field as ""'
                ) from error

    def _lines(self) -> Generator[str]:
        """Yield the lines; comment lines (`# …`) before the heading become blank, so that line numbers hold."""
        self._binary.seek(0)
        text = io.TextIOWrapper(self._binary, encoding="utf-8-sig", newline="")
        try:
            above_heading = True
            for number, line in enumerate(iter(lambda: text.readline(MAX_LINE + 1), ""), 1):
                if len(line) > MAX_LINE:
                    raise InputError.of(
                        "file", f"line {number} is longer than {MAX_LINE} characters", "export it again"
                    )
                above_heading = above_heading and (line.startswith("# ") or not line.strip())
                yield "\n" if above_heading else line
        except UnicodeDecodeError as error:
            message = f"line {_undecodable_line(self._binary)} is not UTF-8"
            remedy = "save it as CSV UTF-8, or run: iconv -f WINDOWS-1252 -t UTF-8 FILE"
            raise InputError.of("file", message, remedy) from error
        finally:
            text.detach()  # the next pass reads the same open file


@contextmanager
def open_export(path: Path) -> Iterator[Export]:
    """Open `path` and recognise it. The same open file serves both passes, so that nobody can swap it in between.

    Raises InputError where it cannot be read, is no regular file, is above 64 MiB, is no UTF-8 text or has no heading.
    """
    try:
        binary = path.open("rb")
    except OSError as error:
        raise InputError.of("file", f"{path} cannot be read: {error.strerror}", "check the path") from error
    with binary:
        facts = os.fstat(binary.fileno())
        if not stat.S_ISREG(facts.st_mode):
            raise InputError.of("file", f"{path} is no regular file", "save the export to a file first")
        if facts.st_size > MAX_BYTES:
            message = f"{path} has {facts.st_size:,} bytes, more than {MAX_BYTES:,} (64 MiB)"
            raise InputError.of("file", message, "export a shorter period, or fewer columns, per file")
        _refuse_other_formats(binary, path)
        yield Export(binary, facts.st_size)


def _refuse_other_formats(binary: BinaryIO, path: Path) -> None:
    start = binary.read(4096)
    for signature, (what, remedy) in _SIGNATURES.items():
        if start.startswith(signature):
            raise InputError.of("file", f"{path} {what}, not UTF-8 CSV", remedy)
    if b"\0" in start:
        raise InputError.of("file", f"{path} holds NUL bytes: it is no UTF-8 text", "save it as CSV UTF-8")


def _sniff_delimiter(heading: str) -> str:
    return max(_DELIMITERS, key=lambda delimiter: len(next(csv.reader([heading], delimiter=delimiter), [])))


def _undecodable_line(binary: BinaryIO) -> int:
    binary.seek(0)
    for number, line in enumerate(binary, 1):
        try:
            line.decode("utf-8")
        except UnicodeDecodeError:
            return number
    return 0
