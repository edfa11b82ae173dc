"""`cmis workflows start`: begin a run."""

from __future__ import annotations

from dataclasses import asdict, replace
from typing import TYPE_CHECKING

import click

from cli.output import emit_json, out
from cli.session import open_org, org_command
from cli.workflow_arguments import context_of, hand_of
from core.errors import TransientError
from engine.control_workflows.begin import begin, wait

if TYPE_CHECKING:
    from engine.control_workflows.steering import Steered


@click.command("start")
@click.argument("template")
@org_command
@click.option("--context", metavar="JSON|@FILE", help="An object of at most 256 KiB that its steps see [default: {}].")
@click.option("--idempotency-key", "key", help="Started again with this key and context it is the same run.")
@click.option("--version", type=click.IntRange(1), metavar="N", help="This published version; default: the latest.")
@click.option("--wait", "seconds", type=click.IntRange(1, 3600), help="Wait so many seconds for its end.")
def start_command(
    *,
    template: str,
    org_ref: str,
    user_id: str | None,
    as_json: bool,
    context: str | None,
    key: str | None,
    version: int | None,
    seconds: int | None,
) -> None:
    """Start a run of an active TEMPLATE, left to the workers. Needs the role operator.

    Example: cmis workflows start "Nurture leads" --org acme --context '{"lead": {"name": "Ada"}}' --wait 60
    """
    document = context_of(context)
    with open_org(org_ref, user_id) as session:
        hand = hand_of(session)
        done = begin(hand, template, {} if document is None else document, version=version, idempotency_key=key)
        if seconds is not None:
            ended = wait(hand, done.instance_id, seconds=seconds)
            if ended is None:
                raise TransientError(f"the run {done.instance_id} has not ended within {seconds} s: it goes on")
            done = replace(done, status=ended)
    _tell(done, as_json=as_json)


def _tell(done: Steered, *, as_json: bool) -> None:
    if as_json:
        emit_json(asdict(done))
        return
    said = "was started with this key before" if done.already else "started"
    out.print(f"run {done.instance_id} {said}: {done.status}", highlight=False, markup=False, soft_wrap=True)
    out.print(f"look at it: cmis workflows show {done.instance_id}", highlight=False, markup=False, soft_wrap=True)
