"""Run the evaluations of one org inside the chunk's transaction: lock, read, plan, lock what the plan touches, write.

One bad rule never fails its chunk: the whole wave is written in one savepoint, and only if that fails one by one.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Final
from uuid import UUID

from sqlalchemy.exc import DBAPIError

from core import driver, faults
from core.db import must_restart
from core.errors import InputError, PermanentError, TransientError
from engine import push
from engine.actions.registry import KINDS
from engine.actions.start_workflow import unstartable
from engine.lease import LostClaimError
from engine.retry import classify, out_of_time
from engine.rules.guardrails import stored as guardrails_of
from engine.run_rules.compiled import RANKS, compile_rule, idle_rule, unread
from engine.run_rules.ended import Carrier, Failed, error_document
from engine.run_rules.facts import load
from engine.run_rules.happened import Happened
from engine.run_rules.locking import MOVING, PLANS, facts_hold, remember
from engine.run_rules.plan import close_gates, plan_page, rounds
from engine.run_rules.record import write
from engine.run_rules.state import Memory, Overlay, Run
from engine.store import campaigns, events, rules
from models.enums import RuleStatus

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from datetime import datetime
    from decimal import Decimal

    from sqlalchemy import Connection, Row

    from engine.chunk import Item
    from engine.run_rules.compiled import Rule

logger = logging.getLogger(__name__)

PAGE: Final = 2_000
_LOWEST: Final = UUID(int=0)


@dataclass(frozen=True, slots=True)
class Wave:
    """Evaluations of different rules of one org, all of them restricted to one campaign or none.

    `still_ours` raises LostClaimError once the task was taken over.

    `now` dates what fails; what is evaluated has the time at which its rules were locked.
    """

    carrier: Carrier
    items: Sequence[Item]
    now: datetime
    still_ours: Callable[[], None]
    as_if_active: bool = False
    """Whether rules that are not active are tried as if they were."""

    @property
    def only(self) -> UUID | None:
        """The one campaign that is looked at; None = all that the rules are for."""
        return self.items[0].campaign_id if self.items else None


@dataclass(frozen=True, slots=True)
class Unfinished:
    """An evaluation that a passing error stopped: it left nothing behind and must be tried again."""

    item: Item
    error: Exception


@dataclass(slots=True)
class _Batch:
    """Evaluations on their way through one savepoint: to be planned, failed for good, to be tried again."""

    runs: list[Run] = field(default_factory=list)
    failures: list[Failed] = field(default_factory=list)
    unfinished: list[Unfinished] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class _Stored:
    """What was read for a wave: locked rules, definitions that this process did not know, events; each by its id."""

    rules: Mapping[UUID, Row[Any]]
    definitions: Mapping[UUID, Row[Any]]
    events: Mapping[UUID, Row[Any]]

    def event(self, event_id: UUID, rule: Rule) -> Happened:
        """Return an event as the rule reads it; raises PermanentError where it is forgotten."""
        if event_id not in self.events:
            message = f"the event {event_id} is forgotten"
            raise PermanentError(message)
        return Happened.of(self.events[event_id], rule.program.operands)


class _PlanError(Exception):
    """One rule's plan failed, by a defect of ours or of its definition."""

    def __init__(self, run: Run, cause: Exception) -> None:
        super().__init__(str(cause))
        self.run = run
        self.cause = cause


def run_wave(connection: Connection, wave: Wave) -> list[Unfinished]:
    """Evaluate every item of the wave; each is recorded afterwards, but for those that are returned."""
    try:
        with driver.savepoint(connection):
            return _run(connection, wave, wave.items)
    except Exception as error:  # noqa: BLE001 - whatever it was, it shows again below, at the rule that it comes from
        raise_if_over(error)
        shown = error_document(error)["message"]
        logger.warning("%d rules failed together, trying one by one: %s", len(wave.items), shown)
    tried = [_run_alone(connection, wave, item) for item in _most_urgent_first(connection, wave)]
    return [item for unfinished in tried for item in unfinished]


