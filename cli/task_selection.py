"""Which tasks a command means: their states, kinds, queue, error, and whose they are."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import click

from cli.arguments import moment_at, parse_id, parse_moment
from core import clock
from core.errors import InputError
from engine.find import find_job, find_rule
from engine.store.task_lists import Wanted
from models.enums import Queue, TaskKind, TaskState

if TYPE_CHECKING:
    from collections.abc import Callable
    from uuid import UUID

    from sqlalchemy import Connection

    from cli.session import OrgSession

_STATES: Final = [state.value for state in TaskState]
_KINDS: Final = [kind.value for kind in TaskKind]
_QUEUES: Final = [queue.value for queue in Queue]


def filter_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """Add the filters, all of which must hold."""
    for option in (
        click.option("--until", metavar="TIME", help="Made before; as --since."),
        click.option("--since", metavar="TIME", help="Made since: 7d, 12h, or a date (and time)."),
        click.option("--error", "code", metavar="CODE", help="Only with this error code, such as LOST or TIMEOUT."),
        click.option("--instance", metavar="ID", help="Only of this run of a workflow."),
        click.option("--job", "job_ref", metavar="JOB", help="Only of this job (id or exact name)."),
        click.option("--rule", "rule_ref", metavar="RULE", help="Only of this rule (id or exact name)."),
        click.option("--queue", type=click.Choice(_QUEUES), help="Only of this queue."),
        click.option(
            "--kind", "kinds", type=click.Choice(_KINDS), multiple=True, help="Only of this kind; repeatable."
        ),
        click.option(
            "--state",
            "states",
            type=click.Choice(_STATES),
            multiple=True,
            help="In this state; repeatable [default: the dead letters, failed or dead and not dealt with].",
        ),
    ):
        function = option(function)
    return function


def wanted_of(connection: Connection, session: OrgSession, given: dict[str, Any]) -> Wanted:
    """Return what the filters say; raises NotFoundError for what they name, InputError for times that are none."""
    org_id, rule, job = session.org.org_id, given["rule_ref"], given["job_ref"]
    now, zone = clock.now(connection), session.org.timezone
    times = {
        name: None if given[name] is None else moment_at(parse_moment(f"--{name}", given[name], zone), now)
        for name in ("since", "until")
    }
    since, until = times["since"], times["until"]
    if since is not None and until is not None and since > until:
        raise InputError.of("--until", "is before --since", "give a later --until or an earlier --since")
    return Wanted(
        states=[TaskState(state) for state in dict.fromkeys(given["states"])],
        kinds=given["kinds"],
        queue=given["queue"],
        code=given["code"],
        rule_id=None if rule is None else find_rule(connection, org_id, rule, "--rule").rule_id,
        job_id=None if job is None else find_job(connection, org_id, job, "--job").job_id,
        instance_id=parse_id("--instance", given["instance"]),
        since=since,
        until=until,
    )


def task_id_of(text: str, option: str = "TASK") -> UUID:
    """Return the id of a task; raises InputError on `option`."""
    found = parse_id(option, text)
    if found is None:
        raise InputError.of(option, "is required", "see `cmis tasks list`")
    return found
