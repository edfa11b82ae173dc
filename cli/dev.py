"""`cmis dev`: the product on this machine, with servers of its own."""

from __future__ import annotations

import os
import re
import sys
from pathlib import Path

import click

from core.errors import InputError, SetupError
from dev.clock import advance_clock
from dev.durations import parse_duration
from dev.run import run
from dev.site import ROOT
from dev.up import up

_INTERRUPTED = 130
_FLEET = re.compile(r"(\d{1,2}),(\d{1,2})")


def _parse_fleet(text: str) -> tuple[int, int]:
    numbers = _FLEET.fullmatch(text)
    if numbers is None:
        raise InputError.of("--fleet", f"{text!r} is not WORKERS,SCHEDULERS", "two numbers up to 99, for example 2,1")
    return int(numbers[1]), int(numbers[2])


@click.group()
def dev() -> None:
    """Develop and try out: embedded servers, throw-away or kept."""


@dev.command("run", context_settings={"allow_interspersed_args": False})
@click.option("--demo", is_flag=True, help="Load the demo data first.")
@click.option(
    "--fleet", default="0,0", metavar="WORKERS,SCHEDULERS", help="Run that many processes beside the command."
)
@click.argument("command", nargs=-1, type=click.UNPROCESSED, required=True)
def run_command(demo: bool, fleet: str, command: tuple[str, ...]) -> None:
    """Run COMMAND against fresh, migrated, throw-away servers.

    It runs in the current directory with DATABASE_URL, SCHEDULER_DATABASE_URL, READONLY_DATABASE_URL,
    MIGRATION_DATABASE_URL and BROKER_URL set; CMIS_DEV_PIDS names a JSON file with the pids of --fleet. Its exit code
    is ours. Where DATABASE_URL or BROKER_URL is set already, the throw-away database is made on that server.

    Example: cmis dev run --fleet 2,1 -- python my_script.py
    """
    workers, schedulers = _parse_fleet(fleet)
    try:
        code = run(command, demo=demo, workers=workers, schedulers=schedulers)
    except KeyboardInterrupt:
        code = _INTERRUPTED
    sys.exit(code)


@dev.command("up")
@click.option(
    "--data",
    type=click.Path(file_okay=False, path_type=Path),
    default=ROOT / ".dev",
    show_default=".dev in the repository",
    help="Where the embedded servers keep their data.",
)
def up_command(data: Path) -> None:
    """Run the whole product until Ctrl-C: servers, migrations, the demo org, the Procfile's processes."""
    try:
        code = up(data.resolve())
    except KeyboardInterrupt:
        code = _INTERRUPTED
    sys.exit(code)


@dev.group("clock")
def clock_group() -> None:
    """Move the product's clock in tests."""


@clock_group.command("advance")
@click.argument("duration")
def advance_command(duration: str) -> None:
    """Move the clock forward by DURATION (3d, 6h, 90m, 45s, 1d12h) for every process on this database."""
    step = parse_duration(duration)
    if os.environ.get("CMIS_TEST_CLOCK") != "1":
        raise SetupError(
            "the clock may be moved in tests only", "set CMIS_TEST_CLOCK=1 for this and every other process"
        )
    administrator = os.environ.get("MIGRATION_DATABASE_URL")
    if not administrator:
        raise SetupError("MIGRATION_DATABASE_URL is not set", "run through `cmis dev run`, or set it")
    click.echo(f"it is now {advance_clock(administrator, step).isoformat()}")
