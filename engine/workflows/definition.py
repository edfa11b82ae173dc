"""A valid definition of a workflow: its steps, and which of them follow which.

A step leaves by *labels* (`next`, `true`, `branch:0`, `failure` …), each of which leads to a step or to nowhere: the
branch ends there. Steps that several others lead to wait until each of those is resolved, taken or not.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any, Final, Literal, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from models.workflow_enums import StepType

NEXT: Final = "next"
FAILURE: Final = "failure"
TIMEOUT: Final = "timeout"
REJECTED: Final = "rejected"
ALL_BRANCHES: Final = "all"
"""The label that a parallel split leaves by: every edge of it is taken."""

OnFailure: TypeAlias = Literal["fail", "continue", "pause", "branch"]
"""What becomes of the instance once a step has failed for good: it fails; it goes on as if the step had completed; it
is paused until a person retries or skips the step; it goes on where `failure` leads."""


@dataclass(frozen=True, slots=True)
class Retry:
    """How a step is tried again: exponential backoff with full jitter, `max_retries` beyond the first attempt."""

    max_retries: int = 3
    base_seconds: float = 2.0
    factor: float = 2.0
    cap_seconds: float = 900.0
    non_retryable: frozenset[str] = frozenset()
    """Codes of errors, and names of exceptions, that no retry mends."""


@dataclass(frozen=True, slots=True)
class Step:
    """One node. `config` is canonical: what its type reads, checked, in one spelling."""

    id: str
    type: StepType
    config: Mapping[str, Any]
    edges: Mapping[str, str | None] = field(default_factory=dict)
    """By label, where the step leads; None = that branch ends."""
    name: str | None = None
    retry: Retry = Retry()
    on_failure: OnFailure = "fail"
    timeout_seconds: float | None = None
    """How long one attempt may take; None = what its type has by itself."""
    references: tuple[tuple[str, ...], ...] = ()
    """The paths that its config refers to: `("context", "lead", "id")`, `("steps", "draft", "output", "url")`."""

    @property
    def targets(self) -> tuple[str, ...]:
        """The steps that it can lead to, each once."""
        return tuple(dict.fromkeys(target for target in self.edges.values() if target is not None))

    def taken(self, branch: str | None) -> tuple[str, ...]:
        """Return the steps that are led to by the label it left by; none without one."""
        if branch is None:
            return ()
        if branch == ALL_BRANCHES:
            return self.targets
        target = self.edges.get(branch)
        return () if target is None else (target,)


@dataclass(frozen=True)
class Definition:
    """A checked graph: every step reachable from `start`, no cycle."""

    steps: Mapping[str, Step]
    """By id, in the order of the document."""
    start: str
    timeout_seconds: float | None = None
    """How long an instance may take; None = for ever."""

    @cached_property
    def sources(self) -> Mapping[str, tuple[str, ...]]:
        """For each step the steps that can lead to it, each once."""
        found: dict[str, list[str]] = {step_id: [] for step_id in self.steps}
        for step in self.steps.values():
            for target in step.targets:
                found[target].append(step.id)
        return {step_id: tuple(sources) for step_id, sources in found.items()}

    @cached_property
    def ends(self) -> tuple[str, ...]:
        """The steps that lead nowhere: what they put out is the output of the instance."""
        return tuple(step.id for step in self.steps.values() if not step.targets)

    def losers(self, merge: str) -> frozenset[str]:
        """Return the steps before a merge whose every way on leads to it: nobody waits for them once it has fired."""
        if merge not in self._losers:
            self._losers[merge] = self._find_losers(merge)
        return self._losers[merge]

    def after(self, step_id: str) -> frozenset[str]:
        """Return the steps that can be reached from a step, without itself."""
        return self._reach(step_id, lambda one: self.steps[one].targets)

    def before(self, step_id: str) -> frozenset[str]:
        """Return the steps from which a step can be reached, without itself."""
        return self._reach(step_id, lambda one: self.sources[one])

    @cached_property
    def _losers(self) -> dict[str, frozenset[str]]:
        return {}

    def _find_losers(self, merge: str) -> frozenset[str]:
        found: set[str] = set()
        # nearest to the merge first: whether all ways of a step lead there is known once it is known of those after it
        for step_id in reversed(self.order):
            step = self.steps[step_id]
            if step.targets and all(target == merge or target in found for target in step.targets):
                found.add(step_id)
        return frozenset(found & self.before(merge))

    @cached_property
    def order(self) -> Sequence[str]:
        """The ids so that each comes after all that lead to it."""
        left = {step_id: len(sources) for step_id, sources in self.sources.items()}
        free = [step_id for step_id, count in left.items() if not count]
        for step_id in free:
            for target in self.steps[step_id].targets:
                left[target] -= 1
                if not left[target]:
                    free.append(target)
        return free

    @staticmethod
    def _reach(start: str, beside: Callable[[str], Iterable[str]]) -> frozenset[str]:
        found: set[str] = set()
        waiting = list(beside(start))
        while waiting:
            one = waiting.pop()
            if one not in found:
                found.add(one)
                waiting += beside(one)
        return frozenset(found)
