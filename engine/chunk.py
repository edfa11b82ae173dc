"""What a task of kind `evaluate_rules` carries: evaluations, grouped by org, packed so that commits are shared.

An optimisation, which evaluates all active rules of its org, is alone in its task.

A chunk is bounded by 100 evaluations, 10 of one rule, 20,000 rule-entity pairs, and 10 orgs (ARCHITECTURE §3): what is
left over of each org shares chunks of the reserved org; all others hold one org's evaluations only.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from datetime import datetime
from itertools import groupby
from typing import TYPE_CHECKING, Any, Final, NamedTuple, TypeAlias

from core.errors import PermanentError
from core.ids import uuid_of
from engine.urgency import NORMAL

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from uuid import UUID

MAX_ITEMS: Final = 100
MAX_PAIRS: Final = 20_000
MAX_ORGS: Final = 10
MAX_REPEATS: Final = 10
"""Evaluations of one rule in a chunk: they run one after another, and a task that takes long keeps others waiting."""
_SHOWN: Final = 500
_Common: TypeAlias = "tuple[UUID, str, UUID | None, str | None, datetime | None, UUID | None, dict[str, Any] | None]"


class Item(NamedTuple):
    """One evaluation to make; its execution id is made with it, so that a second execution is impossible."""

    rule_id: UUID
    execution_id: UUID
    trigger: str
    job_id: UUID | None = None
    origin: str | None = None
    scheduled_for: datetime | None = None
    requested_by: UUID | None = None
    """Who asked for it by hand; None = a schedule did."""
    context: dict[str, Any] | None = None
    """What the job gives to its runs (`execution_context`)."""
    campaign_id: UUID | None = None
    """The one campaign that it looks at; None = all that the rule is for."""
    event_id: UUID | None = None
    """The event that triggered it; its payload is read when it is evaluated."""

    def document(self) -> dict[str, Any]:
        """Return what the task's payload has; ids and times are written out when it is stored."""
        document = _document(self, {"rule_id": self.rule_id})
        if self.campaign_id is not None:
            document["campaign_id"] = self.campaign_id
        if self.event_id is not None:
            document["event_id"] = self.event_id
        return document


@dataclass(frozen=True, slots=True)
class Optimization:
    """An evaluation of all active rules of an org; its execution id is that of its result."""

    execution_id: UUID
    trigger: str
    job_id: UUID | None = None
    origin: str | None = None
    scheduled_for: datetime | None = None
    requested_by: UUID | None = None
    context: dict[str, Any] | None = None
    campaign_id: UUID | None = None
    """The one campaign that they look at; None = all of the org."""

    def document(self) -> dict[str, Any]:
        """Return what the task's payload has."""
        return _document(self, {"optimize": {"campaign_id": self.campaign_id}})


@dataclass(frozen=True, slots=True)
class Group:
    """The evaluations of one org, or its optimisation."""

    org_id: UUID
    items: tuple[Item, ...]
    optimization: Optimization | None = None

    @property
    def size(self) -> int:
        """How many items there are in the payload."""
        return len(self.items) + (self.optimization is not None)

    def document(self) -> dict[str, Any]:
        """Return what the task's payload has."""
        alone = [] if self.optimization is None else [self.optimization.document()]
        return {"org_id": self.org_id, "items": alone + [item.document() for item in self.items]}


class Due(NamedTuple):
    """An evaluation that is to be packed: how many entities it will look at, how long it may take, when it starts.

    `urgency`: as `engine.urgency` has it.
    """

    org_id: UUID
    item: Item
    entities: int
    timeout_seconds: int
    run_at: datetime
    urgency: int = NORMAL


class Alone(NamedTuple):
    """An optimisation that is to be enqueued, in a task of its own: how long it may take, when it starts."""

    org_id: UUID
    optimization: Optimization
    timeout_seconds: int
    run_at: datetime


@dataclass(slots=True)
class _Chunk:
    due: list[Due] = field(default_factory=list)
    pairs: int = 0
    repeats: Counter[int] = field(default_factory=Counter)
    """How often each rule is in it, by the number of its id."""

    def fits(self, due: Due, size: int) -> bool:
        if self.repeats[due.item.rule_id.int] >= MAX_REPEATS:
            return False
        return len(self.due) < size and (not self.due or self.pairs + due.entities <= MAX_PAIRS)

    def add(self, due: Due) -> None:
        self.due.append(due)
        self.pairs += due.entities
        self.repeats[due.item.rule_id.int] += 1


def payload(groups: Iterable[Group]) -> dict[str, Any]:
    """Return the payload of a chunk's task."""
    return {"groups": [group.document() for group in groups]}


