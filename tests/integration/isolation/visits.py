"""Which partitions a transaction has looked into, as the server itself counts it: inside of functions, too."""

from __future__ import annotations

from collections import defaultdict
from contextlib import contextmanager
from typing import TYPE_CHECKING

from sqlalchemy import text

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sqlalchemy import Connection

_SCANS = text("""
SELECT p.relname AS parent, s.relname AS partition, coalesce(s.seq_scan, 0) + coalesce(s.idx_scan, 0) AS scans
  FROM pg_stat_xact_user_tables s
  JOIN pg_inherits i ON i.inhrelid = s.relid JOIN pg_class p ON p.oid = i.inhparent
 WHERE p.relnamespace = (SELECT oid FROM pg_namespace WHERE nspname = 'cmis')
""")


@contextmanager
def counting_visits(connection: Connection) -> Iterator[dict[str, set[str]]]:
    """Yield a dictionary of parent → visited partitions, filled at the end of the block."""
    before = _scans(connection)
    visited: dict[str, set[str]] = defaultdict(set)
    yield visited
    for (parent, partition), scans in _scans(connection).items():
        if scans > before[parent, partition]:
            visited[parent].add(partition)


def _scans(connection: Connection) -> dict[tuple[str, str], int]:
    return {(row.parent, row.partition): row.scans for row in connection.execute(_SCANS)}
