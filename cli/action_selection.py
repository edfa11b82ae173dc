"""Which effects a command means: those that are named, or all of an execution, an instance, a rule or a time."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final

import click

from cli.arguments import moment_at, parse_id, parse_moment
from core import clock
from core.errors import InputError
from engine import effects
from engine.actions.registry import PUSH
from engine.find import find_rule
from engine.store import actions as store
from engine.store import step_effects
from models.enums import ActionStatus

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from uuid import UUID

    from sqlalchemy import Connection

    from cli.session import OrgSession

_USUAL: Final = "30d"
_DECIDED_WITHIN: Final = timedelta(days=90)
"""How long before it was applied an effect may have been planned: it may have waited for approval."""


note_option = click.option("--note", metavar="TEXT", help="Why; it stays with the action and in the audit log.")


def selection_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """Add --execution, --instance, --rule, --since and --until."""
    for option in (
        click.option("--until", metavar="TIME", help="As --since [default: now]."),
        click.option("--since", metavar="TIME", help="7d, 12h, or a date (and time) [with --rule or --until: 30d]."),
        click.option("--rule", "rule_ref", metavar="RULE", help="All of this rule (id or exact name)."),
        click.option("--instance", metavar="ID", help="All of this run of a workflow."),
        click.option("--execution", metavar="ID", help="All of this execution."),
    ):
        function = option(function)
    return function


def selected(
    session: OrgSession,
    action_ids: Sequence[UUID],
    wanted: dict[str, str | None],
    status: ActionStatus = ActionStatus.SUCCEEDED,
    *,
    deliveries_only: bool = False,
) -> list[UUID]:
    """Return the effects that are meant, newest first; of a whole execution, rule or time only those of the status.

    `deliveries_only`: and of these only those that leave the database. Otherwise what tells connectors of changes is
    passed over: it follows the changes.

    The time is when they were applied, or, of what is held, when that was asked for.
    Raises InputError if nothing is said, or ids and a selection at once; NotFoundError for what does not exist.
    """
    given = [name for name, value in wanted.items() if value is not None]
    if bool(action_ids) == bool(given):
        message = "needs either ACTIONs or one of --execution, --instance, --rule, --since, --until"
        raise InputError.of("ACTION", message, "give the ids, or say which are meant")
    for whole in ("execution", "instance"):
        if wanted[whole] is not None and len(given) > 1:
            raise InputError.of(f"--{whole}", "is a selection of its own", "leave the others out")
    with session.database.transaction(session.context) as connection:
        if action_ids:
            rows = [effects.find(connection, session.org.org_id, action_id) for action_id in action_ids]
            newest = sorted(rows, key=lambda row: (row.finished_at or row.created_at, row.position), reverse=True)
            return [row.action_id for row in newest]
        matching = _matching(connection, session, wanted, status)
        return [row.action_id for row in matching if (row.channel is not None if deliveries_only else row.type != PUSH)]


def _matching(
    connection: Connection, session: OrgSession, wanted: dict[str, str | None], status: ActionStatus
) -> Sequence[Any]:
    org_id, zone, now = session.org.org_id, session.org.timezone, clock.now(connection)
    execution_id = parse_id("--execution", wanted["execution"])
    if execution_id is not None:
        return [row for row in store.of_execution(connection, org_id, execution_id) if row.status == status]
    instance_id = parse_id("--instance", wanted["instance"])
    if instance_id is not None:
        return [row for row in step_effects.listing(connection, org_id, instance_id)[::-1] if row.status == status]
    since = moment_at(parse_moment("--since", wanted["since"] or _USUAL, zone), now)
    until = moment_at(parse_moment("--until", wanted["until"], zone), now) if wanted["until"] else now
    if since > until:
        raise InputError.of("--until", "is before --since", "give a later --until or an earlier --since")
    rule = wanted["rule_ref"]
    matching = {"status": status.value}
    if rule is not None:
        matching["rule_id"] = find_rule(connection, org_id, rule, "--rule").rule_id
    rows = store.listing(connection, org_id, since=since - _DECIDED_WITHIN, until=until, matching=matching)
    return [row for row in rows if since <= (row.finished_at or row.created_at) <= until]
