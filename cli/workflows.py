"""`cmis workflows`: step graphs and their runs. Each verb stands in a module of its own kind."""

from __future__ import annotations

import click

from cli.workflow_callables import callables_command
from cli.workflow_define import publish_command, save_command, update_command, validate_command
from cli.workflow_event import event_command
from cli.workflow_share import activate_command, archive_command, clone_command, share_command
from cli.workflow_show import list_command, schema_command, show_command


@click.group()
def workflows() -> None:
    """Workflows: graphs of steps, published as versions, and run as instances. TEMPLATE is an id or an exact name."""


for command in (
    activate_command,
    archive_command,
    callables_command,
    clone_command,
    event_command,
    list_command,
    publish_command,
    save_command,
    schema_command,
    share_command,
    show_command,
    update_command,
    validate_command,
):
    workflows.add_command(command)
