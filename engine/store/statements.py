"""How statements take many rows at once: one JSON document, unpacked in SQL.

As `json`, which is read as it comes: `jsonb` would be made of it first, which costs a quarter more. Arrays (`unnest`) cost
the server as much, and the driver far more; `COPY` is refused under row-level security.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import bindparam, text
from sqlalchemy.dialects.postgresql import JSON

if TYPE_CHECKING:
    from sqlalchemy import TextClause


def with_rows(sql: str, *others: str) -> TextClause:
    """Return a statement whose parameter `:rows` (and each of `others`) is a JSON list of objects."""
    return text(sql).bindparams(*(bindparam(name, type_=JSON) for name in ("rows", *others)))
