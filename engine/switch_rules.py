"""Activate, pause and archive rules: one, or many in one transaction, each once."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Literal

from core import clock
from core.db import repeat_on_conflict
from core.errors import ConflictError, InputError
from engine import rule_conflicts
from engine.find import find_rule
from engine.rules.reading import Problems
from engine.store import actions, jobs, rules
from models.enums import Role, RuleStatus

if TYPE_CHECKING:
    from collections.abc import Sequence
    from uuid import UUID

    from sqlalchemy import Connection, Row

    from core.db import Context, Database
    from engine.rule_conflicts import Clash

JOB_NOTE: Final = "its rule was archived"
"""Why the jobs of an archived rule are paused: they would find it inactive at each of their times, for ever."""


@dataclass(frozen=True, slots=True)
class Selection:
    """Rules by name or id, and all that have each of the given properties; `everything` = all but archived ones."""

    references: Sequence[UUID | str] = ()
    everything: bool = False
    status: str | None = None
    rule_type: str | None = None
    priority: str | None = None

    @property
    def filters(self) -> bool:
        """Whether it selects by more than names."""
        return self.everything or any(given is not None for given in (self.status, self.rule_type, self.priority))


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one rule: its row as it is now, and why where it was refused."""

    row: Row[Any]
    outcome: Literal["changed", "unchanged", "refused"]
    reason: str | None = None
    clashes: Sequence[Clash] = ()
    paused_jobs: Sequence[str] = ()


def switch_rule(
    database: Database, context: Context, reference: UUID | str, status: RuleStatus, *, strict: bool = False
) -> Outcome:
    """Give one rule a status; nothing happens if it has it already. Raises ConflictError where `switch` refuses."""
    [outcome] = switch_rules(database, context, Selection([reference]), status, strict=strict)
    if outcome.reason is not None:
        raise ConflictError.of("status", outcome.reason, "make a copy of it: `cmis rules duplicate`")
    return outcome


def switch_rules(
    database: Database, context: Context, selection: Selection, status: RuleStatus, *, strict: bool = False
) -> list[Outcome]:
    """Give rules a status in one transaction and return what became of each, in the order in which they were selected.

    An archived rule stays so, and a draft that no name and no status selects is not paused. The active jobs of rules
    that are archived are paused with them. Raises InputError with every reference that names no single rule; with
    `strict`, ConflictError if rules would be active that work against each other or against active ones. Nothing is
    changed then.
    """
    with database.transaction(context) as connection:
        selected = _select(connection, context.org_id, selection, status)
        others = rule_conflicts.active(connection, context.org_id) if status is RuleStatus.ACTIVE else []
    found: list[Clash] = []
    if status is RuleStatus.ACTIVE:
        rising = [row for row in selected if row.status not in {RuleStatus.ACTIVE, RuleStatus.ARCHIVED}]
        found = rule_conflicts.clashes([rule_conflicts.of_row(row) for row in rising], others)
    if strict:
        rule_conflicts.refuse(found)
    return repeat_on_conflict(lambda: _switch(database, context, [row.rule_id for row in selected], status, found))


def _select(connection: Connection, org_id: UUID, selection: Selection, status: RuleStatus) -> list[Row[Any]]:
    problems = Problems()
    rows = []
    for reference in selection.references:
        try:
            rows.append(find_rule(connection, org_id, reference, "RULE"))
        except InputError as error:
            problems.extend(error)
    problems.raise_if_any()
    if selection.filters:
        given = {"status": selection.status, "rule_type": selection.rule_type, "priority": selection.priority}
        matching = rules.matching(connection, org_id, **given)
        if status is RuleStatus.PAUSED and selection.status is None:
            # Drafts do not act, and whoever activates what was paused shall not set them going.
            matching = [row for row in matching if row.status != RuleStatus.DRAFT]
        rows += matching
    return list({row.rule_id: row for row in rows}.values())


def _switch(
    database: Database, context: Context, rule_ids: Sequence[UUID], status: RuleStatus, found: Sequence[Clash]
) -> list[Outcome]:
    with database.transaction(context) as connection:
        actions.require_role(connection, Role.OPERATOR)
        paused = _pause_jobs(connection, context.org_id, rule_ids) if status is RuleStatus.ARCHIVED else {}
        before = {row.rule_id: row.status for row in rules.lock(connection, context.org_id, rule_ids)}
        changed = [key for key in rule_ids if before[key] not in {status, RuleStatus.ARCHIVED}]
        rules.set_status(connection, context.org_id, changed, status.value)
        after = rules.some(connection, context.org_id, rule_ids)
    return [
        _outcome(after[key], status, changed=key in changed, clashes=found, paused_jobs=paused.get(key, ()))
        for key in rule_ids
    ]


def _pause_jobs(connection: Connection, org_id: UUID, rule_ids: Sequence[UUID]) -> dict[UUID, list[str]]:
    """Pause the rules' jobs, and say which: jobs come before rules in the order of locks."""
    names: dict[UUID, list[str]] = {}
    for job in jobs.pause_of_rules(connection, org_id, rule_ids, note=JOB_NOTE, now=clock.now(connection)):
        names.setdefault(job.rule_id, []).append(job.name)
    return names


def _outcome(
    row: Row[Any], status: RuleStatus, *, changed: bool, clashes: Sequence[Clash], paused_jobs: Sequence[str]
) -> Outcome:
    own = rule_conflicts.of_rule(clashes, row.rule_id)
    if changed:
        return Outcome(row, "changed", clashes=own, paused_jobs=paused_jobs)
    if row.status == status:
        return Outcome(row, "unchanged", paused_jobs=paused_jobs)
    return Outcome(row, "refused", f"the rule {row.name!r} is {row.status}")
