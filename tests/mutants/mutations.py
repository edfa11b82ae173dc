"""What is taken out, and where: each fails loudly if it does not find what it is to take out."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, LiteralString

import psycopg
from psycopg import sql
from sqlalchemy import BindParameter, TextClause, text

from engine.store import instances, tasks

if TYPE_CHECKING:
    from dev.site import Site

_FENCE: Final = "fence = :fence"
_DEFINITION: Final[LiteralString] = """
SELECT pg_get_functiondef(p.oid) FROM pg_proc p
 WHERE p.pronamespace = 'cmis'::regnamespace AND p.proname = %s AND p.prosrc LIKE '%%' || %s || '%%'
"""


def without_fence() -> None:
    """Let this process's writes under a claim forget which claim it was."""
    guarded = {name: one for name, one in vars(tasks).items() if isinstance(one, TextClause) and _FENCE in one.text}
    assert len(guarded) >= len(("finish", "retry", "heartbeat", "hold"))
    for name, statement in guarded.items():
        setattr(tasks, name, _changed(statement, _FENCE, f"({_FENCE} OR true)"))


def without_instance_lock() -> None:
    """Let this process's workers read instances without locking them."""
    instances._LOCK = _changed(instances._LOCK, "FOR NO KEY UPDATE", "")


def without_republishing(site: Site) -> None:
    """Let a message be sent once: neither its age nor the broker's loss makes it due again."""
    change_function(site, "requeue_lost", "SET publish_at = v_now,", "SET publish_at = t.publish_at,")
    change_function(site, "take_publishable", "interval '15 s'", "interval '1000 years'")


def without_occurrence_key(site: Site) -> None:
    """Let the ledger take a planned time twice."""
    alter(site, "ALTER TABLE cmis.occurrences DROP CONSTRAINT occurrences_pkey")


def without_forced_row_security(site: Site) -> None:
    """Let the owner of the tables pass the policies of one."""
    alter(site, "ALTER TABLE cmis.campaigns NO FORCE ROW LEVEL SECURITY")


def alter(site: Site, statement: LiteralString) -> None:
    """Change the schema as its administrator."""
    with psycopg.connect(site.urls.migration) as connection:
        connection.execute(statement)


def change_function(site: Site, name: str, old: str, new: str) -> None:
    """Replace a part of a function of the schema, wherever it stands in it."""
    with psycopg.connect(site.urls.migration) as connection:
        found = connection.execute(_DEFINITION, (name, old)).fetchall()
        assert found, f"no function {name} has {old!r}: what is to be taken out is somewhere else now"
        for (definition,) in found:
            connection.execute(sql.SQL(definition.replace(old, new)))


def _changed(statement: TextClause, old: str, new: str) -> TextClause:
    assert old in statement.text, f"there is no {old!r} to take out"
    typed: list[BindParameter[Any]] = [one for one in statement.get_children() if isinstance(one, BindParameter)]
    return text(statement.text.replace(old, new)).bindparams(*typed)
