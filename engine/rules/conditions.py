"""Read a condition tree from JSON, telling all that is wrong with it at once.

A document is a node, or a list of nodes (joined by `all`, or by `any` where the rule's condition_logic is `or`).
A node is a leaf `{field, window, operator, value}` or a group `{all: […]}`, `{any: […]}`, `{none: […]}` (SPEC §3).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from engine.rules.fields import METRIC_AND_ENTITY_FIELDS, FieldSpec
from engine.rules.operands import FIELD_SPELLINGS, UNTYPED, TypedOperand, read_operand, spelled
from engine.rules.reading import Problems, listed, shown
from engine.rules.tree import Condition, Group, Leaf, Logic, Operand, Operator
from engine.rules.values import NULL_TESTS, ValueReader, check_operator

if TYPE_CHECKING:
    from collections.abc import Mapping

MAX_DEPTH: Final = 6  # nested groups (SPEC §3)
MAX_LEAVES: Final = 50  # conditions of a rule (RELIABILITY §7)

LOGICS: Final[Mapping[str, Logic]] = {"and": Logic.ALL, "all": Logic.ALL, "or": Logic.ANY, "any": Logic.ANY}

_VALUE_SPELLINGS: Final = ("value", "threshold")  # `threshold` is the origin's
_LEAF_KEYS: Final = (*FIELD_SPELLINGS, "window", "operator", *_VALUE_SPELLINGS)
_OPERATORS: Final[Mapping[str, Operator]] = {
    **{operator.value: operator for operator in Operator},
    "==": Operator.EQUAL,
}

_FORMS: Final = "write {field, operator, value}, or a group of all, any or none"

# Stands where a node is wrong: the tree is thrown away, since the problem is noted.
_PLACEHOLDER: Final = Leaf(Operand(""), Operator.IS_NULL)
_UNREADABLE: Final = TypedOperand(Operand(""), UNTYPED)


def parse(
    document: object,
    logic: str = "and",
    *,
    known_fields: Mapping[str, FieldSpec] | None = METRIC_AND_ENTITY_FIELDS,
    path: str = "conditions",
) -> Condition:
    """Return the tree, or raise InputError with every problem and its path (`conditions.all[1].value`).

    `logic` (`and|all|or|any`) joins the nodes where the document is a list, and says nothing of a tree.
    With `known_fields=None` any dotted path is a field: a rule field keeps its type, any other may be of any
    type and have any window. With PAYLOAD_FIELDS it is a path into an event's payload: of any type, with no window.
    """
    problems = Problems()
    reader = _Reader(known_fields, problems, path)
    if isinstance(document, list | tuple):
        condition = _list(reader, document, logic, path)
    else:
        condition = reader.node(document, path, depth=0)
    problems.raise_if_any()
    return condition


def _list(reader: _Reader, document: list[object] | tuple[object, ...], logic: str, path: str) -> Condition:
    joined = LOGICS.get(logic)
    if joined is None:
        reader.problems.add("condition_logic", f"unknown logic {shown(logic)}", f"allowed: {listed(LOGICS)}")
    return reader.group(joined or Logic.ALL, document, path, depth=1)


class _Reader:
    """Walks one document. Depth and number of nodes are bounded, so that no input can exhaust the stack."""

    def __init__(self, known_fields: Mapping[str, FieldSpec] | None, problems: Problems, root: str) -> None:
        self.problems = problems
        self._known_fields = known_fields
        self._root = root
        self._leaves = 0

    def node(self, document: object, path: str, depth: int) -> Condition:
        """Read a leaf or a group; `depth` counts the groups around it."""
        if not isinstance(document, dict) or not document:
            self._count()
            empty = isinstance(document, dict)
            self.problems.add(path, "is empty" if empty else f"must be an object, not {shown(document)}", _FORMS)
            return _PLACEHOLDER
        logics = [logic for logic in Logic if logic.value in document]
        if not logics:
            return self._leaf(document, path)
        if len(document) > 1:
            self._count()
            keys = listed(shown(key) for key in list(document)[:10])
            message = f"a group has exactly one of {listed(Logic)} and nothing else, not {keys}"
            self.problems.add(path, message, "put what stands beside it into a group of its own")
            return _PLACEHOLDER
        logic = logics[0]
        return self.group(logic, document[logic.value], f"{path}.{logic.value}", depth + 1)

    def group(self, logic: Logic, nodes: object, path: str, depth: int) -> Condition:
        """Read a group's nodes; `depth` counts this group too."""
        if not isinstance(nodes, list | tuple) or not nodes:
            self._count()
            empty = isinstance(nodes, list | tuple)
            message = "has no conditions" if empty else f"must be a list of conditions, not {shown(nodes)}"
            self.problems.add(path, message, "give at least one condition")
            return _PLACEHOLDER
        if depth > MAX_DEPTH:
            self._count()
            self.problems.add(path, f"is nested {depth} groups deep", f"nest at most {MAX_DEPTH} groups")
            return _PLACEHOLDER
        read: list[Condition] = []
        for index, node in enumerate(nodes):
            if self._leaves > MAX_LEAVES:
                break
            read.append(self.node(node, f"{path}[{index}]", depth))
        return Group(logic, tuple(read))

    def _leaf(self, document: dict[object, object], path: str) -> Condition:
        self._count()
        self.problems.refuse_unknown_keys(document, _LEAF_KEYS, path)
        subject = read_operand(document, self._known_fields, path, self.problems) or _UNREADABLE
        operator = self._operator(document, path)
        if operator is None or not check_operator(subject, operator, path, self.problems):
            return _PLACEHOLDER
        if operator in NULL_TESTS and not any(spelling in document for spelling in _VALUE_SPELLINGS):
            return Leaf(subject.operand, operator)
        written = spelled(document, _VALUE_SPELLINGS, path, self.problems)
        if written is None:
            return _PLACEHOLDER
        reader = ValueReader(subject, operator, self._known_fields, self.problems)
        return Leaf(subject.operand, operator, reader.read(written.value, written.path))

    def _operator(self, document: dict[object, object], path: str) -> Operator | None:
        if "operator" not in document:
            self.problems.add(f"{path}.operator", "is required", f"allowed: {listed(_OPERATORS)}")
            return None
        name = document["operator"]
        operator = _OPERATORS.get(name) if isinstance(name, str) else None
        if operator is None:
            self.problems.add(f"{path}.operator", f"unknown operator {shown(name)}", f"allowed: {listed(_OPERATORS)}")
        return operator

    def _count(self) -> None:
        self._leaves += 1
        if self._leaves == MAX_LEAVES + 1:
            self.problems.add(self._root, f"has more than {MAX_LEAVES} conditions", f"give at most {MAX_LEAVES}")
