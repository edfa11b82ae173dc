"""Entry point of `cmis`: says where each command is, and turns errors into messages and exit codes.

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

from cli.database_errors import explained
from cli.lazy import LazyGroup, Place
from cli.output import err
from core.commits import CommitUnknownError
from core.db import first_line, sqlstate
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


_COMMANDS: Final = {
    "actions": Place("cli.actions:actions", "Effects of rules and steps: what was done, or waits."),
    "audit": Place("cli.audit:audit", "The audit log: who did what to which row."),
    "bundles": Place("cli.bundles:bundles", "Bundles: packs of rules to make an org's own of."),
    "campaigns": Place("cli.campaigns:campaigns", "Campaigns: what rules read and change."),
    "connectors": Place("cli.connectors:connectors", "Connectors: where campaign changes are pushed to."),
    "demo": Place("cli.demo:demo", "Run the demo on throw-away servers, and show it."),
    "dev": Place("cli.dev:dev", "Embedded servers, throw-away or kept; tests' clock."),
    "events": Place("cli.events:events", "Events from outside: what they trigger."),
    "executions": Place("cli.executions:executions", "Executions: each is one evaluation of one rule."),
    "health": Place("cli.health:health", "Whether the system and each process are well."),
    "invariants": Place("cli.invariants:invariants", "Check what must always be true."),
    "jobs": Place("cli.jobs:jobs", "Jobs: what runs when."),
    "metrics": Place("cli.metrics:metrics", "Campaign metrics: import them."),
    "migrate": Place("cli.migrate:migrate", "Bring the database's schema up to date."),
    "notifications": Place("cli.notifications:notifications", "What people of an org were told in the product."),
    "optimizations": Place("cli.optimizations:optimizations", "Optimisations: all active rules at once."),
    "optimize": Place("cli.optimizations:optimize_command", "Evaluate every active rule of an org now."),
    "orgs": Place("cli.orgs:orgs", "Orgs: the tenants, to whom everything else belongs."),
    "retention": Place("cli.retention:retention", "How many months of what happened are kept."),
    "rules": Place("cli.rules:rules", "Rules: conditions, actions and throttles."),
    "schedules": Place("cli.schedules:schedules", "Schedules: what they mean, and what piles up."),
    "secrets": Place("cli.secrets:secrets", "Secrets: values that params name as secret://NAME."),
    "tasks": Place("cli.tasks:tasks", "Tasks: what waits, runs, or has ended badly."),
    "workflows": Place("cli.workflows:workflows", "Workflows: graphs of steps, and their runs."),
}


@click.group(
    cls=LazyGroup, places=_COMMANDS, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100}
)
def cli() -> None:
    """CMIS Automation: rules, schedules and their executions, from the command line."""


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
    return EXIT_ENVIRONMENT, [str(explained(error, "DATABASE_URL"))]


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
