"""The runner: the process in which one call runs, with a group of its own and nothing of the worker's."""

from __future__ import annotations

import importlib
import json
import logging
import os
import signal
import sys
import traceback
from contextlib import suppress
from dataclasses import asdict
from operator import attrgetter
from typing import TYPE_CHECKING, Any, NoReturn, TextIO

from engine.callables import frames
from engine.callables.base import Call, Registered
from engine.callables.descendants import be_first_to_die, die_with
from engine.callables.outcome import Raised, Returned, raised, returned

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping


def run(request: Mapping[str, Any], warden: int, result_fd: int, said_fd: int, others: Iterable[int]) -> NoReturn:
    """Run the requested call, write its result, and end without anything that waits: its threads end with it."""
    try:
        os.setsid()
        die_with(warden)
        be_first_to_die()
        _own(said_fd, others)
        result = _result(request)
        _flush()
        with os.fdopen(result_fd, "wb") as to:
            to.write(frames.framed(json.dumps(result).encode()))
    except BaseException:  # noqa: BLE001 - the warden tells of a death; no way leads back into its code
        traceback.print_exc()
        _flush()
        os._exit(1)
    os._exit(0)


def _own(said_fd: int, others: Iterable[int]) -> None:
    """Give the process signals and streams of its own."""
    os.close(signal.set_wakeup_fd(-1))
    for number in (signal.SIGCHLD, signal.SIGALRM):
        signal.signal(number, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    for stream in (1, 2):
        os.dup2(said_fd, stream)
    for fd in (said_fd, *others):
        os.close(fd)
    sys.stdout, sys.stderr = _stream(1), _stream(2)
    logging.basicConfig(level=logging.INFO, format="%(levelname)s %(name)s: %(message)s", stream=sys.stderr)


def _stream(fd: int) -> TextIO:
    """Return a text stream that is written line by line, and takes any text."""
    return open(fd, "w", encoding="utf-8", errors="backslashreplace", buffering=1, closefd=False)


def _result(request: Mapping[str, Any]) -> dict[str, Any]:
    try:
        function = _found(request)
        output = function(Call(**request["call"]))
    except BaseException as error:  # noqa: BLE001 - SystemExit, too: it returned nothing
        failure = raised(error)
        if failure.kind == "bug":
            traceback.print_exc()
        return {"raised": asdict(failure)}
    match returned(output):
        case Returned(output=usable):
            return {"output": usable}
        case Raised() as unusable:
            return {"raised": asdict(unusable)}


def _found(request: Mapping[str, Any]) -> Registered:
    """Find the callable where it was found in the worker. Raises LookupError where it is not there."""
    found: object = attrgetter(request["qualname"])(importlib.import_module(request["module"]))
    if not isinstance(found, Registered):
        found = Registered(request["name"], found) if callable(found) else None
    if found is None or found.name != request["name"]:
        raise LookupError(f"{request['module']}:{request['qualname']} is not the callable {request['name']} here")
    return found


def _flush() -> None:
    for stream in (sys.stdout, sys.stderr):
        with suppress(Exception):
            stream.flush()
