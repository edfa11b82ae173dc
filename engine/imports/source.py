"""The file: its size and delimiter, the line of its heading, and its records one by one with their line numbers."""

from __future__ import annotations

import csv
import io
import os
import stat
from contextlib import closing, contextmanager
from itertools import islice
from typing import TYPE_CHECKING, BinaryIO, Final

from core.errors import InputError
from engine.imports.encodings import Detected, Encoding, detect, undecodable_line

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator, Sequence
    from pathlib import Path

MAX_BYTES: Final = 64 * 1024 * 1024
MAX_LINE: Final = 1024 * 1024
MAX_COLUMNS: Final = 500
MAX_TITLES: Final = 10
"""The heading is looked for in so many lines; above it stand a report's title and its period."""
_DELIMITERS: Final = (",", ";", "\t")
_REPORT_EVERY: Final = 2_000
_SIGNATURES: Final = {
    b"PK\x03\x04": ("is a spreadsheet or an archive", "export or unpack it as CSV"),
    b"\x1f\x8b": ("is compressed by gzip", "unpack it first: gunzip FILE"),
    b"\xff\xfe\0\0": ("is UTF-32 text", "save it as CSV UTF-8, or run: iconv -f UTF-32 -t UTF-8 FILE"),
    b"\0\0\xfe\xff": ("is UTF-32 text", "save it as CSV UTF-8, or run: iconv -f UTF-32 -t UTF-8 FILE"),
}


class Export:
    """An open export: its heading and, as often as asked for, its records."""

    def __init__(
        self, binary: BinaryIO, size: int, detected: Detected, is_heading: Callable[[Sequence[str]], bool]
    ) -> None:
        self._binary = binary
        self._heading_line = 1
        self.size = size
        self.encoding = detected.encoding
        self.notes = [detected.assumed] if detected.assumed else []
        self.delimiter = self._find_heading(is_heading)
        self.heading = self._read_heading()

    def records(self, progress: Callable[[int], None]) -> Iterator[tuple[int, list[str]]]:
        """Yield (line number, stripped cells) for each record after the heading, blank lines left out.

        Reports the bytes read so far now and then. Raises InputError where the text cannot be decoded or a quote is
        broken.
        """
        records = self._all_records()
        next(records)
        for count, record in enumerate(records):
            if count % _REPORT_EVERY == 0:
                progress(self._binary.tell())
            yield record
        progress(self.size)

    def _find_heading(self, is_heading: Callable[[Sequence[str]], bool]) -> str:
        """Find the heading's line: of the first lines that say something the one with headings, else the first.

        Returns the delimiter. Comment lines (`# …`) and blank ones are not counted.
        """
        with closing(self._lines()) as lines:
            speaking = ((n, line) for n, line in enumerate(lines, 1) if line.strip() and not line.startswith("# "))
            first = [(number, line, _sniff_delimiter(line)) for number, line in islice(speaking, MAX_TITLES)]
        if not first:
            return _DELIMITERS[0]
        known = (
            (number, delimiter)
            for number, line, delimiter in first
            if is_heading([cell.strip() for cell in _cells(line, delimiter)])
        )
        uppermost, _, delimiter = first[0]
        self._heading_line, delimiter = next(known, (uppermost, delimiter))
        if self._heading_line > uppermost:
            self.notes.append(f"the heading is in line {self._heading_line}; the report's title above it is left out")
        return delimiter

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
        """Yield the lines without a byte order mark; those above the heading are blank, so that line numbers hold."""
        self._binary.seek(0)
        text = io.TextIOWrapper(self._binary, encoding=self.encoding, newline="")
        try:
            for number, line in enumerate(iter(lambda: text.readline(MAX_LINE + 1), ""), 1):
                if len(line) > MAX_LINE:
                    raise InputError.of(
                        "file", f"line {number} is longer than {MAX_LINE} characters", "export it again"
                    )
                if number < self._heading_line:
                    yield "\n"
                else:
                    yield line.removeprefix("\ufeff") if number == 1 else line
        except UnicodeDecodeError as error:
            message = f"line {undecodable_line(self._binary, self.encoding)} is not {self.encoding.upper()} text"
            remedy = "save it as CSV UTF-8, or say its encoding with --encoding"
            raise InputError.of("file", message, remedy) from error
        finally:
            text.detach()  # the next pass reads the same open file


@contextmanager
def open_export(path: Path, encoding: Encoding | None, is_heading: Callable[[Sequence[str]], bool]) -> Iterator[Export]:
    """Open `path` and recognise it. The same open file serves both passes, so that nobody can swap it in between.

    `encoding` None leaves it to the file. Raises InputError where it cannot be read, is no regular file, is above
    64 MiB, is no text in its encoding, or has no heading.
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
        yield Export(binary, facts.st_size, detect(binary, encoding), is_heading)


def _refuse_other_formats(binary: BinaryIO, path: Path) -> None:
    start = binary.read(max(map(len, _SIGNATURES)))
    for signature, (what, remedy) in _SIGNATURES.items():
        if start.startswith(signature):
            raise InputError.of("file", f"{path} {what}, not CSV", remedy)


def _sniff_delimiter(line: str) -> str:
    return max(_DELIMITERS, key=lambda delimiter: len(_cells(line, delimiter)))


def _cells(line: str, delimiter: str) -> list[str]:
    try:
        return next(csv.reader([line], delimiter=delimiter), [])
    except csv.Error:  # an overlong field; reading the heading says so
        return []
