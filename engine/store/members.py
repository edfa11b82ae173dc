"""Who belongs to an org, and as what."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sqlalchemy import text

if TYPE_CHECKING:
    from collections.abc import Sequence
    from uuid import UUID

    from sqlalchemy import Connection, Row

_LISTING = text("""
SELECT u.user_id, u.email, u.name, m.role, m.created_at
  FROM cmis.user_orgs m JOIN cmis.users u USING (user_id)
 WHERE m.org_id = :org_id AND m.is_active ORDER BY u.email
""")
_SET = text("SELECT cmis.set_member(:user_id, :email, :role)")


def listing(connection: Connection, org_id: UUID) -> Sequence[Row[Any]]:
    """Return the org's active members by address."""
    return connection.execute(_LISTING, {"org_id": org_id}).all()


def set_role(connection: Connection, email: str, role: str | None, *, user_id: UUID) -> bool:
    """Make the person of this address (`user_id` if new) a member of the context's org, or with None no member any more.

    False where there is none to be. The database refuses (42501) who is none of the org's admins.
    """
    values = {"user_id": user_id, "email": email, "role": role}
    return connection.execute(_SET, values).scalar_one() is not None
