"""The other schedulers' bursts, each the median of its runs; one that cannot run is a reason, not the end."""

from __future__ import annotations

import statistics
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final

from benchmarks import peer_venv
from benchmarks.peer import LateError, Measured, Peer, run_peer
from benchmarks.peer_venv import PeerError
from benchmarks.report import say

if TYPE_CHECKING:
    from pathlib import Path

    from benchmarks.burst import Burst
    from benchmarks.schedules.scale import Scale
    from benchmarks.servers import Bench

_START_SECONDS: Final = 5.0
"""From the end of storing to a running scheduler, on a slow machine."""
_STORED_PER_SECOND: Final = 1000.0


@dataclass(frozen=True, slots=True)
class Result:
    """What a peer reached: medians (None where it could not run), its versions, and what was not as planned."""

    rate: float | None
    p99: float | None
    reason: str | None
    details: dict[str, Any]


class Trial:
    """A peer's runs, one at a time: others can go between them, so that a busy neighbour slows all alike."""

    def __init__(self, bench: Bench, peer: Peer) -> None:
        self._bench = bench
        self._peer = peer
        self._measured: list[Measured] = []
        self._failure: str | None = None

    def run(self) -> None:
        """Run it once more, unless it failed before."""
        if self._failure is not None:
            return
        name = self._peer.module
        try:
            self._measured.append(_run(self._peer, self._bench, peer_venv.python()))
        except PeerError as error:
            self._failure = f"{name} could not run: {error}"
            return
        found = self._measured[-1].burst
        say(f"  {name}, run {len(self._measured)}: {found.reached:,} of {found.expected:,}, {found.rate:,.0f}/s")
        if not found.reached:
            self._failure = f"{name} published nothing within {self._peer.seconds:.0f} s"

    def result(self) -> Result:
        """Return the medians of its runs."""
        if self._failure is not None:
            return Result(None, None, self._failure, {})
        return _result(self._peer, [one.burst for one in self._measured], self._measured[0].versions)


def redbeat(bench: Bench, scale: Scale) -> Trial:
    """RedBeat, its entries in the benchmark's Valkey."""
    lead = _START_SECONDS + scale.redbeat / _STORED_PER_SECOND
    return Trial(bench, Peer("redbeat", "redbeat.RedBeatScheduler", scale.redbeat, 60, lead))


def beat(bench: Bench, scale: Scale) -> Trial:
    """Celery's own beat with its file."""
    return Trial(bench, Peer("beat", "celery.beat.PersistentScheduler", scale.burst, 40, _START_SECONDS))


def django_beat(bench: Bench, scale: Scale, database: str) -> Trial:
    """django-celery-beat, its entries in this database of the benchmark's PostgreSQL."""
    scheduler = "django_celery_beat.schedulers:DatabaseScheduler"
    env = {"DJANGO_SETTINGS_MODULE": "benchmarks.peers.django_settings", "PEER_DATABASE_URL": database}
    return Trial(bench, Peer("django_beat", scheduler, scale.burst, 40, _START_SECONDS, env))


def _run(peer: Peer, bench: Bench, python: Path) -> Measured:
    """Run it; on a machine too slow for its lead, once more with three times as much."""
    try:
        return run_peer(peer, bench, python)
    except LateError:
        return run_peer(replace(peer, lead=3 * peer.lead), bench, python)


def _result(peer: Peer, bursts: list[Burst], versions: dict[str, str]) -> Result:
    rates = [one.rate for one in bursts]
    reached = min(one.reached for one in bursts)
    short = f"{peer.module} published {reached} of {peer.count} within {peer.seconds:.0f} s; measured over those"
    return Result(
        statistics.median(rates),
        statistics.median(one.p99 for one in bursts),
        short if reached < peer.count else None,
        {"peer": peer.module, "peer_versions": versions, "peer_entries": peer.count, "peer_runs": rates},
    )
