"""Imports against the real database, as the app role under row-level security, and through the command line."""

from __future__ import annotations

import json
import os
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pytest
from click.testing import CliRunner, Result
from sqlalchemy import text

from cli.metrics import metrics
from core import clock
from core.db import CLI_ACTOR, Context, Database
from core.errors import ConflictError, InputError
from core.ids import uuid7
from engine import ingest
from engine.imports.read import ReadOptions, read_export
from engine.ingest import Target, Written, day_end, latest_day, write_metrics
from engine.schedule.zones import zone
from engine.store import metrics as store
from engine.store import orgs

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from dev.site import Site

    MakeOrg = Callable[[str, str], Target]

HEADING = "campaign,date,impressions,clicks,spend,currency\n"
FILE = f"{HEADING}A,31-08-2023,100,10,5.50,EUR\nA,31-08-2023,50,5,1.25,EUR\nB,30-08-2023,7,0,0,EUR\n"


def silent(_done: int, _total: int) -> None: ...


@pytest.fixture
def app(database: Site) -> Iterator[Database]:
    opened = Database(database.urls.app, variable="DATABASE_URL", application="test")
    yield opened
    opened.close()


@pytest.fixture
def make_org(app: Database) -> MakeOrg:
    def make(name: str, timezone: str) -> Target:
        with app.transaction(None) as connection:
            now = clock.now(connection)
            org = orgs.OrgRef(uuid7(now), name, timezone)
            orgs.create(connection, org, actor_id=CLI_ACTOR, admin_id=uuid7(now), admin_email=None)
        return Target(app, Context(org.org_id, CLI_ACTOR), timezone)

    return make


@pytest.fixture
def berlin(make_org: MakeOrg) -> Target:
    return make_org("Berlin", "Europe/Berlin")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "export.csv"


def load(target: Target, path: Path, content: str, *, replace: bool = False) -> Written:
    path.write_text(content, encoding="utf-8")
    reading = read_export(path, ReadOptions(latest_day(target)), silent)
    return write_metrics(target, reading.sums, replace=replace, progress=silent)


def query(target: Target, statement: str) -> list[Any]:
    with target.database.transaction(target.context) as connection:
        return list(connection.execute(text(statement)))


def counts(written: Written) -> tuple[int, int, int, int]:
    return written.inserted, written.unchanged, written.replaced, written.conflicts


CURRENT = """
SELECT c.external_id, m.date, m.impressions, m.clicks, m.spend, m.conversions, m.revenue, m.observed_at
  FROM cmis.campaign_metrics m JOIN cmis.campaigns c USING (org_id, campaign_id)
 WHERE m.superseded_at IS NULL ORDER BY 1, 2
"""


def test_an_import_creates_active_campaigns_and_one_row_per_campaign_and_day(berlin: Target, path: Path) -> None:
    written = load(berlin, path, FILE)
    assert (written.campaigns_created, counts(written)) == (2, (2, 0, 0, 0))
    assert [tuple(row) for row in query(berlin, CURRENT)] == [
        ("A", date(2023, 8, 31), 150, 15, Decimal("6.75"), None, None, datetime(2023, 8, 31, 22, tzinfo=UTC)),
        ("B", date(2023, 8, 30), 7, 0, Decimal(0), None, None, datetime(2023, 8, 30, 22, tzinfo=UTC)),
    ]
    campaigns = query(
        berlin, "SELECT name, platform, status, currency, start_date, budget FROM cmis.campaigns ORDER BY 1"
    )
    assert tuple(campaigns[0]) == ("A", "generic", "active", "EUR", date(2023, 8, 31), None)


def test_a_second_identical_import_changes_nothing(berlin: Target, path: Path) -> None:
    everything = (
        "SELECT c.xmin::text, m.xmin::text FROM cmis.campaigns c JOIN cmis.campaign_metrics m USING (campaign_id)"
    )
    load(berlin, path, FILE)
    before = query(berlin, everything)
    for replace in (False, True):
        written = load(berlin, path, FILE, replace=replace)
        assert (written.campaigns_created, counts(written)) == (0, (0, 2, 0, 0))
    assert query(berlin, everything) == before


