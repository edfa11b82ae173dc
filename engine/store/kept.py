"""How far back rows must be there, for the invariants: what is older, retention may have taken (docs/adr/0027).

Where nothing is noted of a table, nothing is excused. Compare `(… < first_id(…)) IS NOT TRUE`, so that a NULL excuses nothing, too.
"""

from __future__ import annotations


def kept_from(table: str) -> str:
    """Return the expression for the time from which on a table has all its rows."""
    noted = f"SELECT kept_from FROM cmis.retained WHERE relation = '{table}'"
    return f"coalesce(({noted}), timestamptz '1970-01-01 00:00:00+00')"


def first_id(table: str) -> str:
    """Return the expression for the smallest UUIDv7 of that time."""
    noted = f"SELECT cmis.uuid_v7_floor(kept_from) FROM cmis.retained WHERE relation = '{table}'"
    return f"coalesce(({noted}), uuid '00000000-0000-0000-0000-000000000000')"
