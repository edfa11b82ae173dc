"""`cmis workflows approve`: answer what a run asks."""

from __future__ import annotations

import click

from cli.session import open_org, org_command
from cli.workflow_arguments import hand_of, instance_id_of, tell
from engine.control_workflows.approve import approve


@click.command("approve")
@click.argument("instance")
@click.argument("step")
@org_command
@click.option("--reject", is_flag=True, help="Say no.")
@click.option("--note", metavar="TEXT", help="What whoever looks at it should know; later steps can read it.")
def approve_command(
    *, instance: str, step: str, org_ref: str, user_id: str | None, as_json: bool, reject: bool, note: str | None
) -> None:
    """Answer the approval STEP of an INSTANCE. Needs the role that the step asks for: editor, unless it says otherwise.

    An answer is final. That of a paused run is kept until it goes on.

    Example: cmis workflows approve 01980000-0000-7000-8000-000000000000 review --org acme --note "go"
    """
    with open_org(org_ref, user_id) as session:
        done = approve(hand_of(session), instance_id_of(instance), step, approved=not reject, note=note)
    tell(done, f"step {step} is {'rejected' if reject else 'approved'}", as_json=as_json)
