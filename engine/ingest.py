"""Importing metrics: read the whole file first, then write campaigns and campaign-days in bounded transactions.

Campaigns are created `active`; their start is the file's first day of them, so that `days_running` has a meaning; a
known campaign is never changed. A day's first observation is dated to the day's end in the org's zone (or to now, if
the day has not ended), a restatement to its own time.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import date, datetime, time, timedelta
from functools import partial
from typing import TYPE_CHECKING, Final, TypeVar
from uuid import UUID

from core import clock
from core.db import Context, Database, repeat_on_conflict
from core.errors import ConflictError, Problem
from core.ids import uuid7
from engine.imports.columns import METRICS
from engine.imports.sums import CampaignKey, Sums, stored
from engine.schedule.zones import gap_end, instants, local_day, zone
from engine.store import actions, metrics
from models.enums import Role

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from decimal import Decimal
    from zoneinfo import ZoneInfo

    from sqlalchemy import Connection

ONE_TRANSACTION: Final = 20_000
"""A file of so many campaign-days or fewer is written in one transaction: all of it or nothing."""
CHUNK: Final = 5_000
"""Campaign-days per statement, and per transaction of a larger file, which a rerun completes after a failure."""
CAMPAIGN_CHUNK: Final = 1_000
"""Campaigns per statement: each fires the triggers of the audit log and of the budget ledger."""
MAX_CONFLICTS: Final = 100
_SHOWN_PROBLEMS: Final = 20

T = TypeVar("T")
DayKey = tuple[CampaignKey, date]


@dataclass(frozen=True, slots=True)
class Target:
    """Where an import goes: the org's database, whose transaction it is, and the org's time zone."""

    database: Database
    context: Context
    timezone: str


@dataclass(frozen=True, slots=True)
class Conflict:
    """A campaign-day that the file states otherwise than the database, and that was left as it is."""

    campaign: CampaignKey
    day: date
    stored: dict[str, Decimal | None]
    given: dict[str, Decimal | None]


@dataclass(slots=True)
class Written:
    """What an import did. Campaign-days are inserted, unchanged, replaced or in conflict; the sum is all of them."""

    campaigns_created: int = 0
    inserted: int = 0
    unchanged: int = 0
    replaced: int = 0
    conflicts: int = 0
    conflict_samples: list[Conflict] = field(default_factory=list)

    def add(self, other: Written) -> None:
        """Add what another transaction did; samples only up to MAX_CONFLICTS."""
        self.campaigns_created += other.campaigns_created
        self.inserted += other.inserted
        self.unchanged += other.unchanged
        self.replaced += other.replaced
        self.conflicts += other.conflicts
        self.conflict_samples += other.conflict_samples[: MAX_CONFLICTS - len(self.conflict_samples)]


def latest_day(target: Target) -> date:
    """Return the last day that can have metrics: tomorrow in the org's zone, since an ad account's may be ahead."""
    with target.database.transaction(target.context) as connection:
        now = clock.now(connection)
    return local_day(now, zone(target.timezone)) + timedelta(days=1)


def write_metrics(target: Target, sums: Sums, *, replace: bool, progress: Callable[[int, int], None]) -> Written:
    """Write the sums of a file; repeating it changes nothing more.

    Without `replace`, days that differ from the stored ones are reported as conflicts and left. `progress(done, total)`
    counts campaign-days. Raises ConflictError, having written nothing, where the file's currency is not a campaign's.
    """
    _check_currencies(target, sums)
    writer = _Writer(target, sums, replace=replace)
    keys, campaigns = sorted(sums.days), sorted(sums.campaigns)
    # Campaigns come first, all of them: a foreign key check that is planned while few exist scans them row by row.
    if len(keys) <= ONE_TRANSACTION:
        written = writer.transact(lambda connection, now: writer.write(connection, now, campaigns, keys))
        progress(len(keys), len(keys))
        return written
    written, ids = Written(), dict[CampaignKey, UUID]()
    for _, part in _parts(campaigns, CAMPAIGN_CHUNK):
        found, created = writer.transact(partial(writer.ensure_campaigns, keys=part))
        ids |= found
        written.campaigns_created += created
    for done, days in _parts(keys, CHUNK):
        written.add(writer.transact(partial(writer.write_days, ids=ids, keys=days)))
        progress(done, len(keys))
    return written


class _Writer:
    """Writes one transaction's campaign-days."""

    def __init__(self, target: Target, sums: Sums, *, replace: bool) -> None:
        self._target = target
        self._org_id = target.context.org_id
        self._zone = zone(target.timezone)
        self._sums = sums
        self._replace = replace
        self._day_ends: dict[date, datetime] = {}

    def transact(self, body: Callable[[Connection, datetime], T]) -> T:
        """Run `body` in a transaction of its own, at one time; again after a deadlock with another import."""

        def attempt() -> T:
            with self._target.database.transaction(self._target.context) as connection:
                actions.require_role(connection, Role.OPERATOR)
                return body(connection, clock.now(connection))

        return repeat_on_conflict(attempt)

    def write(
        self, connection: Connection, now: datetime, campaigns: Sequence[CampaignKey], keys: Sequence[DayKey]
    ) -> Written:
        """Write a whole file within one transaction."""
        written, ids = Written(), dict[CampaignKey, UUID]()
        for _, part in _parts(campaigns, CAMPAIGN_CHUNK):
            found, created = self.ensure_campaigns(connection, now, part)
            ids |= found
            written.campaigns_created += created
        for _, days in _parts(keys, CHUNK):
            written.add(self.write_days(connection, now, ids, days))
        return written

    def ensure_campaigns(
        self, connection: Connection, now: datetime, keys: Sequence[CampaignKey]
    ) -> tuple[dict[CampaignKey, UUID], int]:
        """Return the ids of `keys`, and how many of these campaigns had to be created."""
        known, created = _known(connection, self._org_id, keys), 0
        missing = [key for key in keys if key not in known]
        if missing:
            rows = [self._campaign(key, now) for key in missing]
            created = metrics.create_campaigns(connection, self._org_id, rows, now)
            known |= _known(connection, self._org_id, missing)  # another import may have made some of them
        return {key: campaign.campaign_id for key, campaign in known.items()}, created

    def write_days(
        self, connection: Connection, now: datetime, ids: Mapping[CampaignKey, UUID], keys: Sequence[DayKey]
    ) -> Written:
        """Write up to CHUNK campaign-days."""
        rows = [self._row(ids[key], key, day, now) for key, day in keys]
        written = Written(inserted=metrics.insert_days(connection, self._org_id, rows))
        if written.inserted < len(rows):
            if self._replace:
                written.replaced = metrics.restate_days(connection, self._org_id, rows, now)
            else:
                self._note_conflicts(written, metrics.differing_days(connection, self._org_id, rows), ids)
        written.unchanged = len(rows) - written.inserted - written.replaced - written.conflicts
        return written

    def _campaign(self, key: CampaignKey, now: datetime) -> metrics.Row:
        facts = self._sums.campaigns[key]
        return {
            "campaign_id": str(uuid7(now)),
            "name": facts.name or key.external_id,
            "platform": key.platform,
            "objective": facts.objective,
            "currency": facts.iso_currency,
            "external_id": key.external_id,
            "start_date": facts.first_day.isoformat(),
        }

    def _row(self, campaign_id: UUID, key: CampaignKey, day: date, now: datetime) -> metrics.Row:
        values = {
            metric: None if value is None else stored(metric, value)
            for metric, value in zip(METRICS, self._sums.days[key, day], strict=True)
        }
        if day not in self._day_ends:
            self._day_ends[day] = day_end(day, self._zone)
        return metrics.day_row(campaign_id, day, min(now, self._day_ends[day]), values)

    @staticmethod
    def _note_conflicts(
        written: Written, differences: Sequence[metrics.Difference], ids: Mapping[CampaignKey, UUID]
    ) -> None:
        written.conflicts = len(differences)
        shown = differences[:MAX_CONFLICTS]
        wanted = {difference.campaign_id for difference in shown}
        names = {campaign_id: key for key, campaign_id in ids.items() if campaign_id in wanted}
        written.conflict_samples = [
            Conflict(
                names[difference.campaign_id],
                difference.day,
                dict(zip(METRICS, difference.stored, strict=True)),
                dict(zip(METRICS, difference.given, strict=True)),
            )
            for difference in shown
        ]