def groups(document: Mapping[str, Any]) -> tuple[Group, ...]:
    """Read a payload back, its groups ascending by org id: the lock order. Raises PermanentError if it is none."""
    try:
        found = tuple(sorted(map(_group, document["groups"]), key=lambda group: group.org_id))
    except (AttributeError, LookupError, TypeError, ValueError) as error:
        message = f"the task's payload cannot be read: {type(error).__name__}: {error}"
        raise PermanentError(message[:_SHOWN]) from error
    if not any(group.size for group in found):
        message = "the task's payload names nothing to do"
        raise PermanentError(message)
    return found


def halves(whole: Sequence[Group]) -> tuple[tuple[Group, ...], tuple[Group, ...]]:
    """Cut a chunk of two or more evaluations in two that differ by one at most, in their order."""
    items = [(group.org_id, item) for group in whole for item in group.items]
    middle = (len(items) + 1) // 2
    return _regrouped(items[:middle]), _regrouped(items[middle:])


def singles(whole: Sequence[Group]) -> list[tuple[Group, ...]]:
    """Cut a chunk into its evaluations."""
    return [(Group(group.org_id, (item,)),) for group in whole for item in group.items]


def _regrouped(items: Iterable[tuple[UUID, Item]]) -> tuple[Group, ...]:
    by_org = groupby(items, key=lambda one: one[0])
    return tuple(Group(org_id, tuple(item for _, item in of_org)) for org_id, of_org in by_org)


def pack(due: Sequence[Due], size: int = MAX_ITEMS) -> Iterator[tuple[Group, ...]]:
    """Yield chunks of at most `size` items: groups of one org where it fills them, of up to 10 for remainders."""
    remainders: list[_Chunk] = []
    for _, of_org in groupby(sorted(due, key=_org), key=_org):
        chunks = _split(of_org, size)
        remainders.append(chunks.pop())
        yield from (_grouped(chunk.due) for chunk in chunks)
    yield from (_grouped(shared) for shared in _share(remainders, size))


def _org(due: Due) -> int:
    """Return the org's id as a number, which sorts as ids do and at a fraction of the cost."""
    return due.org_id.int


def _split(due: Iterable[Due], size: int) -> list[_Chunk]:
    chunks = [_Chunk()]
    for one in due:
        if not chunks[-1].fits(one, size):
            chunks.append(_Chunk())
        chunks[-1].add(one)
    return chunks


def _share(remainders: Iterable[_Chunk], size: int) -> Iterator[list[Due]]:
    """Join remainders greedily: every joined chunk stays within all three bounds."""
    shared, pairs, orgs = list[Due](), 0, 0
    for chunk in remainders:
        full = orgs == MAX_ORGS or len(shared) + len(chunk.due) > size or pairs + chunk.pairs > MAX_PAIRS
        if shared and full:
            yield shared
            shared, pairs, orgs = [], 0, 0
        shared, pairs, orgs = shared + chunk.due, pairs + chunk.pairs, orgs + 1
    if shared:
        yield shared


def _grouped(due: Iterable[Due]) -> tuple[Group, ...]:
    orgs = (list(of_org) for _, of_org in groupby(due, key=_org))
    return tuple(Group(of_org[0].org_id, tuple(one.item for one in of_org)) for of_org in orgs)


def _document(one: Item | Optimization, document: dict[str, Any]) -> dict[str, Any]:
    """Add what an evaluation and an optimisation have in common."""
    document["execution_id"], document["trigger"] = one.execution_id, one.trigger
    if one.job_id is not None and one.scheduled_for is not None:
        document["job_id"], document["origin"], document["scheduled_for"] = one.job_id, one.origin, one.scheduled_for
    if one.requested_by is not None:
        document["requested_by"] = one.requested_by
    if one.context:
        document["context"] = one.context
    return document


def _group(document: Mapping[str, Any]) -> Group:
    org_id, items = uuid_of(document["org_id"]), document["items"]
    if len(items) == 1 and "optimize" in items[0]:
        [alone] = items
        campaign_id = _id(alone["optimize"].get("campaign_id"))
        return Group(org_id, (), Optimization(*_common(alone), campaign_id))
    return Group(org_id, tuple(_item(item) for item in items))


def _item(document: Mapping[str, Any]) -> Item:
    get = document.get
    return Item(uuid_of(document["rule_id"]), *_common(document), _id(get("campaign_id")), _id(get("event_id")))


def _common(document: Mapping[str, Any]) -> _Common:
    """Return what evaluations and optimisations have in common, in the order of their fields."""
    get, scheduled_for = document.get, document.get("scheduled_for")
    return (
        uuid_of(document["execution_id"]),
        document["trigger"],
        _id(get("job_id")),
        get("origin"),
        datetime.fromisoformat(scheduled_for) if scheduled_for else None,
        _id(get("requested_by")),
        get("context"),
    )


def _id(text: str | None) -> UUID | None:
    return uuid_of(text) if text else None
