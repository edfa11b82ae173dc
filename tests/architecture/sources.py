"""The product's own modules as syntax trees."""

from __future__ import annotations

import ast
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT: Final = Path(__file__).resolve().parents[2]
PACKAGES: Final = ("cli", "core", "dev", "engine", "migrations", "models", "scheduler", "tasks", "vitals", "worker")


@dataclass(frozen=True)
class Module:
    """One module: its path from the repository's root, its text, and its tree."""

    path: str
    source: str
    tree: ast.Module

    def calls(self) -> Iterator[ast.Call]:
        """Return every call, wherever it stands."""
        return (node for node in ast.walk(self.tree) if isinstance(node, ast.Call))

    def imports(self) -> set[str]:
        """Return the top-level packages that the module imports."""
        names = set()
        for node in ast.walk(self.tree):
            if isinstance(node, ast.Import):
                names |= {alias.name.partition(".")[0] for alias in node.names}
            if isinstance(node, ast.ImportFrom) and node.module and not node.level:
                names.add(node.module.partition(".")[0])
        return names


def module(path: str, source: str) -> Module:
    """Parse a module's text."""
    return Module(path, source, ast.parse(source))


@cache
def modules() -> tuple[Module, ...]:
    """Return every module of the product, by path."""
    found = sorted(file for package in PACKAGES for file in (ROOT / package).rglob("*.py"))
    return tuple(module(str(file.relative_to(ROOT)), file.read_text(encoding="utf-8")) for file in found)


def called(call: ast.Call) -> str:
    """Return what a call names, as it is written: `create_engine`, `psycopg.connect`, `….execute`."""
    if isinstance(call.func, ast.Name):
        return call.func.id
    if isinstance(call.func, ast.Attribute):
        owner = call.func.value
        return f"{owner.id if isinstance(owner, ast.Name) else '…'}.{call.func.attr}"
    return "…"