def day_end(day: date, tz: ZoneInfo) -> datetime:
    """Return the instant (UTC) at which `day` ends in `tz`: the next local midnight, or where a gap skips it to."""
    midnight = datetime.combine(day + timedelta(days=1), time())
    return next(iter(instants(midnight, tz)), None) or gap_end(midnight, tz)


def _check_currencies(target: Target, sums: Sums) -> None:
    """Refuse to add money of one currency to a campaign that is kept in another."""
    problems = []
    for _, keys in _parts(list(sums.campaigns), CHUNK):
        with target.database.transaction(target.context) as connection:
            known = _known(connection, target.context.org_id, keys)
        for key, campaign in known.items():
            given = sums.campaigns[key].iso_currency
            if campaign.currency and given and campaign.currency != given:
                message = f"is kept in {campaign.currency}, but the file reports {given}"
                remedy = f"export it in {campaign.currency}, or import it with another --platform"
                problems.append(Problem(f"campaign {key.external_id}", message, remedy))
    if problems:
        raise ConflictError(problems[:_SHOWN_PROBLEMS])


def _known(
    connection: Connection, org_id: UUID, keys: Sequence[CampaignKey]
) -> dict[CampaignKey, metrics.KnownCampaign]:
    rows = metrics.known_campaigns(connection, org_id, [key._asdict() for key in keys])
    return {CampaignKey(*key): campaign for key, campaign in rows.items()}


def _parts(items: Sequence[T], size: int) -> Iterator[tuple[int, Sequence[T]]]:
    for start in range(0, len(items), size):
        part = items[start : start + size]
        yield start + len(part), part
