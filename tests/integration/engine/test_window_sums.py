"""Windows as SQL sums them, against the same windows recomputed from the file in plain Python."""

from __future__ import annotations

import csv
import os
import random
from datetime import date, datetime, timedelta
from typing import TYPE_CHECKING, Final
from uuid import UUID
from zoneinfo import ZoneInfo

import pytest

from engine.imports.read import ReadOptions, read_export
from engine.ingest import Target, latest_day, write_metrics
from engine.rules.fields import METRIC_FIELDS
from engine.rules.tree import Operand
from engine.rules.windows import WINDOWS_WITH_PRECEDING, Window, days, preceding
from engine.run_rules import facts
from engine.run_rules.operands import Operands
from engine.run_rules.state import Overlay
from engine.schedule.zones import local_day, zone
from engine.store import campaigns
from tests.integration.engine import window_oracle as oracle

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from sqlalchemy import Connection, Row

    from tests.world import Org, World

MAPPING: Final = {"campaign": "fb_campaign_id", "spend": "Spent", "conversions": "Total_Conversion"}
ZONES: Final = ("UTC", "America/Los_Angeles", "Pacific/Auckland")
MOMENTS: Final = tuple(
    datetime.fromisoformat(f"2023-{moment}:30+00:00")
    for moment in ("07-31T23", "08-01T03", "08-04T12", "08-16T06", "08-31T23", "09-01T12", "09-15T03", "10-20T12")
)
WINDOWED: Final = Operands(
    [
        *(Operand(field, window, explicit=True) for field in METRIC_FIELDS for window in Window),
        *(
            Operand(field, window, explicit=True, previous=True)
            for field in METRIC_FIELDS
            for window in WINDOWS_WITH_PRECEDING
        ),
    ]
)


@pytest.fixture(params=["a generated file", "the real export"])
def export(request: pytest.FixtureRequest, tmp_path: Path, pytestconfig: pytest.Config) -> Path:
    if request.param == "a generated file":
        return _generated(tmp_path / "generated.csv")
    path = os.environ.get("CMIS_REAL_EXPORT")
    if not path:
        pytest.skip("CMIS_REAL_EXPORT names no file: the real export is not part of the repository")
    return pytestconfig.rootpath / path


@pytest.mark.parametrize("timezone", ZONES)
def test_sql_sums_of_every_window_equal_a_recomputation_of_the_file_in_plain_python(
    world: World, export: Path, timezone: str
) -> None:
    org = world.org(timezone=timezone)
    _import(org, export, timezone)
    expected = oracle.read(export)
    with world.app.transaction(org.context) as connection:
        rows = campaigns.page(connection, org.id, after=UUID(int=0), limit=10_000)
        assert {row.external_id for row in rows} == set(expected)
        compared = sum(_compare(connection, org, rows, expected, moment, timezone) for moment in MOMENTS)
    assert compared > 3 * len(rows)  # most windows at most times have rows


def _compare(
    connection: Connection,
    org: Org,
    rows: Sequence[Row[tuple[object, ...]]],
    expected: oracle.Days,
    moment: datetime,
    timezone: str,
) -> int:
    """Compare every window at one time; returns how many of them, over all campaigns, have rows."""
    today = moment.astimezone(ZoneInfo(timezone)).date()
    assert local_day(moment, zone(timezone)) == today
    now = org.world.now()  # by which all of the file is known, days that are not over at the moment, too
    page = facts.load(connection, org.id, rows, WINDOWED, now=now, today=today)
    stored = _stored(connection, org, rows, today)
    filled = 0
    for row in rows:
        known = page.facts(WINDOWED, Overlay(page).get(row.campaign_id))
        for previous, spans in ((False, oracle.SPANS), (True, oracle.PRECEDING)):
            for window, span in spans.items():
                within = oracle.within(expected[row.external_id], span, today)
                metrics = oracle.metrics(within.values())
                suffix = ":previous" if previous else ""
                assert {field: known[f"{field}@{window}{suffix}"] for field in METRIC_FIELDS} == metrics
                sums = stored.get((row.campaign_id, f"{window}{suffix}"))
                assert (sums is None) is (not within)
                if sums is not None:
                    assert {field: getattr(sums, field) for field in oracle.COLUMNS} == {
                        field: metrics[field] for field in oracle.COLUMNS
                    }
                    assert sums.observed_at == oracle.observed_at(within, timezone)
                    filled += 1
    return filled


def _stored(
    connection: Connection, org: Org, rows: Sequence[Row[tuple[object, ...]]], today: date
) -> dict[tuple[UUID, str], Row[tuple[object, ...]]]:
    spans = {}
    for window in Window:
        first, last = days(window, today)
        spans[str(window)] = (first or date(1, 1, 1), last)
        if before := preceding(window, today):
            spans[f"{window}:previous"] = before
    found = campaigns.sums(connection, org.id, spans, [row.campaign_id for row in rows], now=org.world.now())
    return {(row.campaign_id, row.key): row for row in found}


def _import(org: Org, export: Path, timezone: str) -> None:
    target = Target(org.world.app, org.context, timezone)
    columns = {field: column for field, column in MAPPING.items() if column in export.read_text(encoding="utf-8")}
    reading = read_export(export, ReadOptions(latest_day(target), columns, strict=True), _silently)
    write_metrics(target, reading.sums, replace=False, progress=_silently)


def _silently(_done: int, _total: int) -> None: ...


def _generated(path: Path) -> Path:
    """Write ad-level rows of 40 campaigns over 100 days: gaps, blanks, zeros, and fractions that must be rounded."""
    rng = random.Random(20230801)  # noqa: S311 - repeatable data, no secret
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["Date", "fb_campaign_id", *oracle.COLUMNS.values()])
        for campaign in range(40):
            reported = {metric for metric in oracle.COLUMNS if rng.random() < 0.8} | {"impressions"}
            for back in range(100):
                for _ in range(rng.choice([0, 0, 1, 2, 3])):
                    day = date(2023, 9, 20) - timedelta(days=back)
                    writer.writerow([f"{day:%d-%m-%Y}", f"c{campaign}", *_cells(rng, reported)])
    return path


def _cells(rng: random.Random, reported: set[str]) -> list[str]:
    clicks = rng.choice([0, 0, rng.randrange(50)])
    cells = {
        "impressions": str(rng.choice([0, rng.randrange(100_000)])),
        "clicks": str(clicks),
        "conversions": f"{rng.choice([0, rng.random() * 5]):.2f}",
        "spend": f"{rng.choice([0, rng.random() * 1000]):.9f}",
        "revenue": f"{rng.random() * 3000:.7f}",
    }
    return [
        cell if metric in reported and (metric == "impressions" or rng.random() < 0.8) else ""
        for metric, cell in cells.items()
    ]
