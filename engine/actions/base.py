"""The contract of an action kind: validate parameters, plan an effect on one entity, apply, verify and revert effects.

`validate` and `plan` are pure. `plan` returns a type that says what would happen, so that guardrails and traces see it
before anything is written. `apply`, `verify` and `revert` take a whole batch at once, in their caller's transaction.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, Literal, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import date, datetime
    from decimal import Decimal
    from uuid import UUID

    from sqlalchemy import Connection, Row

    from engine.rules.conflicts import EffectKind
    from models.enums import Channel

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
    bid_amount: Decimal | None = None
    objective: str | None = None
    tags: Sequence[str] = ()
    end_date: date | None = None
    platform: str | None = None
    external_id: str | None = None
    """Its id there."""
    entity_type: str = "campaign"
    """`event` of what stands for an event, for the kinds that can be about one: its id and, as its name, its type.

    `instance` of what stands for the run of a workflow, where a step of it names no campaign: its id, and the name of
    its workflow.
    """

    @classmethod
    def of(cls, row: Row[Any]) -> Campaign:
        """Return the campaign of a row of engine.store.campaigns, as it is there."""
        return cls(
            row.campaign_id,
            row.name,
            row.status,
            row.budget,
            row.currency,
            row.bid_amount,
            row.objective,
            row.tags,
            row.end_date,
            row.platform,
            row.external_id,
        )


@dataclass(frozen=True, slots=True)
class WorkflowStep:
    """The step of a workflow's run that acts, where no rule does."""

    instance_id: UUID
    step_id: str
    context: Mapping[str, Any]
    """The context of the run."""


@dataclass(frozen=True, slots=True)
class Scope:
    """What a plan may know besides the entity: the rule that acts, for whom, in which execution, at which event.

    Where a step of a workflow acts, the rule is the workflow, and the execution is its run.
    """

    rule_id: UUID
    rule_name: str
    org_id: UUID
    org_name: str
    execution_id: UUID
    event: Mapping[str, Any] | None = None
    """`{type, payload}` of the event that triggered the rule, if one did."""
    step: WorkflowStep | None = None
    """The step that acts; None = a rule does."""
    unstartable: Mapping[tuple[str, int | None], str] = field(default_factory=dict)
    """Why workflows cannot be started now, by what names one and its version; all others can."""


@dataclass(frozen=True, slots=True)
class Change:
    """Columns of the entity as they are and as they become, JSON-ready; `before` empty = an effect elsewhere."""

    before: Mapping[str, Any]
    after: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Delivery:
    """What is to be delivered outside, once the execution is committed; inside nothing changes."""

    channel: Channel
    message: Mapping[str, Any]
    """What its courier reads, JSON-ready: composed for this entity, secrets as references (`secret://name`) only."""


@dataclass(frozen=True, slots=True)
class Impossible:
    """The action cannot be done to this entity, and no retry will change that."""

    reason: str


@dataclass(frozen=True, slots=True)
class Nothing:
    """The entity already is as the action would make it."""


Found: TypeAlias = "Mapping[str, Any]"
"""Values that are there, JSON-ready, under the keys of an effect's `after`."""
Plan: TypeAlias = Change | Delivery | Impossible | Nothing
EffectStatus: TypeAlias = Literal["succeeded", "held", "queued", "failed", "discarded"]


