"""Runs another scheduler as a real process against the benchmark's servers and measures its burst."""

from __future__ import annotations

import json
import os
import signal
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

import redis

from benchmarks.burst import Burst, burst
from benchmarks.peer_venv import PeerError, completed
from benchmarks.watch import Watch
from dev.launch import has_ended, spawn, stop, tail, wait_until
from dev.rundir import remove
from dev.site import ROOT

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Mapping
    from pathlib import Path

    from benchmarks.servers import Bench

_QUEUE: Final = "peer"
_READY: Final = "peer ready"
_STOP_SECONDS: Final = 10.0
_EARLY: Final = 0.2
"""How long before the due instant the watching begins."""


@dataclass(frozen=True, slots=True)
class Peer:
    """A scheduler: its module under `benchmarks.peers`, its name for `celery beat -S`, and how it is measured."""

    module: str
    scheduler: str
    count: int
    seconds: float
    """How long after the due instant it is watched at most."""
    lead: float
    """How long before the due instant it begins to store its entries: that, and its start, must fit."""
    env: Mapping[str, str] = field(default_factory=dict)
    """Variables of its processes beside the broker's."""


class LateError(PeerError):
    """It did not run yet when its entries fell due: with a longer lead it may."""


@dataclass(frozen=True, slots=True)
class Measured:
    """One run: the burst, and the versions of what made it."""

    burst: Burst
    versions: dict[str, str]


def run_peer(peer: Peer, bench: Bench, python: Path) -> Measured:
    """Store the entries, start the scheduler before they are due, watch its queue. Raises PeerError."""
    bench.flush()
    module = f"benchmarks.peers.{peer.module}"
    env = _environment(bench, peer)
    fill: list[str | Path] = [python, "-m", module, str(peer.count), str(peer.lead)]
    filled: dict[str, Any] = json.loads(completed(fill, env, peer.lead + peer.seconds))
    due = float(filled["due"])
    place = bench.run / "peer"
    place.mkdir()
    command: list[str | Path] = [python, "-m", "celery", "-A", module, "beat", "-S", peer.scheduler]
    with (place / "log").open("wb") as output:
        process = spawn(
            [*command, "--loglevel=WARNING", "--schedule", place / "schedule", "--pidfile", ""],
            output=output,
            env=env | {"PEER_DUE": str(int(due))},
            cwd=ROOT,
        )
    try:
        _await_ready(process, place / "log", due)
        return Measured(_watch(peer, bench, due), filled["versions"])
    finally:
        stop(process, signal.SIGTERM, _STOP_SECONDS)
        remove(place)


def _environment(bench: Bench, peer: Peer) -> dict[str, str]:
    kept = {name: os.environ[name] for name in ("PATH", "HOME", "LANG", "TMPDIR") if name in os.environ}
    ours = {"PEER_BROKER_URL": bench.broker_url, "PEER_COUNT": str(peer.count), "PEER_DUE": "0"}
    return kept | ours | {"PYTHONPATH": str(ROOT)} | dict(peer.env)


def _await_ready(process: subprocess.Popen[bytes], log: Path, due: float) -> None:
    """Wait until it says that it runs; one that comes too late would be measured as late for no fault of its own."""
    wait_until(lambda: _READY in log.read_text(errors="replace") or has_ended(process), due - time.time())
    if _READY not in log.read_text(errors="replace"):
        said = " / ".join(tail(log, 3).splitlines())
        if has_ended(process):
            raise PeerError(f"it ended at its start: {said}")
        raise LateError(f"it was not ready before its entries were due: {said}")


def _watch(peer: Peer, bench: Bench, due: float) -> Burst:
    with redis.Redis.from_url(bench.broker_url) as client:
        watch = Watch(client, _QUEUE)
        watch.look()
        if watch.messages:
            raise PeerError("it published before its entries were due")
        time.sleep(max(0.0, due - time.time() - _EARLY))
        watch.until(lambda: watch.messages >= peer.count, due + peer.seconds)
        return burst(peer.count, due, watch.published())
