"""Secrets as their rows have them: encrypted, or erased."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sqlalchemy import select, text, update

from models import AutomationRule, Connector, Secret

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence
    from datetime import datetime
    from uuid import UUID

    from sqlalchemy import Connection, Row, Select

_PUT = text("""
INSERT INTO cmis.secrets AS s (org_id, name, secret_id, key_id, nonce, ciphertext, created_at, updated_at)
VALUES (:org_id, :name, :secret_id, :key_id, :nonce, :ciphertext, :now, :now)
ON CONFLICT (org_id, name) DO UPDATE SET key_id = excluded.key_id, nonce = excluded.nonce,
       ciphertext = excluded.ciphertext, updated_at = excluded.updated_at, deleted_at = NULL
 WHERE :replace OR s.ciphertext IS NULL
""")
# The version that is overwritten stays in the table's pages until vacuum takes it, encrypted.
_ERASE = text("""
UPDATE cmis.secrets SET nonce = NULL, ciphertext = NULL, deleted_at = :now, updated_at = :now
 WHERE org_id = :org_id AND name = :name AND ciphertext IS NOT NULL
""")
_LOCK_OLDER = text("""
SELECT name, key_id, nonce, ciphertext FROM cmis.secrets
 WHERE org_id = :org_id AND key_id <> :key_id AND ciphertext IS NOT NULL AND name > :after
 ORDER BY name LIMIT :limit FOR NO KEY UPDATE
""")
# Drafts and what was published last; what a name is, is said in engine.secrets.references.
_NAMING_WORKFLOWS = text("""
SELECT t.name, array_agg(DISTINCT m[1]) AS secrets
  FROM cmis.workflow_templates t
  LEFT JOIN cmis.workflow_template_versions v
    ON v.org_id = t.org_id AND v.template_id = t.template_id AND v.version = t.version
 CROSS JOIN LATERAL regexp_matches(concat(t.definition, v.definition), 'secret://([a-z][a-z0-9_-]{0,62})(?![A-Za-z0-9_-])', 'g') m
 WHERE t.org_id = :org_id AND t.status <> 'archived'
 GROUP BY t.template_id, t.name ORDER BY t.name
""")


def put(
    connection: Connection,
    org_id: UUID,
    name: str,
    sealed: Mapping[str, Any],
    *,
    secret_id: UUID,
    now: datetime,
    replace: bool,
) -> bool:
    """Give a secret, new or there, an encrypted value (`key_id`, `nonce`, `ciphertext`).

    Without `replace`, False where it has a value. A name that was deleted keeps its first id.
    """
    values = {"org_id": org_id, "name": name, "secret_id": secret_id, "now": now, "replace": replace}
    return connection.execute(_PUT, values | dict(sealed)).rowcount == 1


def erase(connection: Connection, org_id: UUID, name: str, *, now: datetime) -> bool:
    """Erase a secret's value and leave its name; False where there is none."""
    return connection.execute(_ERASE, {"org_id": org_id, "name": name, "now": now}).rowcount == 1


def listing(connection: Connection, org_id: UUID, name: str | None = None) -> Sequence[Row[Any]]:
    """Return the secrets that have a value, or the one of this name, by name: all but the value."""
    table = Secret.__table__
    query: Select[Any] = select(table.c.name, table.c.secret_id, table.c.key_id, table.c.created_at, table.c.updated_at)
    query = query.where(table.c.org_id == org_id, table.c.ciphertext.is_not(None))
    if name is not None:
        query = query.where(table.c.name == name)
    return connection.execute(query.order_by(table.c.name)).all()


def there(connection: Connection, org_id: UUID, names: Collection[str]) -> set[str]:
    """Return those of the names that have a value."""
    table = Secret
    query = select(table.name).where(table.org_id == org_id, table.name.in_(names), table.ciphertext.is_not(None))
    return set(connection.execute(query).scalars())


def sealed(connection: Connection, org_id: UUID, names: Collection[str]) -> dict[str, Row[Any]]:
    """Return the encrypted values of those of the names that have one."""
    table = Secret.__table__
    query: Select[Any] = select(table.c.name, table.c.key_id, table.c.nonce, table.c.ciphertext)
    query = query.where(table.c.org_id == org_id, table.c.name.in_(names), table.c.ciphertext.is_not(None))
    return {row.name: row for row in connection.execute(query)}


def lock_older(connection: Connection, org_id: UUID, key_id: str, *, after: str, limit: int) -> Sequence[Row[Any]]:
    """Lock secrets that another key than this one encrypts, by name and behind one, until the transaction ends."""
    values = {"org_id": org_id, "key_id": key_id, "after": after, "limit": limit}
    return connection.execute(_LOCK_OLDER, values).all()


def reseal(connection: Connection, org_id: UUID, name: str, sealed: Mapping[str, Any]) -> None:
    """Write the same value of a locked secret under another key; when the value was set stays as it is."""
    table = Secret
    connection.execute(update(table).where(table.org_id == org_id, table.name == name).values(**sealed))


def naming_rules(connection: Connection, org_id: UUID) -> Sequence[Row[Any]]:
    """Return the actions of the org's rules that are not archived, oldest first: some may name a secret."""
    table = AutomationRule.__table__
    query: Select[Any] = select(table.c.name, table.c.actions)
    query = query.where(table.c.org_id == org_id, table.c.status != "archived")
    return connection.execute(query.order_by(table.c.rule_id)).all()


def naming_connectors(connection: Connection, org_id: UUID) -> Sequence[Row[Any]]:
    """Return the texts of the org's connectors that are not archived in which a secret may be named, by name."""
    table = Connector.__table__
    query: Select[Any] = select(table.c.name, table.c.url, table.c.signing_secret)
    query = query.where(table.c.org_id == org_id, table.c.status != "archived")
    return connection.execute(query.order_by(table.c.name)).all()


def naming_workflows(connection: Connection, org_id: UUID) -> Sequence[Row[Any]]:
    """Return (name, secrets) of the org's workflows that are not archived and name secrets, by name."""
    return connection.execute(_NAMING_WORKFLOWS, {"org_id": org_id}).all()
