"""What the linters cannot say of the sources: who may open connections, build SQL, publish, and read a clock."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from engine.rules import bundle, definition
from models import enums
from tests.architecture.literal_sql import built
from tests.architecture.sources import ROOT, Module, called, module, modules

if TYPE_CHECKING:
    from collections.abc import Iterator
    from enum import StrEnum

CONNECTING = {
    "create_engine",
    "create_async_engine",
    "psycopg.connect",
    "Connection.connect",
    "ConnectionPool",
    "Session",
}
PUBLISHING = {"apply_async", "send_task", "send_task_message", "delay", "chord", "chain", "lpush"}
CLOCKS = {
    "datetime": {"now", "utcnow", "today"},
    "date": {"today"},
    "dt": {"now", "today"},
    "time": {"time", "time_ns", "monotonic", "monotonic_ns", "perf_counter", "gmtime", "localtime"},
}
_OTHER_CLOCK = re.compile(r"\b(?:now|clock_timestamp|transaction_timestamp|statement_timestamp)\(\)|current_timestamp")


def product(*, but: tuple[str, ...] = ()) -> Iterator[Module]:
    return (each for each in modules() if not each.path.startswith(but))


def offences(calls: set[str], *, but: tuple[str, ...]) -> list[str]:
    return [f"{each.path}:{call.lineno}" for each in product(but=but) for call in each.calls() if called(call) in calls]


def test_only_the_database_module_and_the_migrations_open_connections() -> None:
    assert offences(CONNECTING, but=("core/db.py", "migrations/migrate.py", "dev/")) == []
    assert offences(CONNECTING, but=("migrations/", "dev/")) != []  # the search is not blind


def test_sql_is_written_and_never_built() -> None:
    found = [f"{each.path}:{line}" for each in product(but=("migrations/", "dev/")) for line in built(each)]
    assert found == []


@pytest.mark.parametrize(
    "source",
    [
        "text(f'SELECT {name}')",
        "text('SELECT ' + name)",
        "text('SELECT %s' % name)",
        "text('SELECT {}'.format(name))",
        "text(query)",
        "text(f'SELECT {NAME.lower()}')",
        "with_rows(''.join(parts))",
        "connection.execute(f'SELECT {name}')",
        "connection.execute('SELECT {}'.format(name))",
        "connection.execute(text('SELECT ' + name))",
        "connection.exec_driver_sql('SELECT ' + name)",
        "sql.SQL('SELECT ' + name)",
    ],
)
def test_built_sql_is_noticed(source: str) -> None:
    assert list(built(module("x.py", f"NAME = 'x'\n{source}\n"))) == [2]


@pytest.mark.parametrize(
    "source",
    [
        "text('SELECT 1')",
        "text(f'SELECT {NAME} FROM x')",
        "text(NAME + ' FROM x')",
        "[text(query) for name, query in CHECKS.items()]",
        "connection.execute(_FIND, {'id': name})",
        "connection.execute(select(table).where(table.c.x == name))",
        "connection.execute(sql.SQL('LISTEN {}').format(sql.Identifier(name)))",
    ],
)
def test_written_sql_is_left_alone(source: str) -> None:
    assert list(built(module("x.py", source))) == []


def test_sql_stands_in_the_store() -> None:
    """Each statement has one home; `core` has the context's, the clock's and the role's."""
    allowed = ("engine/store/", "core/", "models/", "migrations/", "dev/")
    found = [
        f"{each.path}:{call.lineno}"
        for each in product(but=allowed)
        for call in each.calls()
        if called(call) in {"text", "with_rows", "select", "insert", "update", "delete"}
        and "sqlalchemy" in each.imports()
    ]
    assert found == []


def test_only_publish_sends_messages() -> None:
    found = [
        f"{each.path}:{call.lineno}"
        for each in product(but=("dev/", "migrations/"))
        for call in each.calls()
        if isinstance(call.func, ast.Attribute) and call.func.attr in PUBLISHING
    ]
    assert [place.partition(":")[0] for place in found] == ["tasks/publish.py"]


