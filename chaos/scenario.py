"""What a scenario is: its faults, the processes that it runs on, and what must hold; and all scenarios by name."""

from __future__ import annotations

import importlib
import pkgutil
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, Literal, TypeAlias

from chaos import scenarios
from core.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from chaos.arena import Arena

    Inject: TypeAlias = Callable[[Arena], None]
    Prepare: TypeAlias = Callable[[Arena], None]
    Check: TypeAlias = Callable[[Arena], Iterable[str]]

Measure: TypeAlias = Literal["recovered", "resumed", "consuming", "everyone", "late", "wait"]
"""`recovered`: from the fault to the next claim of each task that was lost with its process. `resumed`: from the end of
the fault to the first claim of anything; `consuming`: to one that nobody had in hand before; `everyone`: until each
worker has claimed something that was published since. `wait`: what a scenario measured itself (`arena.waits`). `late`:
from a planned time under the fault to its decision."""


@dataclass(frozen=True, slots=True)
class Bound:
    """A promise: the worst `measure` of a kind of fault is at most so many seconds."""

    kind: str
    measure: Measure
    seconds: float


@dataclass(frozen=True, slots=True)
class Hands:
    """How many processes of each kind a scenario runs on."""

    workers: int = 2
    deliveries: int = 1
    schedulers: int = 2


def nothing(_: Arena) -> None:
    """Prepare nothing."""


def no_more(_: Arena) -> Sequence[str]:
    """Check nothing besides what holds of every scenario."""
    return ()


@dataclass(frozen=True, slots=True)
class Scenario:
    """Faults under load, and what must hold.

    `inject` is called once, in the main thread, while the load runs; it does its faults and waits between them by
    `arena.wait`, until `arena.left` is 0. It leaves nothing broken behind: what it took away is back when it returns.
    """

    name: str
    title: str
    seconds: float
    inject: Inject
    bounds: tuple[Bound, ...] = ()
    hands: Hands = field(default_factory=Hands)
    env: Mapping[str, str] = field(default_factory=dict)
    """Variables for all processes during the faults, such as CMIS_FAULTS; those that start later have them no more."""
    own_env: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    """Variables for single processes, by their name: `worker1`, `scheduler2`."""
    rate: float = 8.0
    """Requests a second that the load makes."""
    prepare: Prepare = nothing
    """Called before any process starts: for proxies (`arena.env["BROKER_URL"] = …`), packages, other orgs."""
    check: Check = no_more
    """What must hold besides, after the drain: yields what does not, in words."""
    survives: bool = False
    """Whether no process may end by itself: for faults that kill none."""
    drain_seconds: float = 150.0
    """How long after the faults everything that was asked for may take to end."""

    def env_of(self, kind: str, number: int) -> Mapping[str, str]:
        """Return what one process has besides the others' variables."""
        return self.own_env.get(f"{kind}{number}", {})


_NUMBER: Final = re.compile(r"(\D*)(\d*)")


def all_scenarios() -> dict[str, Scenario]:
    """Return every scenario by name: C1, C2 and so on."""
    names = [module.name for module in pkgutil.iter_modules(scenarios.__path__, f"{scenarios.__name__}.")]
    modules = [importlib.import_module(name) for name in names]
    found: list[Scenario] = [module.SCENARIO for module in modules if hasattr(module, "SCENARIO")]
    return {one.name: one for one in sorted(found, key=lambda one: _place(one.name))}


def chosen(names: str | None) -> list[Scenario]:
    """Return the scenarios of a list `C1,C4`; all for None. Raises InputError for a name that is none."""
    known = all_scenarios()
    if names is None:
        return list(known.values())
    wanted = [name.strip().upper() for name in names.split(",") if name.strip()]
    unknown = [name for name in wanted if name not in known]
    if unknown or not wanted:
        message = f"{', '.join(unknown) or 'an empty list'} names no scenario"
        raise InputError.of("--only", message, f"one or more of {', '.join(known)}")
    return [known[name] for name in dict.fromkeys(wanted)]


def _place(name: str) -> tuple[Any, ...]:
    match = _NUMBER.match(name)
    letters, number = match.groups() if match else (name, "")
    return (letters, int(number or 0))
