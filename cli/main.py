"""Entry point of `cmis`: gathers the groups and turns errors into messages and exit codes.

Exit codes: 0 done, 1 the environment is wrong (or a bug), 2 the input is wrong, 130 interrupted. A traceback is shown
with CMIS_DEBUG=1 only.
"""

from __future__ import annotations

import logging
import os
import re
import sys
from typing import Final

import click
from rich.markup import escape
from sqlalchemy.exc import DBAPIError

from cli.actions import actions
from cli.audit import audit
from cli.bundles import bundles
from cli.campaigns import campaigns
from cli.connectors import connectors
from cli.demo import demo
from cli.dev import dev
from cli.events import events
from cli.executions import executions
from cli.health import health
from cli.invariants import invariants
from cli.jobs import jobs
from cli.metrics import metrics
from cli.migrate import migrate
from cli.notifications import notifications
from cli.optimizations import optimizations, optimize_command
from cli.orgs import orgs
from cli.output import err
from cli.retention import retention
from cli.rules import rules
from cli.schedules import schedules
from cli.schedules_load import load_command
from cli.secrets import secrets
from cli.tasks import tasks
from cli.workflows import workflows
from core.commits import CommitUnknownError
from core.db import explain, first_line, sqlstate
from core.errors import CmisError, InputError, Problem, SetupError

EXIT_ENVIRONMENT: Final = 1
EXIT_INPUT: Final = 2
EXIT_INTERRUPTED: Final = 130

_FORBIDDEN: Final = "42501"
# What `cmis.init_transaction_context` says of a user whose context it refuses.
_NO_MEMBER: Final = re.compile(r"user \S+ is no active member of org|system actor \S+ may not act in org")
# What `cmis.require_role` says of one whose role is too small.
_LESSER: Final = re.compile(r"user \S+ is no (operator|editor|admin) of org")
_GUARDRAIL: Final = "CM010"
# Classes of errors that a wrong statement or wrong values make: bugs, whatever the environment is.
_BUGS: Final = ("0A", "21", "22", "23", "42")
_UNKNOWN: Final = (
    "the connection to DATABASE_URL ended during the commit, and nobody answers since: it may be done or not "
    "(look before you try again: `list` and `show` of the same group say)"
)
_NO_SCHEMA: Final = frozenset({"42P01", "42883"})


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
def cli() -> None:
    """CMIS Automation: rules, schedules and their executions, from the command line."""


for command in (
    actions,
    audit,
    bundles,
    campaigns,
    connectors,
    demo,
    dev,
    events,
    executions,
    health,
    invariants,
    jobs,
    metrics,
    migrate,
    notifications,
    optimizations,
    optimize_command,
    orgs,
    retention,
    rules,
    schedules,
    secrets,
    tasks,
    workflows,
):
    cli.add_command(command)
schedules.add_command(load_command)


def main() -> None:
    """Run the command line and exit with its code."""
    debug = os.environ.get("CMIS_DEBUG") == "1"
    _log_to_stderr(tracebacks=debug)
    try:
        code = cli(prog_name="cmis", standalone_mode=False)
    except click.Abort:
        sys.exit(EXIT_INTERRUPTED)
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except Exception as error:
        if debug:
            raise
        exit_code, lines = failure(error)
        for line in lines:
            err.print(f"[bold red]error[/bold red] {escape(line)}", highlight=False, soft_wrap=True)
        sys.exit(exit_code)
    sys.exit(code if isinstance(code, int) else 0)


def failure(error: Exception) -> tuple[int, list[str]]:
    """Return the exit code of an error and what to say of it, a line for each problem."""
    match error:
        case InputError():
            return EXIT_INPUT, [str(problem) for problem in error.problems]
        case CmisError():
            return EXIT_ENVIRONMENT, [str(error)]
        case DBAPIError():
            return _database_failure(error)
        case UnicodeEncodeError():
            return EXIT_INPUT, [f"an argument holds bytes that are no UTF-8 text: {error.object[:60]!r}"]
        case _:
            return EXIT_ENVIRONMENT, [_internal(error)]


def _database_failure(error: DBAPIError) -> tuple[int, list[str]]:
    state = sqlstate(error) or ""
    if isinstance(error, CommitUnknownError):
        return EXIT_ENVIRONMENT, [_UNKNOWN]
    if state == _GUARDRAIL:
        remedy = "let a rule plan it and approve the held action, or change the guardrails"
        return EXIT_INPUT, [str(Problem("", first_line(error), remedy))]
    if state == _FORBIDDEN:
        return _forbidden(str(error.orig).strip().splitlines()[0])
    if state.startswith(_BUGS) and state not in _NO_SCHEMA:
        return EXIT_ENVIRONMENT, [_internal(error)]
    return EXIT_ENVIRONMENT, [str(explain(error, "DATABASE_URL"))]


def _forbidden(reason: str) -> tuple[int, list[str]]:
    if _NO_MEMBER.search(reason):
        return EXIT_INPUT, [str(Problem("--as", reason, "give the id of an active member, or leave --as out"))]
    if lesser := _LESSER.search(reason):
        return EXIT_INPUT, [str(Problem("--as", reason, f"act as a member who is {lesser[1]} or more"))]
    return EXIT_ENVIRONMENT, [str(SetupError(f"DATABASE_URL connects as the wrong role: {reason}", "use cmis_app"))]


def _internal(error: Exception) -> str:
    said = str(error).strip().splitlines() or [""]
    return f"internal error: {type(error).__name__}: {said[0]} (CMIS_DEBUG=1 shows where)"


class _Brief(logging.Formatter):
    """A log line without the traceback that may come with it."""

    def format(self, record: logging.LogRecord) -> str:
        return f"{record.levelname.lower()}: {record.getMessage()}"


def _log_to_stderr(*, tracebacks: bool) -> None:
    """Show warnings as lines; what failed is told by the command itself."""
    handler = logging.StreamHandler()
    if not tracebacks:
        handler.setFormatter(_Brief())
    logging.basicConfig(level=logging.WARNING, handlers=[handler])


if __name__ == "__main__":
    main()
