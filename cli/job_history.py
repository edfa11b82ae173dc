"""`cmis jobs history`: the ledger of a job, with a reason for each planned time that did not run."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import click

from cli.arguments import limit_option, moment_at, parse_moment
from cli.output import emit_json, rows_as_dicts
from cli.session import open_org, org_command
from cli.tables import cut, show_rows
from core import clock
from engine.find import find_job
from engine.ledger import history
from engine.schedule.due import ON_TIME
from engine.store import audit
from models.enums import Decision, Outcome

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime

    from sqlalchemy import Connection, Row

_COLUMNS: Final = ["scheduled_for", "until", "count", "origin", "decision", "reason", "outcome", "result"]
_FATES: Final = {
    Decision.BUFFERED: "waits until the open run has ended",
    Decision.COALESCED: "missed, and a later one stood for it",
    Decision.OVERLAP_SKIPPED: "a run was open",
    Decision.DST_SKIPPED: "the clocks left its time out (dst_gap skip)",
    Decision.MONTH_END_SKIPPED: "its month lacks the day (month_end skip)",
    Decision.CANCELLED: "the job was changed or paused before it could run",
}
_ENDS: Final = {
    Outcome.CANCELLED: "it was cancelled before it began",
    Outcome.LOST: "each worker that took it was lost",
}
_ENDS_OF_INSTANCES: Final = _ENDS | {Outcome.CANCELLED: "its instance was cancelled"}


@click.command("history")
@click.argument("job")
@org_command
@click.option("--since", default="30d", show_default=True, metavar="TIME", help="7d, 12h, or a date (and time).")
@click.option("--decision", type=click.Choice([one.value for one in Decision]), help="Only what was decided so.")
@limit_option(100)
def history_command(
    job: str, org_ref: str, user_id: str | None, as_json: bool, since: str, decision: str | None, limit: int
) -> None:
    """Show what became of each planned time of a JOB, newest first, and why those that did not run did not.

    The result of a run is its execution, optimisation or instance.

    Consecutive times of one fate are one row, from scheduled_for to until. A time without an offset is local to the
    job. Example: cmis jobs history "Pause dear campaigns" --org acme --since 7d --decision misfired
    """
    with open_org(org_ref, user_id) as session, session.database.transaction(session.context) as connection:
        row = find_job(connection, session.org.org_id, job, "JOB")
        now = clock.now(connection)
        start = moment_at(parse_moment("--since", since, row.timezone), now)
        rows = history(connection, row, since=start, now=now, decision=decision, limit=limit + 1)
        notes = _notes(connection, row, rows)
    shown = [{**one, "reason": reason(one, row, notes)} for one in cut(rows_as_dicts(rows), limit)]
    if as_json:
        emit_json(shown)
    else:
        results = [{**one, "result": one["instance_id"] or one["execution_id"]} for one in shown]
        show_rows(f"History of {row.name}", results, _COLUMNS, hint="A longer --since may show some.")


def reason(
    occurrence: Mapping[str, Any], job: Row[Any], notes: Sequence[tuple[datetime | None, str | None]]
) -> str | None:
    """Say in plain English why a planned time did not run, or its run left no result; None if it did."""
    match occurrence["decision"]:
        case Decision.RUN:
            ends = _ENDS if occurrence["instance_id"] is None else _ENDS_OF_INSTANCES
            return occurrence["reason"] or ends.get(occurrence["outcome"])
        case Decision.MISFIRED:
            on_time = min(job.misfire_grace_seconds, int(ON_TIME.total_seconds()))
            return f"more than {on_time if job.misfire == 'skip' else job.misfire_grace_seconds} s late"
        case Decision.PAUSED:
            decided = occurrence["decided_at"]
            note = next((text for until, text in notes if until is None or decided <= until), None)
            return "paused" if note is None else f"paused: {note}"
        case Decision.LIMIT_REACHED:
            return "max_executions was reached"
        case decision:
            return _FATES[Decision(decision)]


def _notes(connection: Connection, job: Row[Any], rows: Sequence[Row[Any]]) -> list[tuple[datetime | None, str | None]]:
    """Return the notes of the job's pauses since the first of these rows was written, in order, and until when."""
    paused = [row.decided_at for row in rows if row.decision == Decision.PAUSED]
    if not paused:
        return []
    gone = audit.pause_notes(connection, job.org_id, job.job_id, min(paused))
    return [*((row.until, row.note) for row in gone), (None, job.pause_note)]
