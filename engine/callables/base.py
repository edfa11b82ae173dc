"""The contract of a callable: what it is called with, and the mark that makes a function one.

A callable takes a `Call` and returns a mapping that is ready for JSON (256 KiB at most), or None. It raises
PermanentError where no retry helps; TransientError, or anything else, is retried as its step says.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from typing import Any, Final, Self, TypeAlias

NAME: Final = re.compile(r"[a-z][a-z0-9_.-]{0,99}")
NAME_RULE: Final = "small letters, digits, dots, hyphens and underscores, a letter first, at most 100"


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """One attempt of a step. Everything in it is ready for JSON; ids are texts."""

    org_id: str
    instance_id: str
    step_id: str
    attempt: int = 1
    """1 or more."""
    params: Mapping[str, Any] = field(default_factory=dict)
    """As the step has them, references filled in."""
    context: Mapping[str, Any] = field(default_factory=dict)
    """The context of the instance."""
    deadline: float | None = None
    """How many seconds this attempt has; None = no bound."""

    @property
    def idempotency_key(self) -> str:
        """The same in every attempt of the step: what is sent outside goes by it, so that it happens once."""
        return f"{self.instance_id}:{self.step_id}"

    def document(self) -> dict[str, Any]:
        """Return it as a JSON document, which `Call(**document)` reads."""
        return {one.name: getattr(self, one.name) for one in fields(self)}


Function: TypeAlias = Callable[[Call], Mapping[str, Any] | None]


@dataclass(frozen=True, slots=True)
class Registered:
    """A function that steps call by `name`."""

    name: str
    function: Function
    internal: bool = False
    """It promises to take milliseconds, to touch nothing outside and to be repeatable: it runs in the worker itself,
    inside the transaction of its step, unless the step has a timeout."""
    package: str = ""
    """Name and version of the distribution that brings it."""
    doc: str = ""
    """The first line of its docstring."""

    def __call__(self, call: Call) -> Mapping[str, Any] | None:
        """Call the function as it is: for tests of it."""
        return self.function(call)

    @property
    def module(self) -> str:
        """Where another process finds it."""
        return self.function.__module__

    @property
    def qualname(self) -> str:
        """How it is called there."""
        return self.function.__qualname__

    @classmethod
    def of(cls, name: str, function: Function, *, internal: bool) -> Self:
        """Register a function. Raises ValueError where its name or the function will not do."""
        if not NAME.fullmatch(name):
            raise ValueError(f"a callable's name has {NAME_RULE}: {name!r}"[:200])
        if not inspect.isfunction(function) or inspect.iscoroutinefunction(function):
            raise ValueError(f"{name} is no plain function (of async ones, run the event loop inside a plain one)")
        if not all(part.isidentifier() for part in function.__qualname__.split(".")):
            raise ValueError(f"{name} must stand at the top of its module: another process looks for it there")
        return cls(name, function, internal, doc=(inspect.getdoc(function) or "").partition("\n")[0])


def step(name: str, *, internal: bool = False) -> Callable[[Function], Registered]:
    """Make a function a callable of this name. Raises ValueError where the name or the function will not do.

    `internal` ones run in the worker, inside its transaction, unless their step has a timeout; all others in a process
    of their own, which is killed when their time is up.
    """
    return lambda function: Registered.of(name, function, internal=internal)
