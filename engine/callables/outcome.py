"""What became of one call, as a value; the running of callables that are quick and pure, in this process."""

from __future__ import annotations

import logging
import re
import signal as signals
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Final, TypeAlias

from core.errors import CmisError
from engine.callables.output import checked
from engine.retry import classify, out_of_time

if TYPE_CHECKING:
    from engine.callables.base import Call, Registered
    from engine.retry import Kind

logger = logging.getLogger(__name__)

LONGEST_MESSAGE: Final = 2_000
_CODE: Final = re.compile(r"[A-Z][A-Z0-9_]{0,59}")
_CODES: Final[Mapping[Kind, str]] = {"transient": "TRANSIENT", "permanent": "PERMANENT", "bug": "INTERNAL_ERROR"}
_UNSTORABLE: Final = re.compile("[\x00\ud800-\udfff]")
_OUTPUT_NAME: Final = "OutputError"


@dataclass(frozen=True, slots=True)
class Returned:
    """It returned; `output` is checked and ready for JSON, `{}` for None."""

    output: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Raised:
    """It raised, or returned what no step can keep (OUTPUT_INVALID, OUTPUT_TOO_LARGE)."""

    code: str
    kind: Kind
    name: str
    """The class of the error."""
    message: str
    names: tuple[str, ...] = ()
    """The class and its ancestors."""


@dataclass(frozen=True, slots=True)
class TimedOut:
    """It was killed because its time was up."""

    seconds: float

    code: ClassVar[str] = "TIMEOUT"
    kind: ClassVar[Kind] = "transient"
    name: ClassVar[str] = "TimeoutError"
    names: ClassVar[tuple[str, ...]] = ("TimeoutError",)

    @property
    def message(self) -> str:
        """What people are told."""
        return f"took longer than {self.seconds:g} s and was killed"


@dataclass(frozen=True, slots=True)
class Died:
    """Its process ended before it returned: by a signal, by an exit, or nobody knows how (both None)."""

    signal: int | None = None
    exit: int | None = None

    code: ClassVar[str] = "DIED"
    kind: ClassVar[Kind] = "transient"
    name: ClassVar[str] = "DiedError"
    names: ClassVar[tuple[str, ...]] = ("DiedError",)

    @property
    def message(self) -> str:
        """What people are told."""
        if self.signal is not None:
            why = " (out of memory, or by somebody)" if self.signal == signals.SIGKILL else ""
            return f"its process was killed by {_signal_name(self.signal)}{why} before it returned"
        how = "" if self.exit is None else f" with exit code {self.exit}"
        return f"its process ended{how} before it returned"


@dataclass(frozen=True, slots=True)
class Stopped:
    """It was killed because nobody wants its result any more: a cancelled run, a lost claim."""


Failure: TypeAlias = Raised | TimedOut | Died
Outcome: TypeAlias = Returned | Failure | Stopped


def run_here(registered: Registered, call: Call) -> Returned | Raised:
    """Run an internal callable in this process.

    What ends the whole task (its own time is up, an interrupt) is not the callable's, and passes through.
    """
    try:
        output = registered.function(call)
    except Exception as error:
        if out_of_time(error):
            raise
        failure = raised(error)
        if failure.kind == "bug":
            logger.warning("callable %s failed in step %s", registered.name, call.step_id, exc_info=True)
        return failure
    return returned(output)


def returned(output: object) -> Returned | Raised:
    """Judge what a callable returned."""
    found = checked(output)
    if isinstance(found, Mapping):
        return Returned(found)
    return Raised(found.code, "permanent", _OUTPUT_NAME, shown(found.reason), (_OUTPUT_NAME,))


def raised(error: BaseException) -> Raised:
    """Tell an error so that it can be stored, retried or not, and recognised by the name of its class or a base."""
    kind = classify(error)
    code = error.code if isinstance(error, CmisError) else None
    if not isinstance(code, str) or not _CODE.fullmatch(code):
        code = _CODES[kind]
    names = tuple(base.__name__ for base in type(error).__mro__ if base is not object)
    return Raised(code, kind, names[0], shown(_said(error)) or names[0], names)


def shown(text: str) -> str:
    """Return the beginning of a text as the database can hold it."""
    return _UNSTORABLE.sub("\N{REPLACEMENT CHARACTER}", text[:LONGEST_MESSAGE])


def _said(error: BaseException) -> str:
    try:
        return str(error)
    except Exception:  # noqa: BLE001 - an error of another package may fail at telling what it is
        return ""


def _signal_name(number: int) -> str:
    try:
        return signals.Signals(number).name
    except ValueError:
        return f"signal {number}"
