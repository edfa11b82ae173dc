"""The contract of an action kind: validate its parameters, plan an effect on one entity, apply planned effects.

`validate` and `plan` are pure. `plan` returns a type that says what would happen, so that guardrails and traces see it
before anything is written; `apply` writes a whole batch at once, inside the execution's transaction.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Literal, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime
    from decimal import Decimal
    from uuid import UUID

    from sqlalchemy import Connection

Params: TypeAlias = "Mapping[str, Any]"
"""Validated parameters of one action, JSON-ready, in canonical spelling."""


@dataclass(frozen=True, slots=True)
class Campaign:
    """A campaign as an execution sees it: the database's row with the execution's own earlier effects on top."""

    campaign_id: UUID
    name: str
    status: str
    budget: Decimal | None
    currency: str | None


@dataclass(frozen=True, slots=True)
class Scope:
    """What a plan may know besides the entity: the rule that acts and its guardrails."""

    rule_name: str
    budget_floor: Decimal


@dataclass(frozen=True, slots=True)
class Change:
    """Columns of the entity, and what they become. Empty = an effect elsewhere (a notification)."""

    before: Mapping[str, Any]
    after: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Held:
    """A guardrail stands in the way; the effect waits for a person's approval."""

    before: Mapping[str, Any]
    after: Mapping[str, Any]
    reason: str


@dataclass(frozen=True, slots=True)
class Impossible:
    """The action cannot be done to this entity, and no retry will change that."""

    reason: str


@dataclass(frozen=True, slots=True)
class Nothing:
    """The entity already is as the action would make it."""


Plan: TypeAlias = Change | Held | Impossible | Nothing
EffectStatus: TypeAlias = Literal["succeeded", "held", "failed"]


@dataclass(frozen=True, slots=True)
class Effect:
    """One planned effect of one execution, with the ids it is recorded under."""

    action_id: UUID
    execution_id: UUID
    rule_id: UUID
    position: int
    kind: str
    params: Params
    entity_id: UUID
    before: Mapping[str, Any]
    after: Mapping[str, Any]
    status: EffectStatus
    reason: str | None = None
    """Why it is held or failed."""


class Action(ABC):
    """A kind of action. `aliases` are other spellings of it, which may imply parameters: see `validate`."""

    name: ClassVar[str]
    aliases: ClassVar[tuple[str, ...]] = ()

    @abstractmethod
    def validate(self, params: Mapping[str, Any], *, spelling: str, path: str) -> Params:
        """Return canonical parameters, or raise InputError with every problem at its path.

        `spelling` is the name that was used: the kind's own or one of its aliases.
        """

    @abstractmethod
    def plan(self, params: Params, campaign: Campaign, scope: Scope) -> Plan:
        """Say what the action would do to the campaign; nothing is written."""

    @abstractmethod
    def apply(self, connection: Connection, org_id: UUID, effects: Sequence[Effect], *, now: datetime) -> None:
        """Write the effects, each of a different campaign, all planned as a Change."""
