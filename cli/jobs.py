"""`cmis jobs`: when rules run and workflows start. Each verb stands in a module of its kind: define, control, look."""

from __future__ import annotations

import click

from cli.job_control import backfill_command, pause_command, resume_command, run_command
from cli.job_define import add_command, update_command
from cli.job_history import history_command
from cli.job_show import list_command, preview_command, show_command


@click.group()
def jobs() -> None:
    """Jobs: which rule runs when, when all of them do, or which workflow starts when. JOB is an id or an exact name."""


for command in (
    add_command,
    backfill_command,
    history_command,
    list_command,
    pause_command,
    preview_command,
    resume_command,
    run_command,
    show_command,
    update_command,
):
    jobs.add_command(command)