def test_only_the_clock_module_reads_a_clock() -> None:
    found = [
        f"{each.path}:{call.lineno}"
        for each in product(but=("core/clock.py", "dev/"))
        for call in each.calls()
        if isinstance(call.func, ast.Attribute)
        and isinstance(call.func.value, ast.Name)
        and call.func.attr in CLOCKS.get(call.func.value.id, ())
    ]
    imported = [
        f"{each.path}:{node.lineno}"
        for each in product(but=("core/clock.py", "dev/"))
        for node in ast.walk(each.tree)
        if isinstance(node, ast.ImportFrom)
        and node.module == "time"
        and {alias.name for alias in node.names} & CLOCKS["time"]
    ]
    assert found + imported == []


def test_no_statement_of_the_engine_reads_another_clock_than_the_databases() -> None:
    """Leases alone run on the true clock (RELIABILITY §2.9): their columns are named beside it."""
    assert _OTHER_CLOCK.search("SELECT now() ")
    found = [
        f"{each.path}: {line.strip()}"
        for each in product(but=("dev/", "core/", "migrations/versions/0001"))  # 0001 defines the clock
        for line in each.source.splitlines()
        if each.path.startswith(("engine/store", "migrations/versions"))
        and _OTHER_CLOCK.search(line)
        and "lease_expires_at" not in line
        and not line.strip().startswith("#")
    ]
    assert found == []


@pytest.mark.parametrize(
    ("package", "importers"),
    [
        ("croniter", "engine/schedule/"),
        ("tenacity", ("engine/retry.py", "core/backoff.py")),
        ("urllib3", "engine/egress/client.py"),
        ("standardwebhooks", "engine/deliver/couriers/signing.py"),
    ],
)
def test_a_library_that_decides_for_us_has_few_importers(package: str, importers: str | tuple[str, ...]) -> None:
    users = [each.path for each in modules() if package in each.imports()]
    assert users
    assert [path for path in users if not path.startswith(importers)] == []


def test_nothing_imports_the_tests_the_benchmarks_or_the_chaos_suite() -> None:
    assert [each.path for each in modules() if each.imports() & {"tests", "benchmarks", "chaos"}] == []


def test_imports_stand_at_the_top() -> None:
    found = [
        f"{each.path}:{node.lineno}"
        for each in modules()
        for function in ast.walk(each.tree)
        if isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef)
        for node in ast.walk(function)
        if isinstance(node, ast.Import | ast.ImportFrom)
    ]
    assert found == []


def test_no_module_is_named_for_nothing() -> None:
    empty_names = {"utils", "util", "helpers", "helper", "common", "manager", "misc"}
    assert [each.path for each in modules() if empty_names & set(Path(each.path).with_suffix("").parts)] == []


def test_only_models_is_a_hub_of_exports() -> None:
    hubs = [each.path for each in modules() if each.path.endswith("__init__.py") and each.imports() - {"__future__"}]
    assert hubs == ["models/__init__.py"]


def test_the_celery_app_is_not_hidden_by_its_package() -> None:
    assert (ROOT / "worker" / "__init__.py").read_text(encoding="utf-8") == ""


def test_dependencies_run_one_way() -> None:
    """The contracts stand in pyproject.toml."""
    command = Path(sys.executable).parent / "lint-imports"
    done = subprocess.run([command, "--no-cache"], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-3000:]


@pytest.mark.parametrize(
    "ours",
    [
        definition.EntityType,
        definition.ConditionLogic,
        definition.Priority,
        bundle.BundleCategory,
        bundle.BundleStatus,
    ],
)
def test_the_rules_own_enums_are_the_databases(ours: type[StrEnum]) -> None:
    """The pure modules know no models, and so write them again."""
    theirs = getattr(enums, ours.__name__)
    assert [(member.name, member.value) for member in ours] == [(member.name, member.value) for member in theirs]


@pytest.mark.parametrize(("part", "whole"), [("TriggerType", "TriggerType"), ("InitialStatus", "RuleStatus")])
def test_what_a_new_rule_may_say_the_database_takes(part: str, whole: str) -> None:
    assert set(getattr(definition, part)) <= set(getattr(enums, whole))


def test_modules_and_functions_stay_small() -> None:
    long_modules = [each.path for each in modules() if each.source.count("\n") > 300]
    long_functions = [
        f"{each.path}:{node.name}"
        for each in modules()
        for node in ast.walk(each.tree)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        and (node.end_lineno or node.lineno) - node.lineno + 1 > 50
    ]
    assert long_modules + long_functions == []
