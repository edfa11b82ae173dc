"""What every table shares: the schema, the names of constraints, the column types and the shorthand for CHECKs."""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Annotated, Any
from uuid import UUID

from sqlalchemy import BigInteger, CheckConstraint, MetaData, Numeric, Text, Uuid, text
from sqlalchemy.dialects.postgresql import JSONB, TIMESTAMP
from sqlalchemy.orm import DeclarativeBase, mapped_column
from sqlalchemy.types import UserDefinedType

if TYPE_CHECKING:
    from enum import StrEnum

SCHEMA = "cmis"

Money = Annotated[Decimal, mapped_column(Numeric(14, 2))]
"""An amount a person sets (budget, bid), in the campaign's currency."""
Measure = Annotated[Decimal, mapped_column(Numeric(18, 6))]
"""An amount a platform measured (spend, revenue, conversions)."""
JsonObject = Annotated[dict[str, Any], mapped_column(JSONB, server_default=text("'{}'::jsonb"))]
JsonArray = Annotated[list[Any], mapped_column(JSONB, server_default=text("'[]'::jsonb"))]
Counter = Annotated[int, mapped_column(BigInteger, server_default=text("0"))]


class Base(DeclarativeBase):
    """Base of every mapped table; `metadata` is the whole schema `cmis`."""

    metadata = MetaData(
        schema=SCHEMA,
        naming_convention={
            "pk": "%(table_name)s_pkey",
            "uq": "%(table_name)s_%(column_0_N_name)s_key",
            "fk": "%(table_name)s_%(column_0_N_name)s_fkey",
            "ix": "%(table_name)s_%(column_0_N_name)s_idx",
            "ck": "%(table_name)s_%(constraint_name)s_check",
        },
    )
    type_annotation_map = {  # noqa: RUF012 - SQLAlchemy reads it as a plain class attribute
        datetime: TIMESTAMP(timezone=True),
        UUID: Uuid(),
        str: Text(),
        dict[str, Any]: JSONB(),
        list[Any]: JSONB(),
    }


class Xid8(UserDefinedType[str]):
    """Postgres' 64-bit transaction id."""

    cache_ok = True

    def get_col_spec(self, **_: object) -> str:
        """Return the type's name in DDL."""
        return "xid8"


def one_of(column: str, values: type[StrEnum]) -> CheckConstraint:
    """Return the CHECK that holds a `text` column to an enum's values.

    Statuses are text, not Postgres enums: enum equality is not leakproof and could use no index under row security.
    """
    allowed = ", ".join(f"'{value}'" for value in values)
    return CheckConstraint(f"{column} IN ({allowed})", name=column)
