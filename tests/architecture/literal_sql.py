"""SQL is written, never built: the rule that lets the linter's own one (S608) be off.

Whatever becomes SQL (the argument of `text`, of `with_rows`, of `….execute` and the like) is a literal, or is made of
literals alone: a constant in capitals, an f-string of such constants, a sum of them, or an item of a mapping of them.
A value can therefore reach the server only as a bound parameter. psycopg's `sql.SQL(…).format(…)` quotes what it is
given, and is allowed around a literal. Not looked at: `migrations` (DDL takes no parameters; its tables and columns are
literals of the revision) and `dev` (servers of the developer's own machine).
"""

from __future__ import annotations

import ast
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.architecture.sources import Module

MAKERS: Final = frozenset({"text", "with_rows", "_with_rows"})
RUNNERS: Final = frozenset({"execute", "executemany", "exec_driver_sql", "scalar", "scalars", "SQL", "copy"})
EXPRESSIONS: Final = frozenset({"select", "insert", "update", "delete"})


def built(module: Module) -> Iterator[int]:
    """Return the lines on which SQL is built from something else than constants."""
    makers = {node for node in ast.walk(module.tree) if isinstance(node, ast.FunctionDef) and node.name in MAKERS}
    inside = {child for maker in makers for child in ast.walk(maker)}
    mappings = _loops_over_constants(module)
    for call in module.calls():
        if call in inside or not call.args:
            continue
        argument = call.args[0]
        if isinstance(call.func, ast.Name) and call.func.id in MAKERS and not _constant(argument, mappings):
            yield call.lineno
        if isinstance(call.func, ast.Attribute) and call.func.attr in RUNNERS and _concatenated(argument, mappings):
            yield call.lineno


def _constant(node: ast.expr, mappings: set[str]) -> bool:
    match node:
        case ast.Constant(value=str()):
            return True
        case ast.Name(id=name):
            return name.isupper() or name in mappings
        case ast.JoinedStr(values=parts):
            return all(isinstance(part, ast.Constant) or _constant_field(part) for part in parts)
        case ast.BinOp(op=ast.Add(), left=left, right=right):
            return _constant(left, mappings) and _constant(right, mappings)
        case ast.Subscript(value=ast.Name(id=name)):
            return name.isupper()
    return False


def _constant_field(part: ast.expr) -> bool:
    return isinstance(part, ast.FormattedValue) and isinstance(part.value, ast.Name) and part.value.id.isupper()


def _concatenated(node: ast.expr, mappings: set[str]) -> bool:
    """Say whether a text is put together in place; names and calls are the makers' business, or expressions."""
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "format":
        inner = node.func.value
        return not (isinstance(inner, ast.Call) and isinstance(inner.func, ast.Attribute) and inner.func.attr == "SQL")
    return isinstance(node, ast.JoinedStr | ast.BinOp) and not _constant(node, mappings)


def _loops_over_constants(module: Module) -> set[str]:
    """Return the names that only ever take items of a mapping of constants: `for name, query in CHECKS.items()`."""
    names = set()
    for node in ast.walk(module.tree):
        if isinstance(node, ast.For | ast.comprehension) and _is_items_of_constant(node.iter):
            names |= {child.id for child in ast.walk(node.target) if isinstance(child, ast.Name)}
    return names


def _is_items_of_constant(node: ast.expr) -> bool:
    return (
        isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and isinstance(node.func.value, ast.Name)
        and node.func.value.id.isupper()
    )
