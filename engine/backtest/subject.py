"""What a backtest tries, read in one snapshot: the rule, its times, campaigns as they were, metrics as they came."""

from __future__ import annotations

from dataclasses import dataclass
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from core.errors import InputError
from engine import rule_document
from engine.backtest import planned
from engine.backtest.history import History, Observation
from engine.backtest.past import rolled_back
from engine.backtest.planned import Source
from engine.find import find_rule
from engine.rules.fields import BASE_METRICS, RATIOS
from engine.rules.guardrails import stored as guardrails
from engine.run_rules.compiled import whole_rule
from engine.run_rules.facts import spans
from engine.schedule.stored import of_row
from engine.schedule.zones import local_day, zone
from engine.store import backtest as store
from engine.store import orgs
from models.enums import JobStatus

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
    from datetime import date, datetime
    from uuid import UUID

    from sqlalchemy import Connection, Row

    from core.db import Context, Database
    from engine.backtest.past import PastCampaign
    from engine.backtest.planned import Time
    from engine.rules.tree import Operand
    from engine.run_rules.compiled import Rule

MAX_OBSERVATIONS: Final = 500_000
"""Campaign-days that are held in memory, at about a kilobyte each."""
_PAGE: Final = 20_000
"""About so many are read by one statement."""
_UNREADABLE: Final = JobStatus.FAILED.value  # its times cannot be computed

Progress: TypeAlias = "Callable[[int, int], None]"


@dataclass(frozen=True, slots=True)
class Question:
    """What to try: a stored rule by id or name, or the document of one; from `start` to `end` (aware)."""

    start: datetime
    end: datetime
    rule: UUID | str | None = None
    document: object = None
    cron: str | None = None
    """A schedule in place of the rule's own jobs."""
    shown: Operand | None = None
    """A metric that is wanted besides those that the rule reads."""


@dataclass(frozen=True, slots=True)
class Subject:
    """All that a replay needs."""

    rule: Rule
    stored: bool
    """Whether the rule is one of the org's; otherwise it is only a document."""
    start: datetime
    end: datetime
    timezone: str
    sources: tuple[Source, ...]
    times: tuple[Time, ...]
    campaigns: Mapping[UUID, PastCampaign]
    """As they were at `start`, by id; ascending."""
    rolled_back: int
    """How many of them were otherwise than they are now."""
    history: History
    never_touch: frozenset[UUID]
    org_id: UUID
    org_name: str


def read(database: Database, context: Context, question: Question, progress: Progress) -> Subject:
    """Read all that a question needs; the transaction is read-only. `progress` counts campaigns.

    Raises NotFoundError, and InputError for a rule, a span or a schedule that cannot be tried.
    """
    with database.snapshot(context) as connection:
        org = orgs.moment(connection, context.org_id)
        planned.check_span(question.start, question.end, org.now)
        row = _rule_row(connection, context, question, org.now)
        rule_document.refuse_event_rule(row.trigger_type, "RULE", "tried over stored metrics")
        rule = whole_rule(row, guardrails(org.guardrails))
        sources = tuple(_sources(connection, context.org_id, rule, question, org.timezone))
        times = tuple(planned.planned(sources, question.start, question.end))
        rows = store.campaigns(connection, context.org_id, rule.entity_id)
        changes = store.changes(connection, context.org_id, rule.entity_id, since=question.start)
        campaigns = rolled_back(rows, changes)
        days = _days(rule, question, org.timezone)
        history = _history(connection, context.org_id, rule, question, days, list(campaigns), progress)
    now = rolled_back(rows, [])
    return Subject(
        rule,
        question.document is None,
        question.start,
        question.end,
        org.timezone,
        sources,
        times,
        campaigns,
        sum(now[campaign_id] != campaign for campaign_id, campaign in campaigns.items()),
        history,
        frozenset(org.never_touch),
        org.org_id,
        org.name,
    )


def _rule_row(connection: Connection, context: Context, question: Question, now: datetime) -> Any:
    """Return a stored rule's row; or of a document what its row would be, were it stored."""
    if question.document is None:
        if question.rule is None:
            raise InputError.of("RULE", "is required", "name a stored rule, or give a --file")
        return find_rule(connection, context.org_id, question.rule, "RULE")
    wanted = rule_document.read(question.document)
    rule_document.check_entity(connection, context.org_id, wanted.definition.entity_id)
    row = rule_document.new_row(wanted, context, now)
    return SimpleNamespace(**row, version=1, failures_in_a_row=0, acted_on=None, acted_today=0)


def _sources(connection: Connection, org_id: UUID, rule: Rule, question: Question, timezone: str) -> Iterator[Source]:
    if question.cron is not None:
        yield planned.tried(question.cron, timezone, question.start)
        return
    jobs = [] if question.document is not None else store.jobs_of(connection, org_id, rule.rule_id)
    own = [Source(of_row(job), job.job_id, job.name) for job in jobs if job.status != _UNREADABLE]
    yield from own or [planned.tried(planned.USUAL, timezone, question.start)]


def _metrics(rule: Rule, question: Question) -> tuple[str, ...]:
    """Return the base metrics that are read: by the conditions, by `min_sample`, for the picture and the totals."""
    wanted = {"spend", *rule.trust.min_sample}
    for operand in _operands(rule, question):
        ratio = RATIOS.get(operand.field)
        wanted |= {operand.field} if ratio is None else {ratio.numerator, ratio.denominator}
    return tuple(metric for metric in BASE_METRICS if metric in wanted)


def _operands(rule: Rule, question: Question) -> Iterable[Operand]:
    return rule.program.operands if question.shown is None else (*rule.program.operands, question.shown)


def _days(rule: Rule, question: Question, timezone: str) -> tuple[date, date]:
    """Return the first and the last day of which a metric can matter."""
    first, last = (local_day(moment, zone(timezone)) for moment in (question.start, question.end))
    return min([first, *(span[0] for span in spans(_operands(rule, question), first).values())]), last


def _history(
    connection: Connection,
    org_id: UUID,
    rule: Rule,
    question: Question,
    days: tuple[date, date],
    ids: Sequence[UUID],
    progress: Progress,
) -> History:
    found = store.count_observations(connection, org_id, rule.entity_id, days=days)
    if found > MAX_OBSERVATIONS:
        message = f"{found:,} campaign-days would have to be read"
        raise InputError.of("from", message, f"give a shorter span, of at most {MAX_OBSERVATIONS:,} campaign-days")
    metrics = _metrics(rule, question)
    observations: dict[UUID, list[Observation]] = {}
    known = question.start, question.end
    size = max(1, _PAGE * len(ids) // max(1, found))
    for start in range(0, len(ids), size):
        page = ids[start : start + size]
        for row in store.observations(connection, org_id, ids=(page[0], page[-1]), days=days, known=known):
            observations.setdefault(row.campaign_id, []).append(_observation(row, metrics))
        progress(start + len(page), len(ids))
    return History(metrics, observations)


def _observation(row: Row[Any], metrics: Sequence[str]) -> Observation:
    values = tuple(getattr(row, metric) for metric in metrics)
    return Observation(row.date.toordinal(), row.observed_at, row.superseded_at, values)
