"""What a job starts, as its document names it: a rule, a workflow, or an optimisation of all campaigns or of one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final
from uuid import UUID

from core.errors import InputError
from engine.find import find_campaign, find_rule, find_template
from engine.rules.definition import MAX_NAME
from engine.rules.reading import shown
from models.enums import TargetType, TriggerType
from models.workflow_enums import TemplateStatus

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from sqlalchemy import Connection, Row

    from engine.rules.reading import Problems

_IDS: Final = {"rule": "rule_id", "campaign": "campaign_id", "workflow": "template_id"}
"""By what a target may be named, and by which column's name it is given as an id."""
NAMES: Final = frozenset({"target_type", *_IDS, *_IDS.values()})
_OPTIMIZES: Final = TargetType.OPTIMIZATION.value
_OWN: Final = {
    TargetType.RULE.value: ("rule", "the job runs a rule"),
    TargetType.OPTIMIZATION.value: ("campaign", "the job runs all active rules"),
    TargetType.WORKFLOW.value: ("workflow", "the job starts a workflow"),
}
"""What a target of each type names, and why it cannot name anything else."""


@dataclass(frozen=True, slots=True)
class Target:
    """What a job starts, and the name that the job has unless it is given one."""

    name: str
    target_type: str
    rule_id: UUID | None = None
    campaign_id: UUID | None = None
    template_id: UUID | None = None

    def columns(self) -> dict[str, Any]:
        """Return the columns of the job."""
        return {name: getattr(self, name) for name in ("target_type", *_IDS.values())}


def read(
    connection: Connection, org_id: UUID, document: Mapping[Any, object], problems: Problems, kept: UUID | None
) -> Target | None:
    """Read the target of a job, noting what is wrong; None if that is anything.

    `kept` is the rule, campaign or template that it has already: that one may be archived.
    """
    target_type = type_of(document)
    if not isinstance(target_type, str) or target_type not in _OWN:
        problems.add("target_type", f"cannot be {shown(target_type)}", f"write {', '.join(_OWN)}")
        return None
    own, reason = _OWN[target_type]
    for field in (name for noun in _IDS if noun != own for name in (noun, _IDS[noun])):
        if document.get(field) is not None:
            problems.add(field, f"means nothing here: {reason}", "leave it out, or give another target_type")
    return _READERS[target_type](connection, org_id, document, problems, kept)


def type_of(document: Mapping[Any, object]) -> object:
    """Return the type of a document's target: as written, else that of a workflow where one is named, else a rule's."""
    named = document.get("workflow") is not None or document.get("template_id") is not None
    return document.get("target_type") or (TargetType.WORKFLOW if named else TargetType.RULE).value


def changed(job: Row[Any], changes: Mapping[Any, object]) -> dict[str, object]:
    """Return the target's part of a stored job's document, without what the changes put something else in place of."""
    document: dict[str, object] = {name: getattr(job, name) for name in ("target_type", *_IDS.values())}
    given = {name for name, value in changes.items() if value is not None}
    for target_type, noun in ((TargetType.RULE, "rule"), (TargetType.WORKFLOW, "workflow")):
        if given & {noun, _IDS[noun]} and "target_type" not in given:
            document["target_type"] = target_type.value
    wanted = changes.get("target_type", document["target_type"])
    own = _OWN[wanted][0] if isinstance(wanted, str) and wanted in _OWN else None
    for noun, by_id in _IDS.items():
        if noun in changes or noun != own:
            document[by_id] = None
    return document


def _rule(
    connection: Connection, org_id: UUID, document: Mapping[Any, object], problems: Problems, kept: UUID | None
) -> Target | None:
    if document.get("rule") is None and document.get("rule_id") is None:
        problems.add("rule", "is required", "give its id or name")
        return None
    reference = _reference(document, "rule", problems)
    if reference is None:
        return None
    field, name = reference
    try:
        rule = find_rule(connection, org_id, name, field)
    except InputError as error:
        problems.extend(error)
        return None
    if rule.status == "archived" and rule.rule_id != kept:
        problems.add(field, f"the rule {rule.name!r} is archived", "give a rule that can still run")
    if rule.trigger_type == TriggerType.EVENT:
        message = f"the rule {rule.name!r} is triggered by events of type {rule.event_type}, and not by a job"
        problems.add(field, message, "give a rule with another trigger_type")
    return Target(rule.name, TargetType.RULE.value, rule_id=rule.rule_id)


def _optimization(
    connection: Connection, org_id: UUID, document: Mapping[Any, object], problems: Problems, kept: UUID | None
) -> Target | None:
    if document.get("campaign") is None and document.get("campaign_id") is None:
        return Target("Optimise all campaigns", _OPTIMIZES)
    reference = _reference(document, "campaign", problems)
    if reference is None:
        return None
    field, name = reference
    try:
        campaign = find_campaign(connection, org_id, name, field)
    except InputError as error:
        problems.extend(error)
        return None
    if campaign.status == "archived" and campaign.campaign_id != kept:
        problems.add(field, f"the campaign {campaign.name!r} is archived", "give one that rules still look at")
    return Target(f"Optimise {campaign.name}"[:MAX_NAME], _OPTIMIZES, campaign_id=campaign.campaign_id)


def _workflow(
    connection: Connection, org_id: UUID, document: Mapping[Any, object], problems: Problems, kept: UUID | None
) -> Target | None:
    if document.get("workflow") is None and document.get("template_id") is None:
        problems.add("workflow", "is required", "give its id or name")
        return None
    reference = _reference(document, "workflow", problems)
    if reference is None:
        return None
    field, name = reference
    try:
        template = find_template(connection, org_id, name, field)
    except InputError as error:
        problems.extend(error)
        return None
    if template.status != TemplateStatus.ACTIVE and template.template_id != kept:
        message = f"the workflow {template.name!r} is {template.status}"
        problems.add(field, message, "publish it first: `cmis workflows publish`")
    return Target(template.name, TargetType.WORKFLOW.value, template_id=template.template_id)


def _reference(document: Mapping[Any, object], noun: str, problems: Problems) -> tuple[str, str | UUID] | None:
    """Return under which key something is named, and its id or name."""
    by_id = _IDS[noun]
    field = by_id if document.get(noun) is None and document.get(by_id) is not None else noun
    reference = document.get(field)
    if field == noun and document.get(by_id) is not None:
        problems.add(by_id, f"means nothing beside {noun}", "give one of them")
    if isinstance(reference, str | UUID):
        return field, reference
    problems.add(noun, f"cannot be {shown(reference)}", "give its id or name")
    return None


_READERS: Final[
    Mapping[str, Callable[[Connection, UUID, Mapping[Any, object], Problems, UUID | None], Target | None]]
] = {
    TargetType.RULE.value: _rule,
    TargetType.OPTIMIZATION.value: _optimization,
    TargetType.WORKFLOW.value: _workflow,
}
