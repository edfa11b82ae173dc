"""The config of the steps that wait for somebody else: an event, a person, another workflow. Pure."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final

from engine.rules.event_terms import TYPE_REMEDY, is_type
from engine.rules.reading import shown
from engine.workflows.configs import MAX_NAME, MAX_TIME
from engine.workflows.definition import REJECTED, TIMEOUT
from engine.workflows.drafts import object_reader
from models.enums import Role

if TYPE_CHECKING:
    from engine.workflows.drafts import Draft

_MAX_MESSAGE: Final = 2_000
_MAX_VERSION: Final = 1_000_000
_PATH: Final = re.compile(r"[^\s.]{1,100}(\.[^\s.]{1,100}){0,15}")


def wait_for_event(draft: Draft) -> dict[str, Any]:
    """Read which event is waited for, and for how long."""
    config = draft.config
    event_type = config.required("event_type")
    if event_type is not None and not is_type(event_type):
        draft.problems.add(config.at("event_type"), f"cannot be {shown(event_type)}", TYPE_REMEDY)
    field, value = _correlation(draft)
    return {"event_type": event_type, "field": field, "value": value, "timeout_seconds": _timeout(draft)}


def approval(draft: Draft) -> dict[str, Any]:
    """Read what a person is asked, who may answer, and for how long."""
    config = draft.config
    if config.get("rejected_next") is not None:
        draft.lead(REJECTED, config, "rejected_next")
    read = {
        "title": config.required_text("title", MAX_NAME),
        "message": config.optional_text("message", _MAX_MESSAGE) or "",
        "role": config.choice("role", Role.EDITOR).value,
        "timeout_seconds": _timeout(draft),
    }
    for key in ("title", "message"):
        draft.refer(read[key], config.at(key))
    return read


def subworkflow(draft: Draft) -> dict[str, Any]:
    """Read which template is started, with what, and whether its end is waited for."""
    config = draft.config
    context = config.get("context")
    if context is not None and not isinstance(context, dict):
        draft.problems.add(config.at("context"), f"must be an object, not {shown(context)}", "write {name: value}")
    draft.refer(context, config.at("context"))
    return {
        "template": config.required_text("template", MAX_NAME),
        "version": config.optional_integer("version", 1, _MAX_VERSION),
        "context": context if isinstance(context, dict) else {},
        "wait": config.boolean("wait", default=True),
    }


def _timeout(draft: Draft) -> float | None:
    """Read how long is waited, in seconds, and where the step leads when that is over."""
    seconds = draft.duration("timeout")
    if draft.config.get("timeout_next") is not None:
        draft.lead(TIMEOUT, draft.config, "timeout_next")
        if draft.config.get("timeout") is None:
            message = "means nothing without a timeout"
            draft.problems.add(draft.config.at("timeout_next"), message, 'give one: {"timeout": {"days": 2}}')
    return seconds


def _correlation(draft: Draft) -> tuple[str | None, str | float | bool | None]:
    """Read which field of the payload must have which value."""
    document, place = draft.config.get("correlation"), draft.config.at("correlation")
    if document is None:
        return None, None
    if not isinstance(document, dict):
        draft.problems.add(place, f"must be an object, not {shown(document)}", "write {field, value}")
        return None, None
    draft.problems.refuse_unknown_keys(document, ("field", "value"), place)
    reader = object_reader(document, draft.problems, place)
    field, value = reader.required("field"), reader.required("value")
    if field is not None and not (isinstance(field, str) and _PATH.fullmatch(field)):
        message = f"{shown(field)} is no dotted path"
        draft.problems.add(f"{place}.field", message, "write a path into the payload, such as lead.id")
    if value is not None and not _is_scalar(value):
        message = f"must be a text of at most {MAX_TIME} characters, a number or a boolean, not {shown(value)}"
        draft.problems.add(f"{place}.value", message, "write a value, or a reference such as {{ context.lead.id }}")
        return None, None
    draft.refer(value, f"{place}.value")
    return (field if isinstance(field, str) else None), value  # type: ignore[return-value] # a scalar, as was checked


def _is_scalar(value: object) -> bool:
    return len(value) <= MAX_TIME if isinstance(value, str) else isinstance(value, bool | int | float)