def test_days_that_differ_are_reported_as_conflicts_and_left(berlin: Target, path: Path) -> None:
    load(berlin, path, FILE)
    before = query(berlin, CURRENT)
    written = load(berlin, path, FILE.replace("5.50", "6.50") + "A,01-09-2023,1,1,1,EUR\n")
    assert counts(written) == (1, 1, 0, 1)
    conflict = written.conflict_samples[0]
    assert (conflict.campaign.external_id, conflict.day) == ("A", date(2023, 8, 31))
    assert (conflict.stored["spend"], conflict.given["spend"]) == (Decimal("6.75"), Decimal("7.75"))
    assert set(before) < set(query(berlin, CURRENT))


def test_a_restatement_keeps_the_old_row_and_what_the_file_does_not_report(berlin: Target, path: Path) -> None:
    load(berlin, path, FILE)
    written = load(berlin, path, "campaign,date,spend,revenue\nA,2023-08-31,7,20\nB,2023-08-30,0,\n", replace=True)
    assert counts(written) == (0, 1, 1, 0)
    current = query(berlin, CURRENT)[0]
    assert current[2:7] == (150, 15, Decimal(7), None, Decimal(20))
    old = query(
        berlin, "SELECT spend, observed_at, superseded_at FROM cmis.campaign_metrics WHERE superseded_at IS NOT NULL"
    )
    assert [tuple(row) for row in old] == [
        (Decimal("6.75"), datetime(2023, 8, 31, 22, tzinfo=UTC), current.observed_at)
    ]


def test_a_day_that_has_not_ended_is_observed_now_and_not_in_the_future(berlin: Target, path: Path) -> None:
    today = latest_day(berlin) - timedelta(days=1)
    load(berlin, path, f"{HEADING}A,{today},1,1,1,EUR\n")
    now = query(berlin, "SELECT cmis.clock()")[0][0]
    assert query(berlin, CURRENT)[0].observed_at <= now


def test_imports_of_two_orgs_never_meet(make_org: MakeOrg, path: Path) -> None:
    first, second = make_org("First", "UTC"), make_org("Second", "UTC")
    load(first, path, FILE)
    assert counts(load(second, path, FILE.replace("5.50", "9.50"))) == (2, 0, 0, 0)
    assert len(query(first, CURRENT)) == len(query(second, CURRENT)) == 2
    assert query(first, CURRENT)[0].spend == Decimal("6.75")


def test_another_currency_is_refused_before_anything_is_written(berlin: Target, path: Path) -> None:
    load(berlin, path, FILE)
    before = query(berlin, CURRENT)
    with pytest.raises(ConflictError, match="campaign A: is kept in EUR, but the file reports USD"):
        load(berlin, path, f"{HEADING}C,2023-08-01,1,1,1,USD\nA,2023-09-01,1,1,1,USD\n")
    assert query(berlin, CURRENT) == before


def test_a_failure_midway_leaves_whole_chunks_and_a_rerun_completes_them(
    berlin: Target, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ingest, "ONE_TRANSACTION", 3)
    monkeypatch.setattr(ingest, "CHUNK", 3)
    content = HEADING + "".join(f"C{day % 4},2023-08-{day:02d},1,1,1,EUR\n" for day in range(1, 9))
    path.write_text(content, encoding="utf-8")
    sums = read_export(path, ReadOptions(latest_day(berlin)), silent).sums

    def fail_at_the_second(done: int, _total: int) -> None:
        if done > 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_metrics(berlin, sums, replace=False, progress=fail_at_the_second)
    assert len(query(berlin, CURRENT)) == 6
    written = write_metrics(berlin, sums, replace=False, progress=silent)
    assert (written.campaigns_created, counts(written)) == (0, (2, 6, 0, 0))


def test_a_file_of_one_transaction_is_written_whole_or_not_at_all(
    berlin: Target, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ingest, "CHUNK", 1)
    chunks = iter([store.insert_days])

    def fail_at_the_second(*arguments: Any) -> Any:
        return next(chunks)(*arguments)

    monkeypatch.setattr(store, "insert_days", fail_at_the_second)
    with pytest.raises(StopIteration):
        load(berlin, path, FILE)
    assert query(berlin, "SELECT FROM cmis.campaigns") == []


