"""The owner of the tables, whom functions and revisions run as, sees its transaction's org, and nobody else's rows."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, LiteralString

import psycopg
from psycopg import sql

from tests.integration.isolation.walk import violations
from tests.mutants.conftest import whole_and_mutant
from tests.mutants.mutations import without_forced_row_security

if TYPE_CHECKING:
    from uuid import UUID

    from tests.world import World

FORCED: Final = "row security is enabled and forced on every table and partition"
TABLES: Final[LiteralString] = """
SELECT c.relname FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid AND a.attname = 'org_id'
 WHERE c.relnamespace = 'cmis'::regnamespace AND c.relkind IN ('r', 'p') ORDER BY 1
"""


def seen_by_the_owner(world: World, org_id: UUID, other: UUID) -> set[str]:
    """Return the tables and partitions in which the owner sees rows of another org than its transaction's."""
    with psycopg.connect(world.site.urls.migration) as connection:
        connection.execute("SET LOCAL ROLE cmis_owner")
        connection.execute("SELECT set_config('app.current_org_id', %s, true)", (str(org_id),))
        names = [name for (name,) in connection.execute(TABLES)]
        query = sql.SQL(" UNION ALL ").join(
            sql.SQL("SELECT {name} FROM cmis.{table} WHERE org_id = {other}").format(
                name=sql.Literal(name), table=sql.Identifier(name), other=sql.Literal(other)
            )
            for name in names
        )
        return {name for (name,) in connection.execute(query)}


@whole_and_mutant
def test_the_owner_is_bound_too(world: World, mutant: bool) -> None:  # noqa: FBT001
    org, other = world.org(), world.org("other")
    for one in (org, other):
        one.campaign()
        one.evaluate(one.rule())
    if mutant:
        without_forced_row_security(world.site)

    seen = seen_by_the_owner(world, org.id, other.id)

    assert seen == ({"campaigns"} if mutant else set())
    assert seen_by_the_owner(world, other.id, other.id) >= {"campaigns", "tasks", "automation_rules"}
    with psycopg.connect(world.site.urls.migration) as connection:
        assert violations(connection, FORCED) == (["campaigns"] if mutant else [])
