"""Read one step of a definition: its id and type, what its type says in `config`, and what every step may say. Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final

from engine.rules.reading import listed, shown
from engine.workflows import configs, waits
from engine.workflows.definition import FAILURE, NEXT, Retry, Step
from engine.workflows.drafts import Draft, object_reader
from models.workflow_enums import StepType

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from engine.rules.reading import Problems
    from engine.workflows.definition import OnFailure

KEYS: Final = ("id", "type", "name", "config", NEXT, "retry", "on_failure", "timeout_seconds")
RETRY_KEYS: Final = ("max_retries", "base_seconds", "factor", "cap_seconds", "non_retryable")
ON_FAILURE: Final = ("fail", "continue", "pause")
MAX_ATTEMPT_SECONDS: Final = 86_400
MAX_RETRIES: Final = 20
_MAX_CODES: Final = 50
_MAX_CODE: Final = 100
_ID: Final = re.compile(r"[A-Za-z][A-Za-z0-9_-]{0,62}")
_ID_REMEDY: Final = "begin with a letter, and use at most 63 of A-Z, a-z, 0-9, _ and -"


@dataclass(frozen=True, slots=True)
class Kind:
    """What the steps of a type have."""

    keys: Sequence[str]
    """Of their config."""
    read: Callable[[Draft], dict[str, Any]]
    next: bool = True
    """Whether they have one way on, which `next` names; others name theirs in the config."""
    failure: bool = False
    """Whether a way may lead on from their failure."""
    attempts: bool = False
    """Whether they are tried: a retry and a time for each attempt make sense."""


KINDS: Final[Mapping[StepType, Kind]] = {
    StepType.ACTION: Kind(("action", "callable", "params", "campaign"), configs.action, failure=True, attempts=True),
    StepType.CONDITION: Kind(
        ("conditions", "true_next", "false_next", "cases", "default", "unknown_next"), configs.condition, next=False
    ),
    StepType.DELAY: Kind(("seconds", "minutes", "hours", "days", "until", "next_business_hour"), configs.delay),
    StepType.SPLIT: Kind(("mode", "branches"), configs.split, next=False),
    StepType.MERGE: Kind(("mode", "n", "cancel_losers"), configs.merge),
    StepType.WAIT_FOR_EVENT: Kind(
        ("event_type", "correlation", "timeout", "timeout_next"), waits.wait_for_event, failure=True
    ),
    StepType.APPROVAL: Kind(
        ("title", "message", "role", "timeout", "timeout_next", "rejected_next"), waits.approval, failure=True
    ),
    StepType.SUBWORKFLOW: Kind(
        ("template", "version", "context", "wait"), waits.subworkflow, failure=True, attempts=True
    ),
}


@dataclass(frozen=True, slots=True)
class Placed:
    """A step that was read, with the paths in the document."""

    step: Step
    path: str
    places: Mapping[str, str]
    """Where the target of each label is written."""
    references: Sequence[tuple[str, tuple[str, ...]]]
    whole: bool
    """Whether its ways out are known: its type, and an object for its config."""


def read_step(document: object, path: str, on_failure: OnFailure, problems: Problems) -> Placed | None:
    """Read a step; None where it has no id that others could name."""
    if not isinstance(document, dict):
        problems.add(path, f"must be an object, not {shown(document)}", f"allowed keys: {listed(KEYS)}")
        return None
    problems.refuse_unknown_keys(document, KEYS, path)
    members = object_reader(document, problems, path)
    step_id, step_type = _id(members.required("id"), path, problems), _type(members.required("type"), path, problems)
    config = members.get("config")
    if config is not None and not isinstance(config, dict):
        problems.add(f"{path}.config", f"must be an object, not {shown(config)}", "write {name: value}")
    known = config if isinstance(config, dict) else {}
    draft = Draft(path, members, object_reader(known, problems, f"{path}.config"), problems)
    whole = step_type is not None and (config is None or isinstance(config, dict))
    step = Step(step_id or "", step_type or StepType.MERGE, {}, name=members.optional_text("name", configs.MAX_NAME))
    if step_type is not None and whole:
        problems.refuse_unknown_keys(known, KINDS[step_type].keys, f"{path}.config")
        step = _read(draft, step, KINDS[step_type], on_failure)
    return None if step_id is None else Placed(step, path, draft.places, draft.references, whole)


def read_on_failure(value: object, place: str, problems: Problems) -> OnFailure:
    """Read what becomes of the instance when a step fails."""
    match value:
        case None | "fail":
            return "fail"
        case "continue":
            return "continue"
        case "pause":
            return "pause"
        case _:
            problems.add(place, f"cannot be {shown(value)}", f"allowed: {listed(ON_FAILURE)}")
            return "fail"


def _read(draft: Draft, step: Step, kind: Kind, default: OnFailure) -> Step:
    if kind.next:
        draft.lead(NEXT, draft.members, NEXT)
    elif draft.members.get(NEXT) is not None:
        message = f"does not belong to a step of type {step.type}"
        draft.problems.add(draft.members.at(NEXT), message, "say in its config where it leads")
    config = kind.read(draft)
    on_failure = _on_failure(draft, step, kind, default)
    return replace(
        step,
        config=config,
        on_failure=on_failure,
        edges=draft.edges,
        retry=_retry(draft, step, kind),
        timeout_seconds=_attempt_seconds(draft, step, kind),
        references=tuple(dict.fromkeys(path for _, path in draft.references)),
    )


def _on_failure(draft: Draft, step: Step, kind: Kind, default: OnFailure) -> OnFailure:
    value, place = draft.members.get("on_failure"), draft.members.at("on_failure")
    if value is None:
        # where a step leads by what it finds out, there is no way to go on by once it failed
        return "fail" if default == "continue" and not kind.next else default
    if not isinstance(value, dict):
        read = read_on_failure(value, place, draft.problems)
        if read == "continue" and not kind.next:
            message = f"cannot be 'continue' for a step of type {step.type}: it has no one way to go on by"
            draft.problems.add(place, message, "write fail or pause")
        return read
    draft.problems.refuse_unknown_keys(value, (NEXT,), place)
    if not kind.failure:
        allowed = ON_FAILURE if kind.next else ("fail", "pause")
        draft.problems.add(place, f"leads nowhere for a step of type {step.type}", f"allowed: {listed(allowed)}")
        return "fail"
    reader = object_reader(value, draft.problems, place)
    if reader.required(NEXT) is not None:
        draft.lead(FAILURE, reader, NEXT)
    return "branch"


def _retry(draft: Draft, step: Step, kind: Kind) -> Retry:
    document, place = draft.members.get("retry"), draft.members.at("retry")
    default = Retry()
    if document is None:
        return default
    if not kind.attempts:
        draft.problems.add(place, f"means nothing for a step of type {step.type}", "leave it out")
        return default
    if not isinstance(document, dict):
        draft.problems.add(place, f"must be an object, not {shown(document)}", f"allowed keys: {listed(RETRY_KEYS)}")
        return default
    draft.problems.refuse_unknown_keys(document, RETRY_KEYS, place)
    reader = object_reader(document, draft.problems, place)
    return Retry(
        max_retries=reader.integer("max_retries", default.max_retries, 0, MAX_RETRIES),
        base_seconds=reader.number("base_seconds", default.base_seconds, 0, 86_400),
        factor=reader.number("factor", default.factor, 1, 10),
        cap_seconds=reader.number("cap_seconds", default.cap_seconds, 0, 604_800),
        non_retryable=_codes(reader.get("non_retryable"), f"{place}.non_retryable", draft.problems),
    )


def _codes(document: object, place: str, problems: Problems) -> frozenset[str]:
    if document is None:
        return frozenset()
    if isinstance(document, list) and len(document) <= _MAX_CODES and all(_is_code(one) for one in document):
        return frozenset(document)
    message = f"must be a list of at most {_MAX_CODES} codes of errors or names of exceptions"
    problems.add(place, message, 'write ["TIMEOUT", "ValueError"]')
    return frozenset()


def _is_code(value: object) -> bool:
    return isinstance(value, str) and 0 < len(value) <= _MAX_CODE


def _attempt_seconds(draft: Draft, step: Step, kind: Kind) -> float | None:
    if draft.members.get("timeout_seconds") is None:
        return None
    if not kind.attempts:
        remedy = "leave it out" if not kind.failure else "give config.timeout, such as {days: 2}"
        message = f"means nothing for a step of type {step.type}"
        draft.problems.add(draft.members.at("timeout_seconds"), message, remedy)
        return None
    return draft.members.number("timeout_seconds", 1, 0.001, MAX_ATTEMPT_SECONDS)


def _id(value: object, path: str, problems: Problems) -> str | None:
    if value is None:
        return None
    if isinstance(value, str) and _ID.fullmatch(value):
        return value
    problems.add(f"{path}.id", f"cannot be {shown(value)}", _ID_REMEDY)
    return None


def _type(value: object, path: str, problems: Problems) -> StepType | None:
    if value is None:
        return None
    if isinstance(value, str) and value in KINDS:
        return StepType(value)
    problems.add(f"{path}.type", f"unknown type {shown(value)}", f"allowed: {listed(KINDS)}")
    return None
