"""How statements take many rows at once: one JSON document, unpacked in SQL.

Measured against arrays (`unnest`) this is about twice as fast, and `COPY` is refused under row-level security.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import bindparam, text
from sqlalchemy.dialects.postgresql import JSONB

if TYPE_CHECKING:
    from sqlalchemy import TextClause


def with_rows(sql: str, *others: str) -> TextClause:
    """Return a statement whose parameter `:rows` (and each of `others`) is a JSON list of objects."""
    return text(sql).bindparams(*(bindparam(name, type_=JSONB) for name in ("rows", *others)))
