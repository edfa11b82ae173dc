"""A bundle of rules as a person writes it: a name, what it is for, and the documents of its rules."""

from __future__ import annotations

import json
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Final

from core.errors import InputError, Problem
from engine.rules.definition import MAX_DESCRIPTION, MAX_JSON_DEPTH, MAX_NAME
from engine.rules.objects import ObjectReader
from engine.rules.reading import Problems, listed, refuse_unstorable, shown

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

MAX_RULES: Final = 50
MAX_BYTES: Final = 256 * 1024  # RELIABILITY §7
KEYS: Final = ("name", "description", "category", "rules", "is_public", "status")
_CHOSEN_LATER: Final = {
    "status": "leave it out: it is chosen when rules are made of the bundle (--status)",
    "entity_id": "leave it out: it is chosen when rules are made of the bundle (--entity)",
}
_NESTED: Final = 2  # a rule's document stands two levels deep


class BundleCategory(StrEnum):
    """What a bundle is for."""

    PERFORMANCE = "performance"
    BUDGET = "budget"
    CREATIVE = "creative"
    SCHEDULING = "scheduling"


class BundleStatus(StrEnum):
    """Rules are made of active bundles only."""

    ACTIVE = "active"
    ARCHIVED = "archived"


@dataclass(frozen=True, slots=True)
class BundleDefinition:
    """A valid bundle; its rules are as they were written, and each is a valid rule without status and entity."""

    name: str
    description: str | None
    category: BundleCategory
    rules: Sequence[Mapping[str, Any]]
    is_public: bool
    status: BundleStatus


def parse_bundle(document: object, *, check_rule: Callable[[object], object]) -> BundleDefinition:
    """Return the bundle, or raise InputError with every problem and its path (`rules[2].conditions[0].field`).

    `check_rule` takes one rule's document and raises InputError with all that is wrong; it is injected since rules
    hold actions, which stand above the rule language.
    """
    if not isinstance(document, dict):
        message = f"a bundle must be an object, not {shown(document)}"
        raise InputError.of("", message, f"allowed keys: {listed(KEYS)}")
    refuse_unstorable(document, "", MAX_JSON_DEPTH + _NESTED)
    problems = Problems()
    problems.refuse_unknown_keys(document, KEYS, "")
    reader = ObjectReader(document, problems)
    made = BundleDefinition(
        name=reader.required_text("name", MAX_NAME),
        description=reader.optional_text("description", MAX_DESCRIPTION),
        category=_category(reader),
        rules=_rules(reader.required("rules"), problems, check_rule),
        is_public=reader.boolean("is_public", default=False),
        status=reader.choice("status", BundleStatus.ACTIVE),
    )
    problems.raise_if_any()
    return made


def under(path: str, error: InputError) -> list[Problem]:
    """Return what is wrong with a part of a document, at its paths in the whole."""
    return [
        Problem(f"{path}.{problem.field}" if problem.field else path, problem.message, problem.remedy)
        for problem in error.problems
    ]


def _category(reader: ObjectReader) -> BundleCategory:
    none = BundleCategory.PERFORMANCE  # beside a noted problem, where it means nothing
    return none if reader.required("category") is None else reader.choice("category", none)


def _rules(document: object, problems: Problems, check_rule: Callable[[object], object]) -> Sequence[Mapping[str, Any]]:
    if document is None:
        return ()
    if not isinstance(document, list) or not 1 <= len(document) <= MAX_RULES:
        found = f"{len(document)} of them" if isinstance(document, list) else shown(document)
        problems.add("rules", f"must be a list of 1 to {MAX_RULES} rules, not {found}", "write [{name, conditions, …}]")
        return ()
    size = len(json.dumps(document, default=str, ensure_ascii=False, separators=(",", ":")).encode())
    if size > MAX_BYTES:
        problems.add("rules", f"have {size} bytes", f"give at most {MAX_BYTES}")
        return ()
    for index, rule in enumerate(document):
        _check(rule, f"rules[{index}]", problems, check_rule)
    _refuse_names_given_twice(document, problems)
    return document


def _check(rule: object, path: str, problems: Problems, check_rule: Callable[[object], object]) -> None:
    given = rule
    if isinstance(rule, dict):
        for key, remedy in _CHOSEN_LATER.items():
            if key in rule:
                problems.add(f"{path}.{key}", "does not belong into a bundle", remedy)
        given = {key: value for key, value in rule.items() if key not in _CHOSEN_LATER}
    try:
        check_rule(given)
    except InputError as error:
        problems.extend(InputError(under(path, error)))


def _refuse_names_given_twice(rules: Sequence[object], problems: Problems) -> None:
    first: dict[str, int] = {}
    for index, rule in enumerate(rules):
        name = rule.get("name") if isinstance(rule, dict) else None
        if isinstance(name, str) and first.setdefault(name.strip(), index) != index:
            message = f"is the name of rules[{first[name.strip()]}], too"
            problems.add(f"rules[{index}].name", message, "give each rule a name of its own")
