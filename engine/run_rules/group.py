"""Run the evaluations of one org inside the chunk's transaction: lock, read, plan, lock what the plan touches, write.

One bad rule never fails its chunk: the whole wave is written in one savepoint, and only if that fails one by one.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final
from uuid import UUID

from sqlalchemy.exc import DBAPIError

from core import faults
from core.db import must_restart
from core.errors import TransientError
from engine.actions.registry import KINDS
from engine.retry import classify
from engine.run_rules.compiled import compile_rule
from engine.run_rules.facts import load
from engine.run_rules.plan import (
    Memory,
    Overlay,
    Run,
    close_gates,
    conflicting_versions,
    plan_page,
    rounds,
    touched,
)
from engine.run_rules.record import Carrier, Failed, error_document, write
from engine.schedule.zones import local_day, zone
from engine.store import campaigns, executions, orgs, rules

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from datetime import datetime

    from sqlalchemy import Connection, Row

    from engine.chunk import Item

logger = logging.getLogger(__name__)

PAGE: Final = 2_000
_PLANS: Final = 3
_LOWEST: Final = UUID(int=0)


@dataclass(slots=True)
class Wave:
    """Evaluations of different rules of one org, and what became of those that did not end with a plan."""

    carrier: Carrier
    items: Sequence[Item]
    now: datetime
    still_ours: Callable[[], None]
    failures: list[Failed] = field(default_factory=list)
    again: list[tuple[Item, BaseException]] = field(default_factory=list)


def run_wave(connection: Connection, wave: Wave) -> None:
    """Evaluate every item of the wave; afterwards each is recorded, or stands in `wave.again` to be retried."""
    try:
        with connection.begin_nested():
            _run(connection, wave, wave.items)
    except (DBAPIError, TransientError) as error:
        _raise_if_restart(error)
        logger.warning("a wave of %d rules failed, trying one by one", len(wave.items), exc_info=True)
        wave.failures.clear()
        wave.again.clear()
        for item in wave.items:
            _run_alone(connection, wave, item)


def waves(items: Sequence[Item]) -> Iterator[list[Item]]:
    """Split items so that no rule occurs twice in a wave: a second run must see the effects of the first."""
    rest = list(items)
    while rest:
        first = {item.rule_id: item for item in reversed(rest)}
        yield list(first.values())
        rest = [item for item in rest if first[item.rule_id] is not item]


def _run_alone(connection: Connection, wave: Wave, item: Item) -> None:
    try:
        with connection.begin_nested():
            _run(connection, wave, [item])
    except (DBAPIError, TransientError) as error:
        _raise_if_restart(error)
        if classify(error) == "transient":
            wave.again.append((item, error))
        else:
            logger.exception("rule %s failed", item.rule_id)
            record_failure(connection, wave.carrier, item, error, now=wave.now)


def record_failure(
    connection: Connection, carrier: Carrier, item: Item, error: BaseException, *, now: datetime
) -> None:
    """Write the execution of an item that ends in an error: its row, audit, counters and its occurrence's outcome."""
    row = rules.lock(connection, carrier.org_id, [item.rule_id])[0]
    memory = _memory(connection, carrier.org_id, orgs.get(connection, carrier.org_id), [], now=now)
    write(connection, carrier, [], [Failed(item, row.version, error_document(error))], memory)


def _raise_if_restart(error: Exception) -> None:
    if isinstance(error, DBAPIError) and must_restart(error):
        raise error


def _run(connection: Connection, wave: Wave, items: Sequence[Item]) -> None:
    org = orgs.get(connection, wave.carrier.org_id)
    rows = {row.rule_id: row for row in rules.lock(connection, wave.carrier.org_id, [item.rule_id for item in items])}
    memory = _memory(connection, wave.carrier.org_id, org, list(rows), now=wave.now)
    for attempt in range(_PLANS):
        runs = _prepare(wave, items, rows, org)
        overlays = _plan(connection, wave, runs, memory)
        ids = touched(runs)
        locked = campaigns.lock(connection, wave.carrier.org_id, ids) if ids else {}
        if not conflicting_versions(runs, locked, overlays):
            break
        logger.info("facts moved on while planning (%d), planning again", attempt + 1)
    else:
        message = "campaigns kept changing while their rules were planned"
        raise TransientError(message)
    for effects in rounds(runs):
        KINDS[effects[0].kind].apply(connection, wave.carrier.org_id, effects, now=wave.now)
    write(connection, wave.carrier, runs, wave.failures, memory)


def _memory(connection: Connection, org_id: UUID, org: Row[Any], rule_ids: Sequence[UUID], *, now: datetime) -> Memory:
    today = local_day(now, zone(org.timezone))
    last_acted = rules.cooldowns(connection, org_id, rule_ids)
    return Memory(now, today, last_acted, executions.held(connection, org_id, rule_ids, now=now))


def _prepare(wave: Wave, items: Sequence[Item], rows: dict[UUID, Row[Any]], org: Row[Any]) -> list[Run]:
    """Compile the rules, most urgent first; one that cannot be is a failure of its own."""
    runs = []
    wave.failures.clear()
    wave.again.clear()
    for item in items:
        row = rows[item.rule_id]
        try:
            faults.fail("rules.item")
            runs.append(Run(item, compile_rule(row, org.guardrails)))
        except TransientError as error:
            wave.again.append((item, error))
        except Exception as error:
            logger.exception("rule %s cannot be read", item.rule_id)
            wave.failures.append(Failed(item, row.version, error_document(error)))
    return sorted(runs, key=lambda run: (run.rule.rank, run.rule.rule_id))


def _plan(connection: Connection, wave: Wave, runs: list[Run], memory: Memory) -> list[Overlay]:
    for run in runs:
        close_gates(run, memory)
    overlays = []
    for rows in _pages(connection, wave, [run for run in runs if not run.stopped]):
        wave.still_ours()
        read = {operand for run in runs if not run.stopped for operand in run.rule.program.operands}
        overlay = Overlay(load(connection, wave.carrier.org_id, rows, read, now=memory.now, today=memory.today))
        overlays.append(overlay)
        for run in [run for run in runs if not run.stopped]:
            _plan_or_fail(wave, runs, run, overlay, memory)
    return overlays


def _plan_or_fail(wave: Wave, runs: list[Run], run: Run, overlay: Overlay, memory: Memory) -> None:
    try:
        plan_page(run, overlay, memory)
    except Exception as error:
        logger.exception("rule %s failed while it was planned", run.rule.rule_id)
        runs.remove(run)
        wave.failures.append(Failed(run.item, run.rule.version, error_document(error)))


def _pages(connection: Connection, wave: Wave, runs: list[Run]) -> Iterator[Sequence[Row[Any]]]:
    """Yield the campaigns that the rules look at, page by page: all of the org, or only those that rules name."""
    org_id = wave.carrier.org_id
    if not runs:
        return
    if all(run.rule.entity_id for run in runs):
        named = {run.rule.entity_id for run in runs if run.rule.entity_id}
        yield campaigns.some(connection, org_id, sorted(named))
        return
    after = _LOWEST
    while rows := campaigns.page(connection, org_id, after=after, limit=PAGE):
        yield rows
        after = rows[-1].campaign_id
