from __future__ import annotations

import io

import pytest
from rich.console import Console

from cli import tables

ROWS: list[dict[str, str | None]] = [
    {
        "action_id": "01980000-0000-7000-8000-000000000001",
        "status": "succeeded",
        "campaign": "Spring sale",
        "why": None,
    },
    {"action_id": "01980000-0000-7000-8000-000000000002", "status": "held", "campaign": "[b]x", "why": "too much"},
]
COLUMNS = list(ROWS[0])


def shown(monkeypatch: pytest.MonkeyPatch, width: int) -> list[str]:
    screen = io.StringIO()
    monkeypatch.setattr(tables, "out", Console(file=screen, force_terminal=True, no_color=True, width=width))
    tables.show_rows("Actions", ROWS, COLUMNS)
    return [line.rstrip() for line in screen.getvalue().splitlines()]


def test_a_terminal_with_room_for_the_words_shows_a_line_for_each_row(monkeypatch: pytest.MonkeyPatch) -> None:
    [line] = [line for line in shown(monkeypatch, 100) if "000000000002" in line]
    assert [cell.strip() for cell in line.split("│")][1:-1] == [str(ROWS[1][column]) for column in COLUMNS]


@pytest.mark.parametrize("width", [56, 60])
def test_in_a_narrow_terminal_each_row_is_a_record_and_no_word_is_broken(
    monkeypatch: pytest.MonkeyPatch, width: int
) -> None:
    lines = shown(monkeypatch, width)
    cells = [tuple(cell.strip() for cell in line.split("│")[1:-1]) for line in lines if "│" in line]
    assert [pair[0].replace("\x1b[1m", "").replace("\x1b[0m", "").strip() for pair in cells] == COLUMNS * 2
    assert [pair[1] for pair in cells] == [str(row[column] or "-") for row in ROWS for column in COLUMNS]
    assert max(map(len, (line.replace("\x1b[1m", "").replace("\x1b[0m", "") for line in lines))) <= width
