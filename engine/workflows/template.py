"""A workflow template as a person writes it: what it is for, what starts it, and the definition of its steps. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from core.errors import InputError
from engine.rules import conditions
from engine.rules.definition import MAX_DESCRIPTION, MAX_JSON_DEPTH, MAX_NAME
from engine.rules.event_terms import TYPE_REMEDY, is_type
from engine.rules.fields import PAYLOAD_FIELDS
from engine.rules.reading import Problems, listed, refuse_unstorable, shown
from engine.workflows import reading
from engine.workflows.drafts import object_reader
from models.workflow_enums import WorkflowCategory

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from engine.rules.objects import ObjectReader
    from engine.workflows.steps import Placed


ABOUT: Final = ("name", "description", "category", "tags", "is_public", "event_type", "event_conditions")
"""What a template has besides its definition."""
DEFINITION: Final = "definition"
MAX_TAGS: Final = 20
MAX_TAG: Final = 50


@dataclass(frozen=True, slots=True)
class Template:
    """A valid template. `definition` and `event_conditions` are as they were written."""

    name: str
    description: str
    category: WorkflowCategory
    tags: Sequence[str]
    is_public: bool
    event_type: str | None
    event_conditions: object
    definition: Mapping[str, Any]
    steps: Sequence[Placed]


def parse_template(document: object, *, check: Callable[[Sequence[Placed], Problems], None]) -> Template:
    """Return the template, or raise InputError with every problem and its path.

    The definition stands under `definition`, or its keys beside the template's own. `check` is injected, since the
    kinds of actions stand above the language of definitions.
    """
    if not isinstance(document, dict):
        message = f"a workflow must be an object, not {shown(document)}"
        raise InputError.of("", message, f"allowed keys: {listed((*ABOUT, DEFINITION))}")
    problems = Problems()
    about = {key: value for key, value in document.items() if key != DEFINITION and key not in reading.KEYS}
    refuse_unstorable(about, "", MAX_JSON_DEPTH)
    problems.refuse_unknown_keys(about, (*ABOUT, DEFINITION), "")
    template = _read(document, object_reader(about, problems, ""), problems, check)
    problems.arrange()
    problems.raise_if_any()
    return template


def check_definition(document: object, *, check: Callable[[Sequence[Placed], Problems], None]) -> Sequence[Placed]:
    """Read a definition that stands alone and return its steps; raises InputError with every problem and its path."""
    problems = Problems()
    steps = reading.read_definition(document, problems).steps
    check(steps, problems)
    problems.arrange()
    problems.raise_if_any()
    return steps


def is_template(document: object) -> bool:
    """Say whether a document is a whole template rather than a definition alone."""
    return isinstance(document, dict) and any(key in document for key in (*ABOUT, DEFINITION))


def _read(
    document: Mapping[str, Any],
    reader: ObjectReader,
    problems: Problems,
    check: Callable[[Sequence[Placed], Problems], None],
) -> Template:
    event_type = _event_type(reader.get("event_type"), problems)
    about: dict[str, Any] = {
        "name": reader.required_text("name", MAX_NAME),
        "description": reader.optional_text("description", MAX_DESCRIPTION) or "",
        "category": _category(reader),
        "tags": _tags(reader.get("tags"), problems),
        "is_public": reader.boolean("is_public", default=False),
        "event_type": event_type,
        "event_conditions": _event_conditions(reader.get("event_conditions"), event_type, problems),
    }
    definition, path = _definition(document, problems)
    steps: Sequence[Placed] = []
    if definition is not None:
        try:
            steps = reading.read_definition(definition, problems, path=path).steps
            check(steps, problems)
        except InputError as error:
            problems.extend(error)
    return Template(**about, definition=definition if isinstance(definition, dict) else {}, steps=steps)


def _definition(document: Mapping[str, Any], problems: Problems) -> tuple[object, str]:
    """Return the definition and its path; None where there is none."""
    beside = {key: document[key] for key in reading.KEYS if key in document}
    if document.get(DEFINITION) is None:
        if not beside:
            problems.add(DEFINITION, "is required", "add the key definition: {steps: [{id, type, config, next}]}")
        return beside or None, ""
    for key in beside:
        problems.add(key, "stands beside a definition", "put it into the definition")
    return document[DEFINITION], DEFINITION


def _category(reader: ObjectReader) -> WorkflowCategory:
    none = WorkflowCategory.CAMPAIGN  # beside a noted problem, where it means nothing
    if reader.get("category") is None:
        reader.required("category")
        return none
    return reader.choice("category", none)


def _tags(value: object, problems: Problems) -> Sequence[str]:
    if value is None:
        return []
    if not isinstance(value, list) or len(value) > MAX_TAGS:
        problems.add("tags", f"must be a list of at most {MAX_TAGS} texts", 'write ["spring", "daily"]')
        return []
    for index, tag in enumerate(value):
        if not isinstance(tag, str) or not 0 < len(tag.strip()) <= MAX_TAG:
            problems.add(f"tags[{index}]", f"must be a text of 1 to {MAX_TAG} characters, not {shown(tag)}")
    return list(dict.fromkeys(tag.strip() for tag in value if isinstance(tag, str)))


def _event_type(value: object, problems: Problems) -> str | None:
    if value is not None and not is_type(value):
        problems.add("event_type", f"cannot be {shown(value)}", TYPE_REMEDY)
    return value if isinstance(value, str) else None


def _event_conditions(document: object, event_type: str | None, problems: Problems) -> object:
    if document is None:
        return None
    if event_type is None:
        problems.add("event_conditions", "are about events, and no event_type is given", "give one, or leave them out")
    try:
        conditions.parse(document, known_fields=PAYLOAD_FIELDS, path="event_conditions")
    except InputError as error:
        problems.extend(error)
    return document
