"""Alembic's environment: applies revisions as `cmis_owner` on the connection that `migrations.migrate` opened."""

from __future__ import annotations

from typing import TYPE_CHECKING

from alembic import context
from sqlalchemy import text
from sqlalchemy.dialects.postgresql.base import ischema_names

import models
from models.base import Xid8

if TYPE_CHECKING:
    from sqlalchemy import Connection


def _partitions(connection: Connection) -> frozenset[str]:
    return frozenset(connection.execute(text("SELECT relname FROM pg_class WHERE relispartition")).scalars())


def _run(connection: Connection) -> None:
    partitions = _partitions(connection)
    context.configure(
        connection=connection,
        target_metadata=models.Base.metadata,
        include_schemas=True,
        include_name=lambda name, kind, _parents: kind != "schema" or name == "cmis",
        include_object=lambda _object, name, kind, reflected, _to: (
            not (kind == "table" and reflected and (name in partitions or name == "alembic_version"))
        ),
        compare_type=True,
        compare_server_default=True,
        version_table_schema="cmis",
    )
    with context.begin_transaction():
        connection.execute(text("SET LOCAL ROLE cmis_owner"))
        context.run_migrations()


ischema_names["xid8"] = Xid8  # reflection knows no name of this type
_run(context.config.attributes["connection"])
