"""The closed sets of `cmis.processes`."""

from __future__ import annotations

from enum import StrEnum


class ProcessKind(StrEnum):
    """What a process of the product is; `deliveries` is a worker that serves the queue `actions` alone."""

    WORKER = "worker"
    DELIVERIES = "deliveries"
    SCHEDULER = "scheduler"


class ProcessState(StrEnum):
    """What a process says of itself; `waiting` = for a database or broker that is out of reach."""

    WORKING = "working"
    WAITING = "waiting"
    STUCK = "stuck"
    STOPPED = "stopped"
