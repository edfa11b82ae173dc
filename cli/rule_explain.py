"""`cmis rules explain`: what a rule, or a condition tree, says in plain English."""

from __future__ import annotations

import json
import re
from datetime import timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Final

import click

from cli.arguments import read_json
from cli.output import emit_json, out
from cli.session import json_option, open_org, user_option
from core.errors import InputError
from engine.actions.registry import parse_actions
from engine.find import find_rule
from engine.rules.conditions import parse
from engine.rules.definition import MAX_JSON_DEPTH, EntityType, parse_rule
from engine.rules.document import to_document
from engine.rules.fields import fields_for
from engine.rules.reading import Problems, refuse_unstorable
from engine.rules.sentence import Terms, number_text, quoted, rule_sentence, sentence
from engine.rules.trust import read_max_data_age, read_min_sample

if TYPE_CHECKING:
    from collections.abc import Sequence

    from engine.actions.registry import ActionSpec
    from engine.rules.tree import Condition

_RULE_KEYS: Final = ("name", "conditions", "actions")
_TAGGING: Final = {"add": "tags", "remove": "remove"}
_DEEDS: Final = {
    "pause_campaign": "pause the campaign",
    "resume_campaign": "resume the campaign",
    "send_notification": "send a notification",
    "trigger_webhook": "call a webhook",
}
_STEPS: Final = {"adjust_budget": "budget", "adjust_bid": "bid"}
_WORD: Final = re.compile(r"[A-Za-z0-9_-]+")
_UNITS: Final = {"percent": " %", "amount": ""}


@click.command("explain")
@click.argument("rule", required=False)
@click.option("--org", "org_ref", envvar="CMIS_ORG", help="Org of the stored rule, by name or id.")
@user_option
@click.option("--file", "path", metavar="FILE", help="A rule, or a condition tree or list, as JSON; - is stdin.")
@click.option(
    "--logic",
    type=click.Choice(["and", "or"]),
    default="and",
    show_default=True,
    help="How a list of conditions in FILE is joined; a rule says so itself.",
)
@json_option
def explain_command(
    rule: str | None, org_ref: str | None, user_id: str | None, path: str | None, logic: str, as_json: bool
) -> None:
    """Say in plain English what a stored RULE does, or a rule or condition tree in a file.

    A file needs no database. What is wrong with it is told as `rules create` would tell it.

    \b
    Examples:
      cmis rules explain "Pause high CPA" --org acme
      cmis rules explain --file rule.json
    """  # noqa: D301 - \b is click's mark for lines that stay as they are
    if path is not None and rule is not None:
        raise InputError.of("RULE", "cannot be explained together with --file", "give one of them")
    if path is not None:
        told = explain_document(read_json("--file", path, exact=True), logic)
    elif rule is None:
        raise InputError.of("RULE", "is required", "name a stored rule with its --org, or give a --file")
    elif org_ref is None:
        raise InputError.of("--org", "is required for a stored rule", "name its org, or give a --file")
    else:
        told = _explain_stored(rule, org_ref, user_id)
    if as_json:
        emit_json(told)
    else:
        out.print(told["sentence"], highlight=False, markup=False, soft_wrap=True)


def explain_document(document: object, logic: str) -> dict[str, Any]:
    """Return `{sentence, conditions}` of a condition tree, with `name` and `actions` where it is a whole rule.

    Raises InputError with all that is wrong. In a tree that stands alone any dotted path is a field.
    """
    if isinstance(document, dict) and any(key in document for key in _RULE_KEYS):
        definition = parse_rule(document, parse_actions=parse_actions)
        return _told(
            definition.name,
            definition.conditions,
            definition.actions,
            Terms(
                one_entity=definition.entity_id is not None,
                event_type=definition.event_type,
                about_event=definition.entity_type == EntityType.EVENT,
                cooldown=timedelta(minutes=definition.cooldown_minutes),
                max_executions_per_day=definition.max_executions_per_day,
                delay=timedelta(seconds=definition.delay_between_actions_seconds),
                min_sample=definition.min_sample or {},
                max_data_age=definition.max_data_age,
            ),
        )
    refuse_unstorable(document, "conditions", MAX_JSON_DEPTH)
    condition = parse(document, logic, known_fields=None)
    return {"sentence": f"{sentence(condition)}.", "conditions": to_document(condition)}


def action_phrase(action: ActionSpec) -> str:
    """Return an action in the imperative: `raise the budget by 20 % (ceiling 500)`."""
    params = dict(action.params)
    match action.kind:
        case "set_field":
            field, value = params["field"].replace("_", " "), params["value"]
            return f"empty the {field}" if value is None else f"set the {field} to {_param(value)}"
        case "tag_entity":
            return " and ".join(_tags(verb, params[key]) for verb, key in _TAGGING.items() if key in params)
    step = _step(_STEPS.get(action.kind), params) or _DEEDS.get(action.kind) or action.kind.replace("_", " ")
    rest = ", ".join(f"{name} {_param(value)}" for name, value in params.items())
    return f"{step} ({rest})" if rest else step


def _explain_stored(reference: str, org_ref: str, user_id: str | None) -> dict[str, Any]:
    with open_org(org_ref, user_id) as session, session.database.transaction(session.context) as connection:
        row = find_rule(connection, session.org.org_id, reference, "RULE")
    problems = Problems()
    terms = Terms(
        one_entity=row.entity_id is not None,
        event_type=row.event_type,
        about_event=row.entity_type == EntityType.EVENT,
        cooldown=timedelta(minutes=row.cooldown_minutes),
        max_executions_per_day=row.max_executions_per_day,
        delay=timedelta(seconds=row.delay_between_actions_seconds),
        min_sample=read_min_sample(row.min_sample, problems) or {},
        max_data_age=read_max_data_age(row.max_data_age, problems),
    )
    problems.raise_if_any()
    condition = parse(row.conditions, row.condition_logic, known_fields=fields_for(row.trigger_type))
    return _told(row.name, condition, parse_actions(row.actions, "actions"), terms)


def _told(name: str, condition: Condition, actions: Sequence[ActionSpec], terms: Terms) -> dict[str, Any]:
    phrases = [action_phrase(action) for action in actions]
    return {
        "sentence": rule_sentence(condition, phrases, terms),
        "name": name,
        "conditions": to_document(condition),
        "actions": phrases,
    }


def _step(noun: str | None, params: dict[str, Any]) -> str | None:
    """Say how far a number moves, taking what is said out of the parameters; None where none does."""
    mode = None if noun is None else next((name for name in ("set", *_UNITS) if name in params), None)
    if mode is None:
        return None
    value = params.pop(mode)
    if mode == "set":
        return f"set the {noun} to {_param(value)}"
    return f"{'raise' if value >= 0 else 'lower'} the {noun} by {_param(abs(value))}{_UNITS[mode]}"


def _tags(verb: str, tags: Sequence[str]) -> str:
    return f"{verb} the {'tag' if len(tags) == 1 else 'tags'} {', '.join(map(_param, tags))}"


def _param(value: object) -> str:
    if isinstance(value, int | float) and not isinstance(value, bool):
        return number_text(Decimal(str(value)))
    if isinstance(value, str):
        return value if _WORD.fullmatch(value) else quoted(value)
    return json.dumps(value)
