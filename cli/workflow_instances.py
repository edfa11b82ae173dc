"""`cmis workflows instances`, and the half of `show` that is about one run."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final
from uuid import UUID

import click

from cli.arguments import limit_option
from cli.output import emit_json, rows_as_dicts
from cli.session import open_org, org_command
from cli.tables import cut, show_fields, show_rows
from engine.find import find_template
from engine.store import instance_lists, step_effects
from engine.workflows.progress import progress
from models.workflow_enums import InstanceStatus, StepStatus

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from sqlalchemy import Connection

_COLUMNS: Final = [
    "instance_id",
    "template",
    "version",
    "status",
    "progress",
    "current_step",
    "trigger_type",
    "created_at",
]
_STEPS: Final = ["step_id", "type", "status", "attempt", "branch_taken", "started_at", "duration_ms", "waits", "said"]
_EFFECTS: Final = ["action_id", "step_id", "type", "status", "entity_id", "error"]
_OTHERS: Final = ["instance_id", "relation", "step_id", "status", "created_at"]
_COUNTS: Final = ("steps_total", "steps_completed", "steps_failed", "steps_skipped", "steps_cancelled")
_ABOUT: Final = (
    "instance_id",
    "template",
    "version",
    "status",
    "progress",
    "current_step",
    "pause_note",
    "error",
    "trigger_type",
    "triggered_by",
    "parent_instance_id",
    "forked_from",
    "job_id",
    "event_id",
    "created_at",
    "started_at",
    "finished_at",
    "duration_ms",
    "timeout_at",
)


@click.command("instances")
@org_command
@click.option("--template", metavar="TEMPLATE", help="Only of this workflow (id or exact name).")
@click.option("--status", type=click.Choice([each.value for each in InstanceStatus]), help="Only in this state.")
@limit_option(50)
def instances_command(
    *, org_ref: str, user_id: str | None, as_json: bool, template: str | None, status: str | None, limit: int
) -> None:
    """List runs of workflows, newest first; `show` shows one.

    Example: cmis workflows instances --org acme --template "Nurture leads" --status running
    """
    with open_org(org_ref, user_id) as session, session.database.transaction(session.context) as connection:
        org_id = session.org.org_id
        wanted = None if template is None else find_template(connection, org_id, template, "--template").template_id
        found = instance_lists.listing(connection, org_id, template_id=wanted, status=status, limit=limit + 1)
    rows = [_with_progress(row) for row in cut(rows_as_dicts(found), limit)]
    if as_json:
        emit_json(rows)
    else:
        told = [row | {"progress": f"{row['progress']} %"} for row in rows]
        show_rows("Runs", told, _COLUMNS, hint="`cmis workflows start` starts one.")


def show_instance(connection: Connection, org_id: UUID, reference: str, *, outputs: bool, as_json: bool) -> bool:
    """Print the run of this id; False if there is none."""
    try:
        instance_id = UUID(reference)
    except ValueError:
        return False
    row = instance_lists.get(connection, org_id, instance_id)
    if row is None:
        return False
    about = _with_progress(rows_as_dicts([row])[0])
    steps = rows_as_dicts(instance_lists.steps(connection, org_id, instance_id, outputs=outputs))
    effects = rows_as_dicts(step_effects.listing(connection, org_id, instance_id))
    others = [_related(other, instance_id) for other in instance_lists.descendants(connection, org_id, instance_id)]
    if as_json:
        emit_json(about | {"steps": steps, "effects": effects, "others": others})
    else:
        _print(about, steps, outputs=outputs)
        if effects:
            show_rows("Effects", effects, _EFFECTS)
        if others:
            show_rows("Runs that it started, and forks of it", others, _OTHERS)
    return True


def _with_progress(row: dict[str, Any]) -> dict[str, Any]:
    counts = {"total": row["steps_total"], "completed": row["steps_completed"], "skipped": row["steps_skipped"]}
    return row | {"progress": progress(row["status"], **counts)}


def _related(row: Any, instance_id: UUID) -> dict[str, Any]:
    forked = row.forked_from == instance_id
    return {
        "instance_id": row.instance_id,
        "relation": "fork" if forked else "child",
        "step_id": row.parent_step_id,
        "status": row.status,
        "created_at": row.created_at,
    }


def _print(about: Mapping[str, Any], steps: Sequence[Mapping[str, Any]], *, outputs: bool) -> None:
    shown = {name: about[name] for name in _ABOUT if about[name] is not None}
    shown["progress"] = f"{about['progress']} %"
    shown["steps"] = ", ".join(f"{about[name]} {name.removeprefix('steps_')}" for name in _COUNTS if about[name])
    shown |= {"context_data": about["context_data"]}
    shown |= {"output_data": about["output_data"]} if about["output_data"] else {}
    show_fields(f"Run of {about['template']}", shown)
    columns = [*_STEPS, "input_data", "output_data"] if outputs else _STEPS
    show_rows("Steps", [_told(step) for step in steps], columns)


def _told(step: Mapping[str, Any]) -> dict[str, Any]:
    """Return a step with what it waits for until when, and what was said of it, each in one cell."""
    error, note = step["error"], step["note"]
    said = [text for text in (None if error is None else f"{error['code']}: {error['message']}", note) if text]
    return {**step, "waits": _waits(step), "said": "; ".join(said) or None}


def _waits(step: Mapping[str, Any]) -> str | None:
    until = None if step["wake_at"] is None else f"{step['wake_at']:%Y-%m-%d %H:%M:%S}Z"
    if step["status"] == StepStatus.RETRYING:
        return f"attempt {step['attempt'] + 1} at {until}"
    if step["status"] != StepStatus.WAITING:
        return None
    what = {
        "event": f"event {step['event_type']}" + (f" with {step['correlation']}" if step["correlation"] else ""),
        "effect": f"effect {step['action_id']}",
        "instance": f"run {step['child_instance_id']}",
    }.get(step["waits_for"], step["waits_for"])
    return what if until is None else f"{what} until {until}"