def waves(items: Sequence[Item]) -> Iterator[list[Item]]:
    """Split items so that no rule occurs twice in a wave: a second run must see the effects of the first.

    Items that are restricted to a campaign share a wave only with those of the same.
    """
    rest = list(items)
    while rest:
        only = rest[0].campaign_id
        first = {item.rule_id: item for item in reversed(rest) if item.campaign_id == only}
        yield list(first.values())
        if len(first) == len(rest):  # nearly always
            return
        rest = [item for item in rest if first.get(item.rule_id) is not item]


def record_failures(
    connection: Connection, carrier: Carrier, items: Sequence[Item], error: BaseException, *, now: datetime
) -> None:
    """Write the executions of items that end in an error: their rows, audit, counters and occurrences' outcomes.

    Rules are never deleted: an item whose rule there is not was made by nobody of ours, and leaves nothing.
    """
    nothing = Memory(now, now.date(), {}, set())  # a failure neither acts nor looks back, so that no zone matters
    for wave in waves(items):
        rows = {row.rule_id: row for row in rules.lock(connection, carrier.org_id, [item.rule_id for item in wave])}
        failed = [Failed.of(item, rows[item.rule_id], error) for item in wave if item.rule_id in rows]
        write(connection, carrier, [], failed, nothing)


def _run_alone(connection: Connection, wave: Wave, item: Item) -> list[Unfinished]:
    try:
        with driver.savepoint(connection):
            return _run(connection, wave, [item])
    except Exception as error:
        raise_if_over(error)
        if classify(error) == "transient":
            return [Unfinished(item, error)]
        logger.exception("rule %s failed", item.rule_id)
        record_failures(connection, wave.carrier, [item], error, now=wave.now)
        return []


def raise_if_over(error: Exception) -> None:
    """Raise what ends the whole transaction, and not one rule only: a lost claim, a conflict, no time left."""
    restart = isinstance(error, DBAPIError) and must_restart(error)
    if restart or isinstance(error, LostClaimError) or out_of_time(error):
        raise error


def _most_urgent_first(connection: Connection, wave: Wave) -> list[Item]:
    urgency = rules.priorities(connection, wave.carrier.org_id, [item.rule_id for item in wave.items])
    return sorted(wave.items, key=lambda item: (RANKS.get(urgency.get(item.rule_id, ""), len(RANKS)), item.rule_id))


def _run(connection: Connection, wave: Wave, items: Sequence[Item]) -> list[Unfinished]:
    org_id = wave.carrier.org_id
    rows = {row.rule_id: row for row in rules.lock(connection, org_id, [item.rule_id for item in items])}
    # Only now: a lock may be waited for, and no decision may be older than the effects of whoever held it.
    org, memory = remember(connection, org_id, list(rows))
    new = unread(org_id, rows.values())
    definitions = rules.definitions(connection, org_id, new) if new else {}
    stored = _Stored(rows, definitions, events.of_items(connection, org_id, items))
    for attempt in range(PLANS):
        batch = _prepare(wave, items, stored, org)
        actions = [action for run in batch.runs for action in run.rule.program.actions]
        memory.unstartable = unstartable(connection, org_id, actions)
        overlays = _plan(connection, wave, batch, memory)
        if facts_hold(connection, org_id, batch.runs, overlays, memory):
            break
        logger.info("facts moved on while planning (%d), planning again", attempt + 1)
    else:
        raise TransientError(MOVING)
    changed = [run.effects for run in batch.runs]
    push.queue(changed, [overlay.page.rows for overlay in overlays], org.connectors, now=memory.now)
    with driver.together(connection):
        write(connection, wave.carrier, batch.runs, batch.failures, memory)
    for effects in rounds(batch.runs):
        KINDS[effects[0].kind].apply(connection, org_id, effects, now=memory.now)
    if driver.is_aborted(connection):
        message = "an action took no notice of a statement that failed"
        raise PermanentError(message)
    return batch.unfinished


