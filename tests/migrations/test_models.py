"""The models and the revisions make the same schema, to the letter of every default, CHECK and index.

Alembic's own comparison is blind to CHECKs and to the predicates of partial indexes.
"""

from __future__ import annotations

import inspect
import re
from enum import StrEnum
from typing import TYPE_CHECKING, Any

import psycopg
from sqlalchemy import CheckConstraint, create_engine, text

import models
from models import audit_actions, enums, process_enums, queue_enums, workflow_enums
from tests.migrations.catalogue import PARTS

if TYPE_CHECKING:
    from dev.site import Site

_COMPARED = ("columns", "constraints", "indexes", "tables")
"""What models describe. Row security is the revisions' alone: of tables only the partition keys are compared."""
_QUERIES = PARTS | {
    "tables": "SELECT relname, relkind, pg_get_partkeydef(oid) FROM pg_class "
    "WHERE relkind IN ('r', 'p') AND relnamespace = 'cmis'::regnamespace",
    # a model groups what revisions added at the end, and knows nothing of grants
    "columns": PARTS["columns"].replace("a.attnum,", "", 1).replace("a.attacl::text,", "", 1),
}
_VALUES = re.compile(r"'([a-z_]+)'::text")
ENUMS = sorted(
    (
        value
        for module in (enums, queue_enums, workflow_enums, process_enums, audit_actions)
        for _, value in inspect.getmembers(module, inspect.isclass)
        if issubclass(value, StrEnum) and value != StrEnum
    ),
    key=lambda value: value.__name__,
)


def described(connection: psycopg.Connection[Any], part: str) -> set[tuple[Any, ...]]:
    """Return a part of the schema without partitions, views and Alembic's own table."""
    others = {
        name
        for (name,) in connection.execute(
            "SELECT relname FROM pg_class "
            "WHERE relnamespace = 'cmis'::regnamespace AND (relispartition OR relkind = 'v')"
        )
    }
    rows = connection.execute(_QUERIES[part])
    return {tuple(row) for row in rows if row[0] not in others | {"alembic_version"}}


def test_a_schema_made_from_the_models_equals_the_migrated_one(database: Site, empty: Site) -> None:
    engine = create_engine(empty.urls.migration.replace("postgresql://", "postgresql+psycopg://"))
    with engine.begin() as connection:
        connection.execute(text("CREATE SCHEMA cmis"))
        models.Base.metadata.create_all(connection)
    engine.dispose()
    with psycopg.connect(database.urls.migration) as migrated, psycopg.connect(empty.urls.migration) as made:
        for part in _COMPARED:
            left, right = described(migrated, part), described(made, part)
            assert left, part
            assert left - right == set(), f"only the revisions have these {part}"
            assert right - left == set(), f"only the models have these {part}"


def test_every_enum_is_the_check_of_a_column(database: Site) -> None:
    """A CHECK whose literals are exactly the enum's values, in the migrated database."""
    with psycopg.connect(database.urls.migration) as connection:
        checks = connection.execute("""
            SELECT pg_get_constraintdef(k.oid) FROM pg_constraint k JOIN pg_class c ON c.oid = k.conrelid
             WHERE k.contype = 'c' AND c.relnamespace = 'cmis'::regnamespace AND cardinality(k.conkey) = 1
        """).fetchall()
    held = {frozenset(_VALUES.findall(definition)) for (definition,) in checks}
    assert [values.__name__ for values in ENUMS if frozenset(values) not in held] == []


def test_every_check_of_values_is_an_enum() -> None:
    """A column held to a list of values that no enum has would be a second truth."""
    lists = {
        str(constraint.sqltext)
        for table in models.Base.metadata.tables.values()
        for constraint in table.constraints
        if isinstance(constraint, CheckConstraint) and re.fullmatch(r"\w+ IN \(.*\)", str(constraint.sqltext))
    }
    known = {frozenset(values) for values in ENUMS}
    assert lists
    assert [each for each in lists if frozenset(re.findall(r"'(\w+)'", each)) not in known] == []
