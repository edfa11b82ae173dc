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


def redbeat(bench: Bench, scale: Scale) -> Result:
    """RedBeat, its entries in the benchmark's Valkey."""
    lead = _START_SECONDS + scale.redbeat / _STORED_PER_SECOND
    return _measure(bench, Peer("redbeat", "redbeat.RedBeatScheduler", scale.redbeat, 60, lead), scale.runs)


def beat(bench: Bench, scale: Scale) -> Result:
    """Celery's own beat with its file."""
    return _measure(bench, Peer("beat", "celery.beat.PersistentScheduler", scale.burst, 40, _START_SECONDS), scale.runs)


def django_beat(bench: Bench, scale: Scale) -> Result:
    """django-celery-beat, its entries in the benchmark's PostgreSQL."""
    scheduler = "django_celery_beat.schedulers:DatabaseScheduler"
    with bench.empty_database() as url:
        env = {"DJANGO_SETTINGS_MODULE": "benchmarks.peers.django_settings", "PEER_DATABASE_URL": url}
        return _measure(bench, Peer("django_beat", scheduler, scale.burst, 40, _START_SECONDS, env), scale.runs)


def _measure(bench: Bench, peer: Peer, runs: int) -> Result:
    measured: list[Measured] = []
    try:
        python = peer_venv.python()
        for number in range(runs):
            measured.append(_run(peer, bench, python))
            found = measured[-1].burst
            say(f"  {peer.module}, run {number + 1}: {found.reached} of {peer.count}, {found.rate:,.0f}/s")
    except PeerError as error:
        return Result(None, None, f"{peer.module} could not run: {error}", {})
    bursts = [one.burst for one in measured]
    if not all(one.reached for one in bursts):
        return Result(None, None, f"{peer.module} published nothing within {peer.seconds:.0f} s", {})
    return _result(peer, bursts, measured[0].versions)


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