@pytest.mark.parametrize(
    ("timezone", "day", "expected"),
    [
        ("Asia/Kolkata", date(2023, 8, 31), datetime(2023, 8, 31, 18, 30, tzinfo=UTC)),
        ("America/New_York", date(2023, 3, 12), datetime(2023, 3, 13, 4, tzinfo=UTC)),
        ("America/New_York", date(2023, 11, 5), datetime(2023, 11, 6, 5, tzinfo=UTC)),
        ("Africa/Cairo", date(2023, 4, 27), datetime(2023, 4, 27, 22, tzinfo=UTC)),  # clocks skip the next midnight
    ],
)
def test_a_day_ends_at_local_midnight(timezone: str, day: date, expected: datetime) -> None:
    assert day_end(day, zone(timezone)) == expected


def invoke(database: Site, monkeypatch: pytest.MonkeyPatch, *arguments: str) -> Result:
    for name, value in database.env().items():
        monkeypatch.setenv(name, value)
    return CliRunner().invoke(metrics, ["import", *arguments])


@pytest.mark.usefixtures("berlin")
def test_the_command_prints_one_json_object_alone_on_stdout(
    database: Site, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path.write_text(f"{FILE}[/b],31-08-2023,x,1,1,EUR\n", encoding="utf-8")
    result = invoke(database, monkeypatch, str(path), "--org", "Berlin", "--json")
    assert result.exit_code == 0, result.output
    assert json.loads(result.stdout) == {
        "rows_read": 4,
        "rows_rejected": 1,
        "rejected": [{"line": 5, "reason": "impressions: 'x' is not a number with a decimal point"}],
        "preset": "generic",
        "encoding": "utf-8",
        "columns": {
            "campaign": "campaign", "campaign_name": "campaign", "date": "date", "impressions": "impressions",
            "clicks": "clicks", "spend": "spend", "currency": "currency",
        },
        "notes": [],
        "campaigns": 2,
        "campaigns_created": 2,
        "days": 2,
        "first_day": "2023-08-30",
        "last_day": "2023-08-31",
        "campaign_days": {"inserted": 2, "unchanged": 0, "replaced": 0, "conflicts": 0},
        "conflicts": [],
        "totals": {"impressions": 157, "clicks": 15, "spend": 6.75, "conversions": None, "revenue": None},
    }  # fmt: skip
    assert "writing" in result.stderr


@pytest.mark.usefixtures("berlin")
def test_the_command_tells_people_of_rejected_rows_and_conflicts(
    database: Site, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path.write_text(FILE, encoding="utf-8")
    invoke(database, monkeypatch, str(path), "--org", "Berlin")
    path.write_text(FILE.replace("5.50", "6.50") + "C,31-08-2023,[/b],1,1,EUR\n", encoding="utf-8")
    result = invoke(database, monkeypatch, str(path), "--org", "Berlin")
    assert result.exit_code == 0, result.output
    for expected in ("4 read, 1 rejected", "'[/b]' is not a number", "1 conflicts", "--replace", "7.75"):
        assert expected in result.stdout


@pytest.mark.usefixtures("berlin")
def test_the_command_says_that_it_took_a_file_for_windows_1252_and_reads_it_as_told(
    database: Site, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path.write_bytes("campaign,date,spend\nŁódź,2023-08-31,5\n".encode("windows-1250"))
    taken = invoke(database, monkeypatch, str(path), "--org", "Berlin")
    assert taken.exit_code == 0, taken.output
    said = " ".join(taken.stdout.split())
    assert "note: the file is not UTF-8; read as windows-1252 (line 2: '£ódŸ'); --encoding reads it otherwise" in said
    told = invoke(database, monkeypatch, str(path), "--org", "Berlin", "--encoding", "windows-1250", "--json")
    report = json.loads(told.stdout)
    assert (report["encoding"], report["notes"], report["campaigns_created"]) == ("windows-1250", [], 1)


def test_a_google_ads_download_is_imported_as_it_comes(
    database: Site, berlin: Target, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = [
        "Campaign report",
        "August 31, 2023 - August 31, 2023",
        "Day\tCampaign ID\tCampaign\tCurrency code\tImpr.\tClicks\tCost\tConversions\tConv. value",
        "2023-08-31\t111\tBrand – UK\tGBP\t12,345\t67\t1,234.56\t3.50\t --",  # noqa: RUF001 - as people name them
        "Total: Account\t --\t --\tGBP\t12,345\t67\t1,234.56\t3.50\t --",
    ]
    path.write_bytes("\r\n".join(rows).encode("utf-16"))
    result = invoke(database, monkeypatch, str(path), "--org", "Berlin", "--strict", "--json")
    assert result.exit_code == 0, result.output
    report = json.loads(result.stdout)
    assert (report["preset"], report["encoding"], report["rows_read"]) == ("google_ads", "utf-16-le", 1)
    assert len(report["notes"]) == 2
    stored = query(berlin, CURRENT)
    assert [tuple(row)[:7] for row in stored] == [
        ("111", date(2023, 8, 31), 12345, 67, Decimal("1234.56"), Decimal("3.5"), None)
    ]
    [campaign] = query(berlin, "SELECT name, platform, currency FROM cmis.campaigns")
    assert tuple(campaign) == ("Brand – UK", "google", "GBP")  # noqa: RUF001


def test_a_named_preset_says_whose_campaigns_they_are(
    database: Site, berlin: Target, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path.write_text("campaign,date,clicks\nA,2023-08-31,5\n", encoding="utf-8")
    result = invoke(database, monkeypatch, str(path), "--org", "Berlin", "--preset", "google_ads", "--json")
    assert json.loads(result.stdout)["preset"] == "google_ads"
    assert [row.platform for row in query(berlin, "SELECT platform FROM cmis.campaigns")] == ["google"]


@pytest.mark.parametrize(
    ("content", "options", "message"),
    [
        ("campaign,date,spend\nA,2023-08-01,1\n", ["--encoding", "utf-16"], "leave --encoding out"),
        ('campaign,date,spend\n"A,2023-08-01,5\n', [], "line 2: broken quoting"),
        ("campaign,date,spend\nA,2023-08-01,1.234\n", [], "--decimal comma"),
        ("campaign,date,spend\nA,2023-08-01,1\nA,2023-08-01,x\n", ["--strict"], "line 3: spend: 'x'"),
        ("id,date,spend\nA,2023-08-01,1\n", ["--map", "idd=campaign"], "no column 'idd'"),
    ],
)
def test_a_refused_file_writes_nothing(
    database: Site, berlin: Target, path: Path, monkeypatch: pytest.MonkeyPatch, content: str, options: list[str],
    message: str,
) -> None:  # fmt: skip
    path.write_text(content, encoding="utf-8")
    result = invoke(database, monkeypatch, str(path), "--org", "Berlin", *options)
    assert isinstance(result.exception, InputError)
    assert message in str(result.exception)
    assert result.stdout == ""
    assert query(berlin, "SELECT FROM cmis.campaigns") == []


@pytest.mark.skipif("CMIS_REAL_EXPORT" not in os.environ, reason="CMIS_REAL_EXPORT names no real export")
def test_the_real_export_is_imported_with_its_totals(
    berlin: Target, database: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    options = ["--map", "fb_campaign_id=campaign", "--map", "Total_Conversion=conversions", "--json"]
    first = invoke(database, monkeypatch, os.environ["CMIS_REAL_EXPORT"], "--org", "Berlin", *options)
    assert first.exit_code == 0, first.output
    report = json.loads(first.stdout)
    assert (report["rows_read"], report["rows_rejected"], report["campaigns"], report["days"]) == (1143, 0, 691, 31)
    assert round(report["totals"]["spend"], 2) == 58705.23
    stored = query(berlin, "SELECT sum(spend), sum(clicks), count(*) FROM cmis.campaign_metrics")[0]
    assert (round(stored[0], 2), stored[1]) == (Decimal("58705.23"), report["totals"]["clicks"])
    again = json.loads(
        invoke(database, monkeypatch, os.environ["CMIS_REAL_EXPORT"], "--org", "Berlin", *options).stdout
    )
    assert again["campaign_days"] == {"inserted": 0, "unchanged": stored[2], "replaced": 0, "conflicts": 0}
