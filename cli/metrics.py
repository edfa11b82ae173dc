"""`cmis metrics`: bringing in what the ad platforms measured."""

from __future__ import annotations

from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn

from cli.output import emit_json, err, out
from cli.session import open_org, org_command
from cli.tables import show_fields, show_rows
from engine.imports.columns import FIELDS, METRICS, parse_mapping
from engine.imports.dates import DateOrder
from engine.imports.encodings import Encoding
from engine.imports.headings import PRESETS
from engine.imports.numbers import DecimalMark
from engine.imports.read import Reading, ReadOptions, read_export
from engine.ingest import Conflict, Target, Written, latest_day, write_metrics

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_SHOWN: Final = 10


@click.group()
def metrics() -> None:
    """Campaign metrics."""


@metrics.command("import")
@click.argument("file", type=click.Path(path_type=Path))
@org_command
@click.option(
    "--map", "mappings", multiple=True, metavar="COLUMN=FIELD",
    help=f"Say what a column holds; repeatable; wins over known headings. FIELD: {', '.join(FIELDS)}.",
)  # fmt: skip
@click.option(
    "--preset", type=click.Choice(list(PRESETS)), help="Whose export it is, where the heading does not show it."
)
@click.option("--platform", help="The ad platform of the file's campaigns [default: the preset's].")
@click.option(
    "--encoding", type=click.Choice([encoding.value for encoding in Encoding]), help="Where the bytes do not show it."
)
@click.option(
    "--date-order", type=click.Choice([order.value for order in DateOrder]), help="Where the dates do not show it."
)
@click.option(
    "--decimal", type=click.Choice([mark.value for mark in DecimalMark]), help="Where the numbers do not show it."
)
@click.option("--replace", is_flag=True, help="Restate days that differ; the old values are kept for replay.")
@click.option("--strict", is_flag=True, help="Refuse the whole file if any row is rejected.")
def import_command(
    *,
    file: Path,
    org_ref: str,
    user_id: str | None,
    as_json: bool,
    mappings: tuple[str, ...],
    preset: str | None,
    platform: str | None,
    encoding: str | None,
    date_order: str | None,
    decimal: str | None,
    replace: bool,
    strict: bool,
) -> None:
    """Import an ads export (CSV up to 64 MiB) into an org.

    Understands the headings of Meta Ads Manager, of Google Ads (downloads and the API's field names) and generic ones
    (campaign, date, spend, impressions, clicks, conversions, revenue ...), ISO and day-first dates, decimal comma or
    point, UTF-8, UTF-16 and Windows-1252. Rows of any level are summed to campaign and day. New campaigns become
    active. A repeated import changes nothing; days that differ from the stored ones are reported and left unless
    --replace. Rows that cannot be read are rejected with their line, the rest is imported.

    Example: cmis metrics import ads.csv --org acme --map fb_campaign_id=campaign --map Total_Conversion=conversions
    """
    options = partial(
        ReadOptions,
        mapping=parse_mapping(mappings),
        platform=platform,
        mark=DecimalMark(decimal) if decimal else None,
        order=DateOrder(date_order) if date_order else None,
        strict=strict,
        encoding=Encoding(encoding) if encoding else None,
        preset=PRESETS[preset] if preset else None,
    )
    with open_org(org_ref, user_id) as session, _bars() as bar:
        target = Target(session.database, session.context, session.org.timezone)
        reading = read_export(file, options(latest_day(target)), bar("reading"))
        written = write_metrics(target, reading.sums, replace=replace, progress=bar("writing"))
    report = build_report(reading, written)
    if as_json:
        emit_json(report)
    else:
        _print_report(report)


def build_report(reading: Reading, written: Written) -> dict[str, Any]:
    """Return what an import did as one JSON object; metrics that the file does not report are null."""
    days = {day for _, day in reading.sums.days}
    return {
        "rows_read": reading.rows_read,
        "rows_rejected": reading.rows_rejected,
        "rejected": [{"line": rejection.line, "reason": rejection.reason} for rejection in reading.rejections],
        "preset": reading.layout.preset.name,
        "encoding": reading.encoding,
        "columns": reading.layout.columns,
        "notes": list(reading.notes),
        "campaigns": len(reading.sums.campaigns),
        "campaigns_created": written.campaigns_created,
        "days": len(days),
        "first_day": min(days),
        "last_day": max(days),
        "campaign_days": {
            "inserted": written.inserted,
            "unchanged": written.unchanged,
            "replaced": written.replaced,
            "conflicts": written.conflicts,
        },
        "conflicts": [_conflict(conflict) for conflict in written.conflict_samples],
        "totals": reading.sums.totals(),
    }


def _conflict(conflict: Conflict) -> dict[str, Any]:
    differing = [
        metric
        for metric in METRICS
        if conflict.given[metric] is not None and conflict.given[metric] != conflict.stored[metric]
    ]
    return {
        "campaign": conflict.campaign.external_id,
        "date": conflict.day,
        "stored": {metric: conflict.stored[metric] for metric in differing},
        "file": {metric: conflict.given[metric] for metric in differing},
    }


def _print_report(report: dict[str, Any]) -> None:
    days = report["campaign_days"]
    totals = {metric: f"{value:,.2f}" for metric, value in report["totals"].items() if value is not None}
    show_fields(
        "Import",
        {
            "rows": f"{report['rows_read']:,} read, {report['rows_rejected']:,} rejected",
            "read as": f"{report['preset']}, {report['encoding']}",
            "columns": ", ".join(f"{field} ← {column}" for field, column in report["columns"].items()),
            "campaigns": f"{report['campaigns']:,}, of them {report['campaigns_created']:,} new",
            "days": f"{report['days']:,}, {report['first_day']} to {report['last_day']}",
            "campaign-days": ", ".join(f"{count:,} {what}" for what, count in days.items()),
            **{f"total {metric}": value.removesuffix(".00") for metric, value in totals.items()},
        },
    )
    for note in report["notes"]:
        out.print(f"note: {note}", markup=False)
    if report["rows_rejected"]:
        rows = report["rejected"][:_SHOWN]
        show_rows(f"Rejected rows ({_of(len(rows), report['rows_rejected'])})", rows, ["line", "reason"])
    if days["conflicts"]:
        shown = report["conflicts"][:_SHOWN]
        title = f"Stored otherwise, left as they are; --replace restates ({_of(len(shown), days['conflicts'])})"
        show_rows(title, shown, ["campaign", "date", "stored", "file"])


def _of(shown: int, total: int) -> str:
    return f"{total:,}" if shown == total else f"first {shown} of {total:,}"


@contextmanager
def _bars() -> Iterator[Callable[[str], Callable[[int, int], None]]]:
    """Show progress bars on stderr; yields a function that adds one and returns its `(done, total)` callback."""
    columns = TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TimeElapsedColumn()
    with Progress(*columns, console=err, transient=False) as progress:

        def add(description: str) -> Callable[[int, int], None]:
            task = progress.add_task(description, total=None)
            return lambda done, total: progress.update(task, completed=done, total=total)

        yield add
