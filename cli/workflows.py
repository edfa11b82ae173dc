"""`cmis workflows`: step graphs and their runs. Each verb stands in a module of its own kind."""

from __future__ import annotations

import click

from cli.workflow_approve import approve_command
from cli.workflow_callables import callables_command
from cli.workflow_control import cancel_command, pause_command, resume_command, retry_command, skip_command
from cli.workflow_define import publish_command, save_command, update_command, validate_command
from cli.workflow_draw import draw_command
from cli.workflow_event import event_command
from cli.workflow_fork import fork_command, migrate_command
from cli.workflow_instances import instances_command
from cli.workflow_share import activate_command, archive_command, clone_command, share_command
from cli.workflow_show import list_command, schema_command, show_command
from cli.workflow_start import start_command


@click.group()
def workflows() -> None:
    """Workflows: graphs of steps, published as versions, and run as instances. TEMPLATE is an id or an exact name."""


for command in (
    activate_command,
    approve_command,
    archive_command,
    callables_command,
    cancel_command,
    clone_command,
    draw_command,
    event_command,
    fork_command,
    instances_command,
    list_command,
    migrate_command,
    pause_command,
    publish_command,
    resume_command,
    retry_command,
    save_command,
    schema_command,
    share_command,
    show_command,
    skip_command,
    start_command,
    update_command,
    validate_command,
):
    workflows.add_command(command)
