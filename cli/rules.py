"""`cmis rules`: look at rules, run one now, try conditions. The other verbs stand in modules of their kinds."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import click

from cli.arguments import STDIN, read_json
from cli.executions import show_execution
from cli.explain import result_text, trace_tree
from cli.output import emit_json, err, out, rows_as_dicts
from cli.rule_backtest import backtest_command
from cli.rule_conflicts import conflicts_command
from cli.rule_define import create_command, duplicate_command, print_rule, restore_command, update_command
from cli.rule_dry_run import dry_run_command
from cli.rule_explain import explain_command
from cli.rule_switch import activate_command, archive_command, pause_command
from cli.rule_versions import versions_command
from cli.rule_why import why_command
from cli.running import WAIT_SECONDS, evaluate_here
from cli.session import json_option, open_org, org_command
from cli.tables import show_rows
from core.errors import InputError, Problem, TransientError
from engine import run_now
from engine.find import find_rule
from engine.rule_document import refuse_event_rule
from engine.rules.conditions import parse
from engine.rules.definition import MAX_JSON_DEPTH
from engine.rules.evaluate import trace
from engine.rules.reading import refuse_unstorable
from engine.store import rules as store
from models.enums import RuleStatus

if TYPE_CHECKING:
    from uuid import UUID

    from engine.enqueue import Queued

_PERFORMANCE: Final = [
    "rule_name",
    "status",
    "total_executions",
    "successful_executions",
    "failed_executions",
    "success_rate",
    "executions_last_30d",
    "last_executed_at",
]
_COLUMNS: Final = ["rule_id", "name", "status", "priority", "last_executed_at"]


@click.group()
def rules() -> None:
    """Rules: conditions, actions and throttles. RULE is an id or an exact name."""


@rules.command("list")
@org_command
@click.option("--status", type=click.Choice([status.value for status in RuleStatus]), help="Only of this status.")
def list_command(org_ref: str, user_id: str | None, as_json: bool, status: str | None) -> None:
    """List an org's rules, oldest first; archived ones only when asked for.

    Example: cmis rules list --org acme --status active
    """
    with open_org(org_ref, user_id) as session, session.database.transaction(session.context) as connection:
        rows = rows_as_dicts(store.listing(connection, session.org.org_id, status=status))
    if as_json:
        emit_json(rows)
    else:
        show_rows("Rules", rows, _COLUMNS, hint="`cmis rules create` makes one.")


@rules.command("performance")
@org_command
def performance_command(org_ref: str, user_id: str | None, as_json: bool) -> None:
    """Show how each rule's executions ended: how many, how many succeeded, and when the last was.

    The success rate is success / (success + partial + failure); skipped executions never count.

    Example: cmis rules performance --org acme
    """
    with open_org(org_ref, user_id) as session, session.database.transaction(session.context) as connection:
        rows = rows_as_dicts(store.performance(connection, session.org.org_id))
    if as_json:
        emit_json(rows)
    else:
        show_rows("Performance", rows, _PERFORMANCE, hint="`cmis rules create` makes a rule.")


@rules.command("show")
@click.argument("rule")
@org_command
def show_command(rule: str, org_ref: str, user_id: str | None, as_json: bool) -> None:
    """Show one RULE with all its columns.

    Example: cmis rules show "Pause dear campaigns" --org acme --json
    """
    with open_org(org_ref, user_id) as session, session.database.transaction(session.context) as connection:
        row = find_rule(connection, session.org.org_id, rule, "RULE")
    print_rule(row, as_json=as_json)


@rules.command("run")
@click.argument("rule")
@org_command
@click.option("--async", "queue_only", is_flag=True, help="Leave it to the workers; print the task and execution ids.")
def run_command(rule: str, org_ref: str, user_id: str | None, as_json: bool, queue_only: bool) -> None:
    """Run a RULE now, in this process, exactly as a worker does, and show the execution.

    All gates apply: a rule that is not active, or acted within its cooldown, is recorded as skipped.

    Example: cmis rules run "Pause dear campaigns" --org acme
    """
    with open_org(org_ref, user_id) as session:
        database, context = session.database, session.context
        with database.transaction(context) as connection:
            row = find_rule(connection, session.org.org_id, rule, "RULE")
        refuse_event_rule(row.trigger_type, "RULE", "run by hand")
        rule_id = row.rule_id
        if queue_only:
            print_queued(run_now.queue_rule(database, context, rule_id), rule_id, as_json=as_json)
            return
        queued, execution = run_now.run_rule(database, context, rule_id, evaluate_here, seconds=WAIT_SECONDS)
        if execution is None:
            raise TransientError(f"task {queued.task_id} is with another worker and has not ended yet")
        show_execution(session, execution.execution_id, as_json=as_json)


@rules.command("eval")
@click.option("--conditions", required=True, metavar="FILE", help="A condition tree or a list, as JSON; - is stdin.")
@click.option("--facts", required=True, metavar="FILE", help="An object of field to value, as JSON; - is stdin.")
@click.option(
    "--logic", type=click.Choice(["and", "or"]), default="and", show_default=True, help="How a list is joined."
)
@json_option
def eval_command(conditions: str, facts: str, logic: str, as_json: bool) -> None:
    """Evaluate conditions over facts: true, false, or unknown (null in JSON). Needs no database.

    A condition with a window finds its fact as field@window only, one without as field. A fact that is missing or null
    is unknown. Any dotted path is a field.

    \b
    Example: cmis rules eval --conditions tree.json --facts facts.json --json, where they hold
      {"all": [{"field": "cpa", "window": "last_7d", "operator": ">", "value": 50}]}
      {"cpa@last_7d": 61.2}
    """  # noqa: D301 - \b is click's mark for lines that stay as they are
    if conditions == facts == STDIN:
        raise InputError.of("--facts", "stdin holds the conditions already", "give one of them as a file")
    document = evaluate_documents(
        read_json("--conditions", conditions, exact=True), read_json("--facts", facts, exact=True), logic
    )
    if as_json:
        emit_json(document)
    else:
        out.print(f"matched: {result_text(document['matched'])}", highlight=False)
        out.print(trace_tree(document["trace"]))


for command in (
    activate_command,
    archive_command,
    backtest_command,
    conflicts_command,
    create_command,
    dry_run_command,
    duplicate_command,
    explain_command,
    pause_command,
    restore_command,
    update_command,
    versions_command,
    why_command,
):
    rules.add_command(command)


def evaluate_documents(conditions: object, facts: object, logic: str) -> dict[str, Any]:
    """Return `{matched, trace}` of a condition tree over facts; InputError tells all that is wrong with either."""
    problems: list[Problem] = []
    if not isinstance(facts, dict):
        problems.append(Problem("facts", "must be an object", "write {field: value}"))
    for name, document in (("conditions", conditions), ("facts", facts)):
        try:
            refuse_unstorable(document, name, MAX_JSON_DEPTH)
        except InputError as error:
            problems.extend(error.problems)
    if problems or not isinstance(facts, dict):
        raise InputError(problems)
    made = trace(parse(conditions, logic, known_fields=None), facts)
    return {"matched": made["result"], "trace": made}


def print_queued(queued: Queued, rule_id: UUID, *, as_json: bool) -> None:
    """Print what was left to the workers."""
    if as_json:
        emit_json(
            {"task_id": queued.task_id, "execution_id": queued.execution_id, "rule_id": rule_id, "state": "ready"}
        )
        return
    out.print(f"queued as task {queued.task_id}", highlight=False)
    err.print(f"once a worker ran it: cmis executions show {queued.execution_id}", highlight=False, soft_wrap=True)
