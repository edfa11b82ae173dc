"""Orgs: how a caller comes by one, before any context exists."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sqlalchemy import bindparam, select, text
from sqlalchemy.dialects.postgresql import ARRAY, JSONB
from sqlalchemy.types import Uuid

from core import driver
from models import Org

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence
    from uuid import UUID

    from sqlalchemy import Connection, Row

_RESOLVE = text("SELECT org_id, name, timezone FROM cmis.resolve_org(:reference)")
_LIST = text("SELECT org_id, name, timezone, created_at FROM cmis.list_orgs()")
_MOMENT = text(
    "SELECT org_id, name, timezone, guardrails, never_touch, business_hours, cmis.clock() AS now FROM cmis.orgs WHERE org_id = :org_id"
)
_SET_GUARDRAILS = text("SELECT cmis.set_guardrails(:guardrails, :never_touch)").bindparams(
    bindparam("guardrails", type_=JSONB), bindparam("never_touch", type_=ARRAY(Uuid()))
)
_SET_BUSINESS_HOURS = text("SELECT cmis.set_business_hours(:hours)").bindparams(
    bindparam("hours", type_=JSONB(none_as_null=True))
)
_CREATE = text("SELECT cmis.create_org(:actor_id, :org_id, :name, :timezone, :admin_id, :admin_email)")


@dataclass(frozen=True, slots=True)
class OrgRef:
    """An org as its callers know it."""

    org_id: UUID
    name: str
    timezone: str


def resolve(connection: Connection, reference: str) -> OrgRef | None:
    """Return the org of this name or id, if there is one."""
    row = connection.execute(_RESOLVE, {"reference": reference}).one_or_none()
    return OrgRef(*row) if row else None


def list_all(connection: Connection) -> Sequence[Row[Any]]:
    """Return every org but the reserved one, by name."""
    return connection.execute(_LIST).all()


def create(connection: Connection, org: OrgRef, *, actor_id: UUID, admin_id: UUID, admin_email: str | None) -> None:
    """Insert an org and, if an address is given, its first admin (an existing user of that address, or a new one)."""
    values = {"actor_id": actor_id, "org_id": org.org_id, "name": org.name, "timezone": org.timezone}
    connection.execute(_CREATE, values | {"admin_id": admin_id, "admin_email": admin_email})


def moment(connection: Connection, org_id: UUID) -> Any:
    """Return what binds the context's org: its zone, guardrails and business hours, and the time as of this statement."""
    [row] = driver.rows(connection, _MOMENT, {"org_id": org_id})
    return row


def set_guardrails(connection: Connection, guardrails: Mapping[str, object], never_touch: Collection[UUID]) -> None:
    """Replace what binds all rules of the context's org; the database refuses (42501) who is none of its admins."""
    connection.execute(_SET_GUARDRAILS, {"guardrails": guardrails, "never_touch": list(never_touch)})


def set_business_hours(connection: Connection, hours: Mapping[str, str] | None) -> None:
    """Say when the context's org works (None = the default); the database refuses (42501) who is none of its admins."""
    connection.execute(_SET_BUSINESS_HOURS, {"hours": hours})


def get(connection: Connection, org_id: UUID) -> Row[Any]:
    """Return the org's row (the context's own org only)."""
    return connection.execute(select(Org.__table__).where(Org.org_id == org_id)).one()
