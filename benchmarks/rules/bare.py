"""The SQL of a task without anything around it: recorded from the service once, and sent again by psycopg alone.

`python -m benchmarks.rules.bare FILE` sends the share of one process: it says `ready`, waits for a line on its standard
input, and prints how long it took as JSON. The values are made beforehand; the rows that come back are read.
"""

from __future__ import annotations

import json
import pickle
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import psycopg
from psycopg.adapt import PyFormat, Transformer
from psycopg.types.json import Json, Jsonb

from benchmarks.recording import recorded
from benchmarks.rules.state import UnfinishedError
from core.db import BY_KEY, Database
from dev.launch import guarded
from dev.signals import DIE
from dev.site import ROOT
from engine.run_rules import service
from engine.run_rules.work import Finished

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from uuid import UUID

    from dev.site import Site

    Script = list[tuple[str, Any]]
    """The statements of one transaction, with their values."""

PROCESSES: Final = 2
_WARM: Final = 6
"""Tasks sent before the clock runs, and rolled back: psycopg prepares a statement when it comes for the sixth time."""


def record(site: Site, tasks: Sequence[tuple[UUID, UUID]]) -> list[Script]:
    """Run tasks through the service and return what each sent, so that both ways send the same."""
    scripts: list[Script] = []
    with (
        closing(Database(site.urls.app, variable="DATABASE_URL", application="bench-record", by_key=True)) as database,
        recorded(_noting(scripts)),
    ):
        for org_id, task_id in tasks:
            scripts.append([])
            done = service.run(database, org_id, task_id, worker="bench")
            if not isinstance(done, Finished) or done.retried:
                raise UnfinishedError(f"a task ended as {done}")
    return scripts


def _noting(scripts: list[Script]) -> Callable[[Any, str, Any], None]:
    def note(cursor: Any, statement: str, values: Any) -> None:
        if scripts:
            dumpers = Transformer.from_context(cursor.connection)
            plain = {name: _plain(value, dumpers) for name, value in (values or {}).items()}
            scripts[-1].append((statement, plain))

    return note


def _plain(value: Any, dumpers: Any) -> Any:
    """Write JSON out, so that nothing is left to be made when it is sent."""
    if not isinstance(value, Json | Jsonb):
        return value
    return bytes(dumpers.get_dumper(value, PyFormat.TEXT).dump(value) or b"").decode()


class Bare:
    """Processes that send the same scripts again and again."""

    def __init__(self, site: Site, place: Path, scripts: Sequence[Script]) -> None:
        self._files = [place / f"bare{number}" for number in range(PROCESSES)]
        for number, file in enumerate(self._files):
            file.write_bytes(pickle.dumps((site.urls.app, scripts[number::PROCESSES])))

    def seconds(self) -> float:
        """Return how long the slowest process took, all begun at once."""
        commands = [guarded([sys.executable, "-m", "benchmarks.rules.bare", file], DIE) for file in self._files]
        processes = [_start(command) for command in commands]
        try:
            for process in processes:
                if process.stdout is None or process.stdout.readline() != "ready\n":
                    raise UnfinishedError("a process that sends the bare SQL did not start")
            for process in processes:
                if process.stdin is not None:
                    process.stdin.write("go\n")
                    process.stdin.flush()
            return max(float(json.loads(process.communicate(timeout=60)[0])["seconds"]) for process in processes)
        finally:
            for process in processes:
                process.kill()
                process.wait()


def _start(command: list[str]) -> subprocess.Popen[str]:
    return subprocess.Popen(command, cwd=ROOT, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE)


def _send(connection: psycopg.Connection, script: Script) -> None:
    for statement, values in script:
        cursor = connection.execute(statement, values)
        if cursor.description is not None:
            cursor.fetchall()


def _main(file: Path) -> None:
    url, scripts = pickle.loads(file.read_bytes())  # noqa: S301 - written by the process that started this one
    with psycopg.connect(url, options=BY_KEY) as connection:
        for script in scripts[:_WARM]:
            _send(connection, script)
            connection.rollback()
        sys.stdout.write("ready\n")
        sys.stdout.flush()
        sys.stdin.readline()
        begun = time.perf_counter()
        for script in scripts:
            _send(connection, script)
            connection.commit()
        sys.stdout.write(json.dumps({"seconds": time.perf_counter() - begun}))


if __name__ == "__main__":
    _main(Path(sys.argv[1]))