def _prepare(wave: Wave, items: Sequence[Item], stored: _Stored, org: Row[Any]) -> _Batch:
    """Compile the rules, most urgent first; one that cannot be is a failure of its own."""
    batch, guardrails = _Batch(), guardrails_of(org.guardrails)
    for item in items:
        row, definition = stored.rules[item.rule_id], stored.definitions.get(item.rule_id)
        try:
            faults.fail("rules.item")
            rule = compile_rule(org.org_id, row, definition, guardrails)
            event = None if item.event_id is None else stored.event(item.event_id, rule)
            active = replace(rule, status=RuleStatus.ACTIVE) if wave.as_if_active else rule
            batch.runs.append(Run(item, active, event))
        except TransientError as error:
            batch.unfinished.append(Unfinished(item, error))
        except InputError as error:
            if row.status != RuleStatus.ACTIVE and definition is not None and not wave.as_if_active:
                batch.runs.append(Run(item, idle_rule(row, definition, guardrails)))
                continue
            logger.warning("rule %s cannot be read: %s", item.rule_id, error)
            batch.failures.append(Failed.of(item, row, error))
        except Exception as error:
            raise_if_over(error)
            logger.exception("rule %s cannot be read", item.rule_id)
            batch.failures.append(Failed.of(item, row, error))
    batch.runs.sort(key=lambda run: (run.rule.rank, run.rule.rule_id.int))
    return batch


def _plan(connection: Connection, wave: Wave, batch: _Batch, memory: Memory) -> list[Overlay]:
    """Plan all rules. One whose plan fails is taken out and the rest planned afresh: none may see its effects."""
    while True:
        try:
            return _plan_pages(connection, wave, batch.runs, memory)
        except _PlanError as failed:
            rule = failed.run.rule
            logger.exception("rule %s failed while it was planned", rule.rule_id)
            batch.failures.append(Failed.of_run(failed.run, failed.cause))
            batch.runs = [Run(run.item, run.rule, run.event) for run in batch.runs if run is not failed.run]


def _plan_pages(connection: Connection, wave: Wave, runs: Sequence[Run], memory: Memory) -> list[Overlay]:
    for run in runs:
        close_gates(run, memory)
    net = dict(memory.net)
    overlays = _plan_events([run for run in runs if run.rule.about_event and not run.stopped], net, memory)
    going = [run for run in runs if not run.stopped and not run.rule.about_event]
    shared = {id(run.rule.program.operands): run.rule.program.operands for run in going if run.event is None}
    read = {operand for operands in shared.values() for operand in operands}
    for rows in _pages(connection, wave, going):
        wave.still_ours()
        page = load(connection, wave.carrier.org_id, rows, read, now=memory.now, today=memory.today)
        overlay = Overlay(page, net)
        overlays.append(overlay)
        for run in going:
            _plan_one(run, overlay, memory)
    return overlays


def _plan_events(runs: Sequence[Run], net: dict[str | None, Decimal], memory: Memory) -> list[Overlay]:
    """Plan the rules that are about events: each event is the only entity of a page."""
    overlays = []
    for run in runs:
        if run.event is not None:
            overlay = Overlay(run.event.page(memory.now, memory.today), net)
            overlays.append(overlay)
            _plan_one(run, overlay, memory)
    return overlays


def _plan_one(run: Run, overlay: Overlay, memory: Memory) -> None:
    try:
        plan_page(run, overlay, memory)
    except Exception as error:
        raise_if_over(error)
        raise _PlanError(run, error) from error


def _pages(connection: Connection, wave: Wave, runs: Sequence[Run]) -> Iterator[Sequence[Row[Any]]]:
    """Yield the campaigns that the rules look at, page by page: all of the org, or only those that rules name."""
    if not runs:
        return
    org_id = wave.carrier.org_id
    named = {run.rule.entity_id for run in runs} if wave.only is None else {wave.only}
    if None not in named:
        yield campaigns.some(connection, org_id, [one for one in named if one])
        return
    after = _LOWEST
    while rows := campaigns.page(connection, org_id, after=after, limit=PAGE):
        yield rows
        after = rows[-1].campaign_id