@dataclass(frozen=True, slots=True)
class Effect:
    """One planned effect of one execution, or of one step of a workflow, with the ids it is recorded under."""

    action_id: UUID
    execution_id: UUID | None
    rule_id: UUID | None
    position: int
    kind: str
    params: Params
    entity_id: UUID
    before: Mapping[str, Any]
    after: Mapping[str, Any]
    status: EffectStatus
    reason: str | None = None
    """Why it is held, failed or discarded."""
    guardrail: str | None = None
    """Which guardrail holds it."""
    channel: Channel | None = None
    """By which way it leaves the database, `after` being its message; None = it is an effect inside."""
    instance_id: UUID | None = None
    """The run of a workflow whose step has this effect; execution and rule are None then."""
    step_id: str | None = None

    @property
    def idempotency_key(self) -> str:
        """Return what no other effect has: a step has one effect, however often it is tried."""
        if self.instance_id is not None:
            return f"{self.instance_id}:{self.step_id}"
        return f"{self.execution_id}:{self.position}:{self.entity_id}"

    def row(self) -> dict[str, Any]:
        """Return the effect as its row in the database."""
        return {
            "action_id": self.action_id,
            "execution_id": self.execution_id,
            "rule_id": self.rule_id,
            "position": self.position,
            "type": self.kind,
            "params": self.params,
            "entity_id": self.entity_id,
            "before": self.before,
            "after": self.after,
            "idempotency_key": self.idempotency_key,
            "status": self.status,
            "error": self._why(),
            "channel": self.channel,
        } | self._step()

    def _step(self) -> dict[str, Any]:
        return {} if self.instance_id is None else {"instance_id": self.instance_id, "step_id": self.step_id}

    def _why(self) -> dict[str, Any] | None:
        """Return why it is held, failed or discarded."""
        if self.reason is None:
            return None
        held = {} if self.guardrail is None else {"guardrail": self.guardrail}
        return {"code": self.status.upper(), "message": self.reason, **held}

    @property
    def follows(self) -> bool:
        """Whether it waits for the actions before it and a delay; what it changes is planned then."""
        return self.status == "queued" and self.channel is None

    @property
    def acts(self) -> bool:
        """Whether it uses up limit and cooldown: it is applied, or will be after a delay, or delivered."""
        return self.status in {"succeeded", "queued"}


class Action(ABC):
    """A kind of action. `aliases` are other spellings of it, which may imply parameters: see `validate`."""

    name: ClassVar[str]
    aliases: ClassVar[tuple[str, ...]] = ()
    reversible: ClassVar[bool] = True
    """Whether `revert` can take an effect back; a message that people have read cannot be."""
    idempotent: ClassVar[bool] = False
    """Whether a second application finds nothing to do: to pause what is paused; 20 % more is more each time."""
    for_events: ClassVar[bool] = False
    """Whether it can be about an event as well as about a campaign: it reads and changes nothing of a campaign."""
    texts: ClassVar[Mapping[str, int | None]] = {}
    """The parameters whose texts may hold references, and how long each may be; None = the kind says so otherwise."""

    @abstractmethod
    def validate(self, params: Mapping[str, Any], *, spelling: str, path: str) -> Params:
        """Return canonical parameters, or raise InputError with every problem at its path.

        `spelling` is the name that was used: the kind's own or one of its aliases.
        """

    @abstractmethod
    def plan(self, params: Params, campaign: Campaign, scope: Scope) -> Plan:
        """Say what the action would do to the campaign; nothing is written. Guardrails are not its business.

        A Delivery is no effect of this kind's `apply`, `verify` and `revert`: its channel's courier takes it.
        """

    def direction(self, params: Params) -> EffectKind | None:  # noqa: ARG002 - for the kinds that have one
        """Say which way the action moves whatever it is applied to, so that rules that undo each other can be told.

        None where it has no opposite, or where it depends on the entity.
        """
        return None

    @abstractmethod
    def apply(self, connection: Connection, org_id: UUID, effects: Sequence[Effect], *, now: datetime) -> None:
        """Write the effects, each of a different campaign, all planned as a Change."""

    @abstractmethod
    def verify(self, connection: Connection, org_id: UUID, effects: Sequence[Effect]) -> Mapping[UUID, Found]:
        """Return the effects that are not there, or not any more, by action id: what is found in place of `after`."""

    @abstractmethod
    def revert(self, connection: Connection, org_id: UUID, effects: Sequence[Effect], *, now: datetime) -> None:
        """Put back what was there before the effects, each of a different campaign, all verified in this transaction.

        Raises PermanentError if the kind is not reversible.
        """
