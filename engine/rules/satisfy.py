"""Find facts under which several condition trees hold at once.

Each tree is spread out into conjunctions, each a set of leaves with the results that are wanted of them; for one
conjunction of every tree, values are chosen quantity by quantity, those that others are measured by first, going back
where a choice leads nowhere. What is found is evaluated before it is returned; where nothing is found within the
bounds, there may be something still, except where leaves compare with constants only and no bound was met.

Metrics are taken as independent of each other, but a ratio agrees with its sums where the trees read both.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from decimal import Decimal
from itertools import islice, product
from typing import TYPE_CHECKING, Final, NamedTuple, TypeAlias

from engine.rules.candidates import Literal, candidates
from engine.rules.compare import leaf_result
from engine.rules.evaluate import evaluate
from engine.rules.fields import RATIOS, derive
from engine.rules.tree import Condition, Leaf, Logic, Quantity, operands, operands_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from engine.rules.windows import Window

    Facts = Mapping[str, object]

MAX_CONJUNCTIONS: Final = 256  # of one tree
MAX_TRIALS: Final = 10_000  # values tried for one question: some tenths of a second

_FREE: Final = object()  # stands for a quantity that has not been chosen, or is not read
_TOLERANCE: Final = Decimal("1E-9")  # relative, of a ratio from its sums

Wanted: TypeAlias = "tuple[Leaf, bool]"
Span: TypeAlias = "tuple[Window | None, bool]"


class View(NamedTuple):
    """A tree, and the facts that are given where it is evaluated; the others are to be found."""

    condition: Condition
    given: Facts


def common_facts(views: Sequence[View]) -> dict[str, object] | None:
    """Return facts, by `Operand.key`, under which every tree holds with what is given to it; None if none are found."""
    keys = _keys(views)
    budget = _Budget()
    choices = [list(islice(_conjunctions(view.condition, wanted=True), MAX_CONJUNCTIONS)) for view in views]
    for chosen in product(*choices):
        literals = [
            Literal(leaf, wanted, view.given)
            for view, conjunction in zip(views, chosen, strict=True)
            for leaf, wanted in conjunction
        ]
        facts = _Search(literals, keys, budget).run()
        if facts is not None and all(evaluate(view.condition, {**facts, **view.given}) is True for view in views):
            return facts
        if budget.left <= 0:
            break
    return None


def _keys(views: Sequence[View]) -> dict[Quantity, set[str]]:
    """Return the keys under which each quantity is read, but those that are given."""
    found: dict[Quantity, set[str]] = {}
    for view in views:
        for operand in operands(view.condition):
            if operand.key not in view.given:
                found.setdefault(operand.quantity, set()).add(operand.key)
    return found


def _conjunctions(condition: Condition, *, wanted: bool) -> Iterator[tuple[Wanted, ...]]:
    """Yield sets of leaves and results that each give the tree what is wanted: its disjunctive normal form, lazily."""
    if isinstance(condition, Leaf):
        yield ((condition, wanted),)
        return
    of_nodes = wanted is not (condition.logic is Logic.NONE)
    if of_nodes is not (condition.logic is Logic.ALL):
        for node in condition.nodes:
            yield from _conjunctions(node, wanted=of_nodes)
        return
    first, *others = condition.nodes
    yield from _all_of(first, others, wanted=of_nodes)


def _all_of(first: Condition, others: Sequence[Condition], *, wanted: bool) -> Iterator[tuple[Wanted, ...]]:
    for head in _conjunctions(first, wanted=wanted):
        if not others:
            yield head
            continue
        yield from (head + tail for tail in _all_of(others[0], others[1:], wanted=wanted))


@dataclass(slots=True)
class _Budget:
    left: int = MAX_TRIALS


@dataclass(slots=True)
class _Search:
    """The choice of values for one conjunction of every tree."""

    literals: Sequence[Literal]
    keys: Mapping[Quantity, set[str]]
    budget: _Budget
    _order: list[Quantity] = field(init=False)
    _checks: list[list[Literal]] = field(init=False)

    def __post_init__(self) -> None:
        read = {
            operand.quantity: None
            for literal in self.literals
            for operand in operands_of(literal.leaf)
            if operand.key not in literal.given
        }
        self._order = _measures_first(read, self.literals)
        at = {quantity: index for index, quantity in enumerate(self._order)}
        self._checks = [[] for _ in (None, *self._order)]
        for literal in self.literals:  # each as soon as all that it reads has been chosen
            chosen = [at[operand.quantity] for operand in operands_of(literal.leaf) if operand.key not in literal.given]
            self._checks[max(chosen, default=-1) + 1].append(literal)

    def run(self) -> dict[str, object] | None:
        """Return the facts, or None."""
        self.budget.left -= 1
        return self._choose(0, {}, {})

    def _choose(self, index: int, values: dict[Quantity, object], facts: dict[str, object]) -> dict[str, object] | None:
        if not all(leaf_result(leaf, {**facts, **given}) is wanted for leaf, wanted, given in self._checks[index]):
            return None
        if index == len(self._order):
            return facts
        quantity = self._order[index]
        for value in _agreeing(quantity, values, candidates(quantity, self.literals, facts)):
            if self.budget.left <= 0:
                return None
            self.budget.left -= 1
            chosen = dict.fromkeys(self.keys[quantity], value)
            found = self._choose(index + 1, {**values, quantity: value}, {**facts, **chosen})
            if found is not None:
                return found
        return None


def _measures_first(read: Mapping[Quantity, None], literals: Sequence[Literal]) -> list[Quantity]:
    """Order the quantities: what another is compared with before it; a ratio, its denominator, its numerator."""
    before: dict[Quantity, set[Quantity]] = {quantity: set() for quantity in read}
    for literal in literals:
        subject, *measures = (operand.quantity for operand in operands_of(literal.leaf))
        if subject in before:
            before[subject].update(measure for measure in measures if measure in before)
    for name, window, previous in read:
        ratio = RATIOS.get(name)
        if ratio is None:
            continue
        denominator, numerator = ((of, window, previous) for of in (ratio.denominator, ratio.numerator))
        if denominator in before and numerator in before:
            before[denominator].add((name, window, previous))
            before[numerator].add(denominator)
    order: dict[Quantity, None] = {}
    waiting = set(before)
    while waiting:
        ready = [quantity for quantity in before if quantity in waiting and not before[quantity] & waiting]
        taken = ready or [next(quantity for quantity in before if quantity in waiting)]  # a circle is opened anywhere
        order.update(dict.fromkeys(taken))
        waiting.difference_update(taken)
    return list(order)


def _agreeing(quantity: Quantity, values: Mapping[Quantity, object], found: Iterator[object]) -> Iterator[object]:
    """Leave of the candidates those that agree with the sums and ratios chosen; a numerator may be settled by them."""
    name, window, previous = quantity
    span = window, previous
    for rate_name, ratio in RATIOS.items():
        denominator, rate = (_chosen(values, of, span) for of in (ratio.denominator, rate_name))
        if ratio.numerator == name and isinstance(denominator, Decimal) and isinstance(rate, Decimal) and denominator:
            found = iter([rate * denominator / ratio.scale])
            break
    yield from (value for value in found if _is_consistent({**values, quantity: value}, span))


def _is_consistent(values: Mapping[Quantity, object], span: Span) -> bool:
    """Return whether each ratio of the window is what its sums make it, as far as they have been chosen."""
    for name, ratio in RATIOS.items():
        rate, denominator, numerator = (_chosen(values, of, span) for of in (name, ratio.denominator, ratio.numerator))
        if rate is _FREE or denominator is _FREE:
            continue
        if not isinstance(rate, Decimal):
            if denominator and numerator not in {_FREE, None}:
                return False
        elif not isinstance(denominator, Decimal) or not denominator or numerator is None:
            return False
        elif isinstance(numerator, Decimal):
            made = derive(name, {ratio.numerator: numerator, ratio.denominator: denominator})
            if made is None or abs(made - rate) > _TOLERANCE * abs(rate):
                return False
    return True


def _chosen(values: Mapping[Quantity, object], name: str, span: Span) -> object:
    return values.get((name, *span), _FREE)
