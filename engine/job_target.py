"""What a job starts, as its document names it: a rule, or an optimisation of all campaigns or of one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final
from uuid import UUID

from core.errors import InputError
from engine.find import find_campaign, find_rule
from engine.rules.definition import MAX_NAME
from engine.rules.reading import shown
from models.enums import TargetType, TriggerType

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sqlalchemy import Connection, Row

    from engine.rules.reading import Problems

NAMES: Final = frozenset({"target_type", "rule", "rule_id", "campaign", "campaign_id"})
_OPTIMIZES: Final = TargetType.OPTIMIZATION.value
_STRAY: Final = {
    TargetType.RULE.value: ("campaign", "the job runs a rule"),
    TargetType.OPTIMIZATION.value: ("rule", "the job runs all active rules"),
}
"""What a target of each type cannot name, and why."""


@dataclass(frozen=True, slots=True)
class Target:
    """What a job starts, and the name that the job has unless it is given one."""

    name: str
    target_type: str
    rule_id: UUID | None = None
    campaign_id: UUID | None = None

    def columns(self) -> dict[str, Any]:
        """Return the columns of the job."""
        return {"target_type": self.target_type, "rule_id": self.rule_id, "campaign_id": self.campaign_id}


def read(
    connection: Connection, org_id: UUID, document: Mapping[Any, object], problems: Problems, kept: UUID | None
) -> Target | None:
    """Read the target of a job, noting what is wrong; None if that is anything.

    `kept` is the rule or the campaign that it has already: that one may be archived.
    """
    target_type = document.get("target_type") or TargetType.RULE.value
    if not isinstance(target_type, str) or target_type not in _STRAY:
        problems.add("target_type", f"cannot be {shown(target_type)}", f"write {' or '.join(_STRAY)}")
        return None
    stray, reason = _STRAY[target_type]
    for field in (stray, f"{stray}_id"):
        if document.get(field) is not None:
            problems.add(field, f"means nothing here: {reason}", "leave it out, or give another target_type")
    read_target = _optimization if target_type == _OPTIMIZES else _rule
    return read_target(connection, org_id, document, problems, kept)


def changed(job: Row[Any], changes: Mapping[Any, object]) -> dict[str, object]:
    """Return the target's part of a stored job's document, without what the changes put something else in place of."""
    document: dict[str, object] = {name: getattr(job, name) for name in ("target_type", "rule_id", "campaign_id")}
    given = {name for name, value in changes.items() if value is not None}
    if given & {"rule", "rule_id"} and "target_type" not in given:
        document["target_type"] = TargetType.RULE.value
    target_type = changes.get("target_type", document["target_type"])
    if "rule" in changes or target_type == _OPTIMIZES:
        document["rule_id"] = None
    if "campaign" in changes or target_type != _OPTIMIZES:
        document["campaign_id"] = None
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


def _reference(document: Mapping[Any, object], noun: str, problems: Problems) -> tuple[str, str | UUID] | None:
    """Return under which key something is named, and its id or name."""
    by_id = f"{noun}_id"
    field = by_id if document.get(noun) is None and document.get(by_id) is not None else noun
    reference = document.get(field)
    if field == noun and document.get(by_id) is not None:
        problems.add(by_id, f"means nothing beside {noun}", "give one of them")
    if isinstance(reference, str | UUID):
        return field, reference
    problems.add(noun, f"cannot be {shown(reference)}", "give its id or name")
    return None
