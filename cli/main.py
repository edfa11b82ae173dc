"""Entry point of `cmis`: gathers the groups and turns errors into messages and exit codes.

Exit codes: 0 done, 1 the environment is wrong (or a bug), 2 the input is wrong.
"""

from __future__ import annotations

import sys

import click
from sqlalchemy.exc import DBAPIError

from cli.demo import demo
from cli.dev import dev
from cli.invariants import invariants
from cli.metrics import metrics
from cli.migrate import migrate
from cli.output import err
from core.db import explain
from core.errors import CmisError, InputError

EXIT_ENVIRONMENT = 1
EXIT_INPUT = 2


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
def cli() -> None:
    """CMIS Automation: rules, schedules and their executions, from the command line."""


for command in (demo, dev, invariants, metrics, migrate):
    cli.add_command(command)


def main() -> None:
    """Run the command line and exit with its code."""
    try:
        cli(standalone_mode=True)
    except InputError as error:
        for problem in error.problems:
            err.print(f"[bold red]error[/bold red] {problem}", markup=True, highlight=False, soft_wrap=True)
        sys.exit(EXIT_INPUT)
    except CmisError as error:
        err.print(f"[bold red]error[/bold red] {error}", highlight=False, soft_wrap=True)
        sys.exit(EXIT_ENVIRONMENT)
    except DBAPIError as error:
        err.print(f"[bold red]error[/bold red] {explain(error, 'DATABASE_URL')}", highlight=False, soft_wrap=True)
        sys.exit(EXIT_ENVIRONMENT)


if __name__ == "__main__":
    main()
