"""`cmis workflows pause|resume|cancel`: one run, several, or all that match; `retry|skip`: one of its steps."""

from __future__ import annotations

import sys
from dataclasses import asdict
from functools import partial
from typing import TYPE_CHECKING, Any, Final

import click

from cli.output import emit_json, err
from cli.session import open_org, org_command
from cli.tables import show_rows
from cli.workflow_arguments import hand_of, instance_id_of, tell
from core.errors import InputError
from engine.control_workflows import steps, switch
from engine.control_workflows.several import MOST, Selection, several
from models.workflow_enums import InstanceStatus

if TYPE_CHECKING:
    from collections.abc import Callable
    from uuid import UUID

    from engine.control_workflows.several import Each
    from engine.control_workflows.steering import Hand, Steered

_REFUSED: Final = 2
_COLUMNS: Final = ["instance_id", "outcome", "status", "reason"]
_STATES: Final = [InstanceStatus.PENDING.value, InstanceStatus.RUNNING.value, InstanceStatus.PAUSED.value]
_note_option = click.option("--note", metavar="TEXT", help="Why, for whoever looks at it.")


def _selecting(function: Callable[..., Any]) -> Callable[..., Any]:
    """Add what selects runs: ids, or filters that must all hold."""
    for option in (
        click.option("--status", type=click.Choice(_STATES), help="All in this state."),
        click.option("--template", metavar="TEMPLATE", help="All of this workflow that have not ended."),
        org_command,
        click.argument("instances", nargs=-1, metavar="[INSTANCE]..."),
    ):
        function = option(function)
    return function


@click.command("pause")
@_selecting
@_note_option
def pause_command(*, note: str | None, **asked: Any) -> None:
    """Let no further step of INSTANCEs begin until they are resumed. Needs the role operator.

    What is at work ends, delays keep their clock, subworkflows go on. Several, or all that match (1,000 a call), are
    told in a table: changed, unchanged, or refused with the reason (then the exit code is 2).

    \b
    Examples:
      cmis workflows pause 01980000-0000-7000-8000-000000000000 --org acme --note "until Monday"
      cmis workflows pause --template "Nurture leads" --status running --org acme
    """  # noqa: D301 - \b is click's mark for lines that stay as they are
    _each(lambda hand: partial(switch.pause, hand, note=note), "paused", **asked)


@click.command("resume")
@_selecting
def resume_command(**asked: Any) -> None:
    """Let paused INSTANCEs go on where they were; several and filters as in `pause`. Needs the role operator.

    One whose failed step waits for a person is refused: retry or skip the step.

    Example: cmis workflows resume 01980000-0000-7000-8000-000000000000 --org acme
    """
    _each(lambda hand: partial(switch.resume, hand), "resumed", **asked)


@click.command("cancel")
@_selecting
@click.option("--reason", metavar="TEXT", help="Why, for whoever looks at it.")
def cancel_command(*, reason: str | None, **asked: Any) -> None:
    """End INSTANCEs for good, and the subworkflows that they wait for; several and filters as in `pause`.

    What waits is cancelled at once, what is at work is asked to stop, what was done stays done. Needs the role
    operator.

    Example: cmis workflows cancel 01980000-0000-7000-8000-000000000000 --org acme --reason "the lead has bought"
    """
    _each(lambda hand: partial(switch.cancel, hand, reason=reason), "cancelled", **asked)


@click.command("retry")
@click.argument("instance")
@click.argument("step")
@org_command
@_note_option
def retry_command(
    *, instance: str, step: str, org_ref: str, user_id: str | None, as_json: bool, note: str | None
) -> None:
    """Try a STEP of an INSTANCE once more: one that failed and keeps it paused, or one that waits for its next attempt.

    A run that failed stays as it is: a fork from the STEP is made, once. Needs the role operator.

    Example: cmis workflows retry 01980000-0000-7000-8000-000000000000 send --org acme --note "their server is back"
    """
    with open_org(org_ref, user_id) as session:
        done = steps.retry(hand_of(session), instance_id_of(instance), step, note=note)
    tell(done, f"step {step} is tried again", as_json=as_json)


@click.command("skip")
@click.argument("instance")
@click.argument("step")
@org_command
@click.option("--reason", required=True, metavar="TEXT", help="Why, for whoever looks at it.")
@click.option(
    "--branch", metavar="LABEL", help="The way by which the run goes on; needed where there is more than one."
)
def skip_command(
    *,
    instance: str,
    step: str,
    org_ref: str,
    user_id: str | None,
    as_json: bool,
    reason: str,
    branch: str | None,
) -> None:
    """Let an INSTANCE go on as if a STEP were done: one that is queued, waits, is retrying, or failed and waited for.

    \b
    LABEL is next, true, false, case:0, default, branch:0, all, rejected, timeout: what the step's type has.
    Needs the role operator.
    Example: cmis workflows skip 01980000-0000-7000-8000-000000000000 ask --branch rejected --reason "away" --org acme
    """  # noqa: D301 - \b is click's mark for lines that stay as they are
    with open_org(org_ref, user_id) as session:
        done = steps.skip(hand_of(session), instance_id_of(instance), step, reason=reason, branch=branch)
    tell(done, f"step {step} is skipped", as_json=as_json)


def _each(
    verb: Callable[[Hand], Callable[[UUID], Steered]],
    past: str,
    *,
    instances: tuple[str, ...],
    template: str | None,
    status: str | None,
    org_ref: str,
    user_id: str | None,
    as_json: bool,
) -> None:
    ids = [instance_id_of(text) for text in instances]
    selection = Selection(ids, template, None if status is None else InstanceStatus(status))
    if not ids and not selection.filters:
        raise InputError.of("INSTANCE", "is required", "name runs, or give --template or --status")
    with open_org(org_ref, user_id) as session:
        hand = hand_of(session)
        if len(ids) == 1 and not selection.filters:
            tell(verb(hand)(ids[0]), past, as_json=as_json)
            return
        done, left = several(hand, selection, verb(hand))
    _print(done, as_json=as_json)
    if left:
        err.print(f"there are more: {MOST} were taken, call again for the others", highlight=False)
    if any(each.outcome == "refused" for each in done):
        sys.exit(_REFUSED)


def _print(done: list[Each], *, as_json: bool) -> None:
    rows = [asdict(each) for each in done]
    if as_json:
        emit_json(rows)
    else:
        show_rows(f"Runs ({len(rows)})", rows, _COLUMNS, hint="No run matches.")
