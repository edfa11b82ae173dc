"""Who a process is, for as long as it lives."""

from __future__ import annotations

import os
import socket
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING
from uuid import uuid4

from engine.store.processes import Identity
from models.enums import Queue
from models.process_enums import ProcessKind

if TYPE_CHECKING:
    from collections.abc import Collection


def of_worker(queues: Collection[str]) -> Identity:
    """Return the identity of a worker that serves these queues."""
    served = tuple(sorted(queues))
    return _made(ProcessKind.DELIVERIES if served == (Queue.ACTIONS.value,) else ProcessKind.WORKER, served)


def of_scheduler() -> Identity:
    """Return the identity of a scheduler."""
    return _made(ProcessKind.SCHEDULER, ())


def _made(kind: ProcessKind, queues: tuple[str, ...]) -> Identity:
    return Identity(uuid4(), kind.value, socket.gethostname(), os.getpid(), _version(), queues)


def _version() -> str:
    try:
        return version("cmis-automation")
    except PackageNotFoundError:  # run from a checkout that nobody installed
        return "unknown"
