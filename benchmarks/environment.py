"""What a figure depends on and a reader must know: the machine, the versions, the servers' settings as read back."""

from __future__ import annotations

import os
import platform
import statistics
import time
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import psycopg
import redis

if TYPE_CHECKING:
    from benchmarks.servers import Bench

_COMMITS: Final = 100
_SHOWN: Final = ("server_version", "fsync", "full_page_writes", "synchronous_commit", "shared_buffers", "max_wal_size")


def describe(bench: Bench) -> dict[str, Any]:
    """Read all of it; also how long a commit takes here, which is what durability costs."""
    return {
        "quick": bench.quick,
        "cpus": os.cpu_count(),
        "cpu": _cpu(),
        "memory_gib": round(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 2**30, 1),
        "system": f"{platform.system()} {platform.release()}",
        "load_1m": round(os.getloadavg()[0], 2),
        "filesystem": _filesystem(bench.data),
        "python": platform.python_version(),
        "celery": version("celery"),
        "valkey": _valkey(bench.broker_url),
        **_postgres(bench.administrator),
    }


def _cpu() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.machine()
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, platform.machine())


def _filesystem(place: Path) -> str:
    """Return the type of the file system that holds the database; fsync means little on a tmpfs."""
    try:
        mounts = [line.split() for line in Path("/proc/mounts").read_text(encoding="utf-8").splitlines()]
    except OSError:
        return "unknown"
    holding = [(len(mount[1]), mount[2]) for mount in mounts if place.resolve().is_relative_to(mount[1])]
    return max(holding, default=(0, "unknown"))[1]


def _valkey(url: str) -> str:
    with redis.Redis.from_url(url) as client:
        server = client.info("server")
    return str(server.get("valkey_version") or server["redis_version"])


def _postgres(administrator: str) -> dict[str, Any]:
    with psycopg.connect(administrator, autocommit=True) as connection:
        rows = connection.execute(
            "SELECT name, current_setting(name) FROM pg_settings WHERE name = ANY (%s)", [list(_SHOWN)]
        ).fetchall()
        shown: dict[str, Any] = dict(rows)
        shown["postgres"] = shown.pop("server_version")
        return shown | {"commit_ms": round(_commit_seconds(connection) * 1000, 3)}


def _commit_seconds(connection: psycopg.Connection) -> float:
    connection.execute("CREATE TABLE commits (n integer)")
    seconds = []
    for number in range(_COMMITS):
        begun = time.perf_counter()
        connection.execute("INSERT INTO commits VALUES (%s)", [number])
        seconds.append(time.perf_counter() - begun)
    connection.execute("DROP TABLE commits")
    return statistics.median(seconds)
