"""What a plan knows and makes: its evaluations, the memory of what was before, campaigns as the plan leaves them."""

from __future__ import annotations

import datetime as dt
import json
from collections import defaultdict
from dataclasses import dataclass, field, fields
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Final, NamedTuple
from uuid import UUID

from core.db import RESERVED_ORG
from core.written import Written
from engine.actions.base import Campaign, Scope
from engine.rules.guardrails import net_change
from engine.run_rules.narrow import Narrowest

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from datetime import date, datetime

    from sqlalchemy import Row

    from engine.actions.base import Effect
    from engine.chunk import Item
    from engine.rules.gates import SkipReason
    from engine.run_rules.compiled import Rule
    from engine.run_rules.facts import Page
    from engine.run_rules.happened import Happened

SHOWN_ACTED: Final = 1000
SHOWN_OTHERS: Final = 20
ZERO: Final = Decimal(0)
_CENT: Final = Decimal("0.01")
_COLUMNS: Final = tuple(column.name for column in fields(Campaign))


class Asked(NamedTuple):
    """What a rule asked people for: an action on an entity, wherever it stands in the rule's list."""

    rule_id: UUID | None
    entity_id: UUID
    kind: str
    params: str

    @classmethod
    def of(cls, one: Effect | Row[Any], kind: str) -> Asked:
        """Return what an effect, or the row of one, asks for."""
        return cls(one.rule_id, one.entity_id, kind, json.dumps(one.params, sort_keys=True, default=str))

    @classmethod
    def read(cls, rule_id: str, entity_id: str, kind: str, params: Mapping[str, Any]) -> Asked:
        """Return what stands on record as JSON."""
        return cls(UUID(rule_id), UUID(entity_id), kind, json.dumps(params, sort_keys=True))


@dataclass(slots=True)
class Run:
    """One evaluation in the making: what was seen and what is to be done."""

    item: Item
    rule: Rule
    event: Happened | None = None
    """What triggered it, and what its conditions read in place of campaigns; None = no event did."""
    stopped: SkipReason | None = None
    reached: set[SkipReason] = field(default_factory=set)
    counts: defaultdict[str, int] = field(default_factory=lambda: defaultdict(int))
    entities: list[dict[str, Any]] = field(default_factory=list)
    effects: list[Effect] = field(default_factory=list)
    shown: int = 0
    """How many of `entities` have effects."""
    changed: set[UUID] = field(default_factory=set)
    """The entities that it changes."""
    seconds: float = 0.0
    missed: Narrowest = field(init=False)
    _scope: Scope | None = field(default=None, init=False)

    def __post_init__(self) -> None:
        self.missed = Narrowest(self.rule.program.distance, SHOWN_OTHERS)

    def scope(self, memory: Memory) -> Scope:
        """Return what its plans may know besides the entity; the same for all of them."""
        if self._scope is None:
            rule = self.rule
            ids = memory.org_id, memory.org_name, self.item.execution_id
            told = None if self.event is None else self.event.told()
            self._scope = Scope(rule.rule_id, rule.name, *ids, told, unstartable=memory.unstartable)
        return self._scope

    @property
    def shown_entities(self) -> list[dict[str, Any]]:
        """The entities on record, each with its trace: those in `entities`, and the narrowest misses."""
        missed = [self.traced(*miss, result="false", acted=False) for miss in self.missed.kept()]
        return self.entities + missed

    def traced(
        self,
        page: Page,
        campaign: Campaign | Row[Any],
        facts: Mapping[str, object],
        withheld: Mapping[str, str] | None,
        *,
        result: str,
        acted: bool,
    ) -> dict[str, Any]:
        """Return what is on record of a campaign that the conditions were evaluated for."""
        ages = page.ages(self.rule.program.operands, campaign.campaign_id)
        trace, _ = self.rule.program.closures.trace(facts, ages, withheld)
        document = entity_document(campaign, result, acted=acted)
        document["trace"] = Written(trace)
        return document

    @property
    def acted(self) -> bool:
        """Whether at least one effect is applied or queued: only then limit and cooldown are used up."""
        return bool(self.effects) and any(effect.acts for effect in self.effects)


def entity_document(campaign: Campaign | Row[Any], result: str, *, acted: bool) -> dict[str, Any]:
    """Return what is on record of a campaign, whatever stopped it."""
    return {"entity_id": campaign.campaign_id, "name": campaign.name, "result": result, "acted": acted}


@dataclass(slots=True)
class Memory:
    """What throttles, guardrails and approvals remember of the time before this plan; `today` in the org's zone."""

    now: datetime
    today: date
    last_acted: dict[tuple[UUID, UUID], datetime]
    held: set[Asked]
    """What waits for approval or was rejected: it is not asked for again."""
    never_touch: frozenset[UUID] = frozenset()
    net: dict[str | None, Decimal] = field(default_factory=dict)
    """Today's budget changes of the org by currency; only read where a guardrail bounds them."""
    org_id: UUID = RESERVED_ORG
    org_name: str = ""
    """Whose rules are planned, as messages name it."""
    unstartable: Mapping[tuple[str, int | None], str] = field(default_factory=dict)
    """Why workflows that its rules would start cannot be started (`Scope.unstartable`)."""

    def acted_today(self, rule: Rule) -> int:
        """Return how many executions of the rule acted today."""
        return rule.acted_today if rule.acted_on == self.today else 0


@dataclass(slots=True)
class Overlay:
    """Campaigns of a page with the effects planned so far; `net` is shared by the pages of one plan."""

    page: Page
    net: dict[str | None, Decimal] = field(default_factory=dict)
    changed: dict[UUID, Campaign] = field(default_factory=dict)

    def seen(self, entity_id: UUID | None) -> Iterator[Campaign | Row[Any]]:
        """Yield the campaigns, or the one of this id, as the next rule finds them: rows, where nothing changed them."""
        rows = self.page.rows
        one = None if entity_id is None else rows.get(entity_id)
        found = rows.values() if entity_id is None else () if one is None else (one,)
        if not self.changed:
            yield from found
            return
        for row in found:
            yield self.changed.get(row.campaign_id, row)

    def get(self, campaign_id: UUID) -> Campaign:
        """Return the campaign as the next action would find it."""
        if campaign_id in self.changed:
            return self.changed[campaign_id]
        row = self.page.rows[campaign_id]
        if isinstance(row, Campaign):  # what stands for an event
            return row
        return Campaign.of(row)

    def put(self, campaign: Campaign, effect: Effect) -> Campaign:
        """Change columns of a campaign for all that comes after."""
        columns = {key: column_value(key, value) for key, value in effect.after.items() if key in effect.before}
        if "budget" in columns:
            self.net[campaign.currency] = self.net.get(campaign.currency, ZERO) + net_change(
                effect.before, effect.after
            )
        changed = Campaign(*[columns[name] if name in columns else getattr(campaign, name) for name in _COLUMNS])
        self.changed[campaign.campaign_id] = changed
        return changed


def column_value(name: str, value: Any) -> Any:
    """Return a value of an effect, or of the audit log, as the campaign's column would give it back."""
    if value is None:
        return None
    if name in {"budget", "bid_amount"}:
        return Decimal(str(value)).quantize(_CENT)
    return dt.date.fromisoformat(value) if name in {"start_date", "end_date"} else value
