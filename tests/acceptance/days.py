"""Past days lived through: orgs with the same campaigns and metrics, a clock that is set, schedulers and workers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, TypeAlias
from uuid import UUID

import psycopg

from engine.control_jobs import pause_job
from engine.define import insert_rule
from engine.define_jobs import create_job
from engine.ingest import Target, write_metrics

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from dev.site import Site
    from engine.backtest.run import Backtest
    from engine.imports.sums import CampaignKey, Sums
    from tests.world import Org, World

Planned: TypeAlias = tuple[dict[str, Any], str]
"""A rule's document, and its job's cron expression."""

ZONE: Final = "Europe/Berlin"
_EFFECTS: Final = """
SELECT e.scheduled_for, a.entity_id, a.position, a.type, a.status, a.before, a.after
  FROM cmis.automation_actions a JOIN cmis.automation_executions e USING (org_id, execution_id)
 WHERE a.org_id = :org_id ORDER BY e.scheduled_for, a.entity_id, a.position
"""
_RUNS: Final = """
SELECT scheduled_for, status, skip_reason FROM cmis.automation_executions WHERE org_id = :org_id ORDER BY scheduled_for
"""

_NEXT: Final = "SELECT min(next_run_at) FROM cmis.scheduled_jobs WHERE status = 'active'"

_LATER: Final = 4000
"""In this part of the time that has gone by: 22 s a day."""


def set_clock(site: Site, moment: datetime) -> None:
    """Set the product's clock of a test's database, backwards too, and make the partitions of that time."""
    with psycopg.connect(site.urls.migration) as connection:
        connection.execute("SELECT cmis.make_partitions(%s)", [moment])
        connection.execute("UPDATE cmis.clock_offset SET shift = %s - clock_timestamp()", [moment])


@dataclass(frozen=True)
class Stage:
    """An org with campaigns, and rules of it that live there, or never run."""

    org: Org
    rule_ids: tuple[UUID, ...]

    @classmethod
    def make(
        cls, world: World, name: str, rules: Sequence[Planned], keys: Sequence[CampaignKey], *, live: bool
    ) -> Stage:
        """Make an org, its campaigns, the rules and their jobs; these are paused unless they are to live."""
        org = world.org(name, ZONE)
        for number, key in enumerate(keys):
            values = {"platform": key.platform, "external_id": key.external_id, "name": key.external_id}
            budget = None if number % 10 == 9 else 100 + number % 7  # an action fails where there is none
            org.campaign({}, campaign_id=UUID(int=number + 1), budget=budget, bid_amount=2, currency="EUR", **values)
        made = []
        for rule, cron in rules:
            status = "active" if live else "paused"
            with world.app.transaction(org.context) as connection:
                made.append(insert_rule(connection, org.context, rule | {"status": status}).rule_id)
            job = create_job(world.app, org.context, {"rule": str(made[-1]), "cron_expression": cron})
            if not live:
                pause_job(world.app, org.context, job.job_id)
        return cls(org, tuple(made))

    def take_in(self, sums: Sums, *, replace: bool = False) -> None:
        """Import metrics at the present time."""
        target = Target(self.org.world.app, self.org.context, ZONE)
        write_metrics(target, sums, replace=replace, progress=lambda _done, _total: None)

    def lived(self) -> tuple[list[Any], list[Any]]:
        """Return what happened in it: effects, and how each run ended."""
        world = self.org.world
        effects = [tuple(row) for row in world.rows(_EFFECTS, org_id=self.org.id)]
        return effects, [tuple(row) for row in world.rows(_RUNS, org_id=self.org.id)]


def replayed(found: Backtest) -> tuple[list[Any], list[Any]]:
    """Return what a backtest says would have happened, as `Stage.lived` does."""
    happened = [(firing.time.at, one.effect) for firing in found.firings for one in firing.happened]
    effects = [
        (at, one.entity_id, one.position, one.kind, one.status, dict(one.before), dict(one.after))
        for at, one in happened
    ]
    runs = [(firing.time.at, firing.status.value, firing.skip_reason) for firing in found.firings]
    return sorted(effects, key=lambda effect: effect[:3]), runs


def live_until(world: World, start: datetime, end: datetime) -> None:
    """Go from one due time to the next, and let the scheduler and the workers do what is due.

    Each time they are a little later than the time before: what takes as long as from one planned time to another, to
    the second, is over then. If they were in time by chance, chance would decide.
    """
    while (due := world.one(_NEXT)) is not None and due <= end:
        set_clock(world.site, due + (due - start) / _LATER)
        while world.dispatch().jobs:
            pass
        world.run_all()
    set_clock(world.site, end)
