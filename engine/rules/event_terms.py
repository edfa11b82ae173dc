"""What the definition of a rule that events trigger must say, and what makes no sense in it."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final

from engine.rules.reading import shown

if TYPE_CHECKING:
    from engine.rules.definition import RuleDefinition
    from engine.rules.reading import Problems

TYPE_REMEDY: Final = "write 1 to 100 of a-z, 0-9, _ . -, such as lead.created"
_EVENT: Final = "event"
_TYPE: Final = re.compile(r"[a-z0-9_.-]{1,100}")


def is_type(value: object) -> bool:
    """Say whether a value may be the type of an event."""
    return isinstance(value, str) and _TYPE.fullmatch(value) is not None


def read_type(value: object, trigger_type: str, problems: Problems) -> str | None:
    """Read `event_type`, which rules of trigger `event` have and no others."""
    if trigger_type != _EVENT:
        if value is not None:
            message = f"means nothing where trigger_type is {trigger_type}"
            problems.add("event_type", message, "leave it out, or make trigger_type event")
        return None
    if value is None:
        problems.add("event_type", "is required where trigger_type is event", TYPE_REMEDY)
    elif not is_type(value):
        problems.add("event_type", f"cannot be {shown(value)}", TYPE_REMEDY)
    return str(value)


def check(rule: RuleDefinition[Any], problems: Problems) -> None:
    """Note what contradicts the rule's trigger, or that it is about the event itself."""
    if rule.trigger_type == _EVENT:
        for name in ("min_sample", "max_data_age"):
            if getattr(rule, name) is not None:
                problems.add(name, "is about metrics, and the conditions read the event's payload", "leave it out")
    if rule.entity_type != _EVENT:
        return
    if rule.trigger_type != _EVENT:
        problems.add("entity_type", "can be event only where trigger_type is event", "make one fit the other")
    if rule.entity_id is not None:
        problems.add("entity_id", "names a campaign, and the rule is about the event itself", "leave it out")
    if rule.delay_between_actions_seconds:
        message = "cannot be more than 0 for a rule that is about the event itself"
        problems.add("delay_between_actions_seconds", message, "leave it out")
