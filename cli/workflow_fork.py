"""`cmis workflows fork|migrate`: do a run anew from a step; move runs to another version."""

from __future__ import annotations

import sys
from dataclasses import asdict
from typing import TYPE_CHECKING, Final

import click

from cli.output import emit_json, err, out
from cli.session import open_org, org_command
from cli.tables import show_rows
from cli.workflow_arguments import context_of, hand_of, instance_id_of
from engine.control_workflows.fork import fork
from engine.control_workflows.migrate import MOST, Wanted, migrate

if TYPE_CHECKING:
    from engine.control_workflows.migrate import Move

_COLUMNS: Final = ["instance_id", "status", "version", "outcome", "reasons", "left_out", "begun"]
_REFUSED: Final = 2


@click.command("fork")
@click.argument("instance")
@org_command
@click.option("--from", "step", required=True, metavar="STEP", help="The step with which the new run begins.")
@click.option("--context", metavar="JSON|@FILE", help="Changes of the context (JSON merge patch): null removes a key.")
@click.option("--idempotency-key", "key", help="Forked again with this key and context it is the same run.")
@click.option("--note", metavar="TEXT", help="Why, for whoever looks at it.")
def fork_command(
    *,
    instance: str,
    org_ref: str,
    user_id: str | None,
    as_json: bool,
    step: str,
    context: str | None,
    key: str | None,
    note: str | None,
) -> None:
    """Start a new run of an INSTANCE's version at a STEP; what had ended before it is copied, with its outputs.

    INSTANCE, in any state, stays as it is; what had not ended in it beside STEP is done in the new run, too. Needs the
    role operator.

    Example: cmis workflows fork 01980000-0000-7000-8000-000000000000 --from send --context '{"to": "ada"}' --org acme
    """
    patch = context_of(context)
    with open_org(org_ref, user_id) as session:
        source = instance_id_of(instance)
        done = fork(hand_of(session), source, step, patch=patch, note=note, idempotency_key=key)
    if as_json:
        emit_json(asdict(done))
        return
    said = "was forked with this key before" if done.already else f"goes on from {step} of {source}"
    out.print(f"run {done.instance_id} {said}: {done.status}", highlight=False, markup=False, soft_wrap=True)


@click.command("migrate")
@click.argument("template")
@org_command
@click.option("--to", type=click.IntRange(1), required=True, metavar="N", help="The version to move to.")
@click.option("--from", "version", type=click.IntRange(1), metavar="N", help="Only runs of this version.")
@click.option("--instance", metavar="ID", help="Only this run.")
@click.option("--dry-run", is_flag=True, help="Only say which can be moved, and why others cannot.")
def migrate_command(
    *,
    template: str,
    org_ref: str,
    user_id: str | None,
    as_json: bool,
    to: int,
    version: int | None,
    instance: str | None,
    dry_run: bool,
) -> None:
    """Move the runs of a TEMPLATE that have not ended to another version, each by itself. Needs the role editor.

    A run can be moved if version N could have led to where it is: what is done follows from it, and what is under way
    is under way there, too. Those that cannot stay as they are; the exit code is 2 then.

    Example: cmis workflows migrate "Nurture leads" --to 3 --dry-run --org acme
    """
    wanted = Wanted(template, to, version, None if instance is None else instance_id_of(instance, "--instance"))
    with open_org(org_ref, user_id) as session:
        moves = migrate(hand_of(session), wanted, dry_run=dry_run)
    rows = [asdict(move) | {"outcome": _outcome(move)} for move in moves]
    if as_json:
        emit_json(rows)
    else:
        told = [row | {name: ", ".join(row[name]) or None for name in ("left_out", "begun")} for row in rows]
        told = [row | {"reasons": "; ".join(row["reasons"]) or None} for row in told]
        show_rows(f"Runs ({len(rows)})", told, _COLUMNS, hint="No run matches.")
    if len(moves) == MOST:
        err.print(f"{MOST} were looked at: call again for the others", highlight=False)
    if any(not move.can for move in moves):
        sys.exit(_REFUSED)


def _outcome(move: Move) -> str:
    if move.moved:
        return "moved"
    return "can be moved" if move.can else "stays"
