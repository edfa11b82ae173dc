"""`cmis rules backtest`: what a rule would have done, as text, JSON and a picture."""

from __future__ import annotations

import re
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn

from cli.arguments import moment_at, parse_moment, read_json
from cli.backtest_text import print_backtest
from cli.output import emit_json, err
from cli.session import open_org, org_command
from cli.tables import plain
from core import clock
from core.errors import InputError
from engine.backtest.curve import curves, first_metric
from engine.backtest.picture import Heading, draw
from engine.backtest.report import document
from engine.backtest.run import run
from engine.backtest.subject import Question, read
from engine.rules.fields import METRIC_FIELDS
from engine.rules.tree import Operand, leaves
from engine.rules.windows import DEFAULT_WINDOW, Window
from engine.schedule.zones import zone

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from datetime import datetime
    from uuid import UUID

    from cli.session import OrgSession
    from engine.backtest.run import Backtest
    from engine.backtest.subject import Subject

_EVERY: Final = {"hourly": "0 * * * *", "daily": "0 9 * * *", "weekly": "0 9 * * mon", "monthly": "0 9 1 * *"}
_DATE: Final = re.compile(r"\d{4}-\d{2}-\d{2}")


@click.command("backtest")
@click.argument("rule", required=False)
@org_command
@click.option("--file", "path", metavar="FILE", help="Try the rule of a JSON file, which need not be stored.")
@click.option("--from", "start", default="30d", show_default=True, metavar="TIME", help="7d ago, or a date (and time).")
@click.option("--to", "end", default="0s", metavar="TIME", help="The same; a date is meant to its end [default: now].")
@click.option("--cron", metavar="EXPRESSION", help="Try it at these times, in the org's zone, instead of its jobs'.")
@click.option("--every", type=click.Choice(list(_EVERY)), help="The same in a word; at 09:00, weeks on Monday.")
@click.option("--picture", type=click.Path(path_type=Path, dir_okay=False), metavar="FILE", help="Draw an SVG, too.")
@click.option("--metric", type=click.Choice(sorted(METRIC_FIELDS)), help="What to draw [default: the rule's first].")
@click.option("--window", type=click.Choice([one.value for one in Window]), help="Over which days [default: last_7d].")
@click.option(
    "--campaign", "campaigns", multiple=True, help="Draw this one (id or exact name); up to 6 [default: by effects]."
)
def backtest_command(
    *,
    rule: str | None,
    org_ref: str,
    user_id: str | None,
    as_json: bool,
    path: str | None,
    start: str,
    end: str,
    cron: str | None,
    every: str | None,
    picture: Path | None,
    metric: str | None,
    window: str | None,
    campaigns: tuple[str, ...],
) -> None:
    """Try a RULE on stored metrics: what it would have done, had it been active. Nothing is written.

    It is evaluated at each time that its jobs plan in the span (a rule without a job: daily at 09:00), with its gates
    and guardrails, on campaigns as they were at the start and on what had been observed by each time.

    \b
    Examples:
      cmis rules backtest "Pause dear campaigns" --org acme --from 2026-01-01 --picture pause.svg
      cmis rules backtest --file rule.json --org acme --from 90d --every daily --json
    """  # noqa: D301 - \b is click's mark for lines that stay as they are
    _refuse_together(rule, path, cron, every)
    operand = _operand(metric, window)
    if picture is None and (operand is not None or campaigns):
        raise InputError.of("--picture", "is missing: the other options say what to draw", "name the file to draw")
    given = None if path is None else read_json("--file", path)
    with open_org(org_ref, user_id) as session, _bars() as bar:
        expression = cron if every is None else _EVERY[every]
        question = Question(*_span(session, start, end), rule=rule, document=given, cron=expression, shown=operand)
        tried = read(session.database, session.context, question, bar("reading"))
        shown, only = _drawn(tried, operand, campaigns) if picture is not None else (None, [])
        found = run(tried, bar("replaying"))
    if picture is not None and shown is not None:
        _write(picture, found, shown, only)
    if as_json:
        emit_json(document(found))
    else:
        print_backtest(found, session.org.name)


def _refuse_together(rule: str | None, path: str | None, cron: str | None, every: str | None) -> None:
    if (rule is None) == (path is None):
        raise InputError.of("RULE", "one rule is needed", "name a stored rule, or give a --file")
    if cron is not None and every is not None:
        raise InputError.of("--every", "means nothing beside --cron", "give one of them")


def _operand(metric: str | None, window: str | None) -> Operand | None:
    if metric is None:
        if window is not None:
            raise InputError.of("--window", "needs a --metric", "give both, or neither")
        return None
    return Operand(metric, Window(window or DEFAULT_WINDOW), explicit=True)


def _span(session: OrgSession, start: str, end: str) -> tuple[datetime, datetime]:
    """Return the span; the day of a bare date at its end is in it, as far as it is over."""
    timezone = session.org.timezone
    with session.database.transaction(session.context) as connection:
        now = clock.now(connection)
    last = moment_at(parse_moment("--to", end, timezone), now)
    if _DATE.fullmatch(end) and last <= now:
        following = last.astimezone(zone(timezone)).date() + timedelta(days=1)
        last = min(now, moment_at(parse_moment("--to", following.isoformat(), timezone), now) - timedelta(seconds=1))
    first = parse_moment("--from", start, timezone)
    return moment_at(first, now), last


def _drawn(tried: Subject, operand: Operand | None, references: Sequence[str]) -> tuple[Operand, list[UUID]]:
    """Return the metric to draw, and the campaigns if some are asked for by id or name."""
    shown = operand or first_metric(list(leaves(tried.rule.program.condition)))
    if shown is None:
        raise InputError.of("--picture", "needs a metric, and the rule reads none", "give a --metric")
    only = []
    for reference in references:
        found = [one.campaign_id for one in tried.campaigns.values() if reference in {str(one.campaign_id), one.name}]
        if not found:
            message = f"the rule looks at no campaign {plain(reference[:80])}"
            raise InputError.of("--campaign", message, "see `cmis campaigns list`")
        only += found
    return shown, only


def _write(path: Path, found: Backtest, shown: Operand, only: Sequence[UUID]) -> None:
    tried = found.subject
    tz = zone(tried.timezone)
    first, last = (f"{moment.astimezone(tz):%Y-%m-%d}" for moment in (tried.start, tried.end))
    acted, planned = found.totals.acted, found.totals.planned
    told = f"{first} to {last}, {tried.timezone} · acted at {acted:,} of {planned:,} planned times"
    heading = Heading(tried.rule.name, told, tried.start, tried.end, tz)
    try:
        path.write_text(draw(heading, curves(found, shown, only)), encoding="utf-8")
    except OSError as error:
        reason = (error.strerror or type(error).__name__).lower()
        raise InputError.of("--picture", f"{path} cannot be written: {reason}", "name another file") from error
    err.print(f"drawn: {plain(str(path))}", highlight=False, soft_wrap=True)


@contextmanager
def _bars() -> Iterator[Callable[[str], Callable[[int, int], None]]]:
    """Show progress on stderr, if that is a terminal; yields a function that adds a bar and returns its callback."""
    columns = TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TimeElapsedColumn()
    with Progress(*columns, console=err, transient=True, disable=not err.is_terminal) as progress:

        def add(description: str) -> Callable[[int, int], None]:
            task = progress.add_task(description, total=None)
            return lambda done, total: progress.update(task, completed=done, total=total)

        yield add
