"""Look for a value that may be nowhere: in every table, in the cluster's files, in the broker, in logs and in outputs.

Whoever has delivered something by secrets calls `leaks` with what the processes wrote and what commands printed; a
`Wiretap` that was open meanwhile has every command that the broker was sent, and so every message and every event.
"""

from __future__ import annotations

import base64
import json
import re
import threading
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, Self
from urllib.parse import quote

import psycopg
import redis
from psycopg import sql

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
    from pathlib import Path
    from types import TracebackType

    from dev.site import Site
    from tests.unit.cli.running import Cmis

_PATIENCE: Final = 30.0
_TABLES: Final = """
SELECT n.nspname, c.relname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
 WHERE c.relkind IN ('r', 'm') AND n.nspname NOT IN ('pg_catalog', 'information_schema') AND n.nspname !~ '^pg_toast'
"""
_LISTS: Final = (
    ("actions", "action_id"),
    ("audit", None),
    ("bundles", "workflow_id"),
    ("campaigns", "campaign_id"),
    ("executions", "execution_id"),
    ("jobs", "job_id"),
    ("optimizations", "optimization_id"),
    ("rules", "rule_id"),
    ("secrets", None),
)
"""What is listed, and by which of its columns each is shown."""
_ONE_RULE: Final = ("versions", "explain", "dry-run")


def forms(value: str) -> set[str]:
    """Return a value as it could stand in a text: plain, in JSON or a URL, in hexadecimal, and within base64."""
    raw = value.encode()
    found = {value, json.dumps(value)[1:-1], quote(value, safe=""), raw.hex(), raw.hex().upper()}
    for encode in (base64.b64encode, base64.urlsafe_b64encode):
        for before in range(3):  # where it begins in a longer text that is encoded as a whole
            text = encode(bytes(before) + raw).decode().rstrip("=")
            found.add(text[(0, 2, 3)[before] : len(text) - 1])
    return found


@dataclass
class Wiretap:
    """Hears what a broker is told, from the moment it is entered on."""

    url: str
    heard: list[str] = field(default_factory=list)

    def __enter__(self) -> Self:
        self._client = redis.Redis.from_url(self.url)
        self._listener = threading.Thread(target=self._listen, daemon=True)
        self._ready, self._end = threading.Event(), f"end of {id(self)}"
        self._listener.start()
        assert self._ready.wait(_PATIENCE)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._client.echo(self._end)
        self._listener.join(_PATIENCE)
        self._client.close()
        assert not self._listener.is_alive()

    def _listen(self) -> None:
        with redis.Redis.from_url(self.url, socket_timeout=None) as client, client.monitor() as monitor:
            self._ready.set()
            for command in monitor.listen():
                self.heard.append(command["command"])
                if self._end in command["command"]:
                    return


@dataclass(frozen=True)
class Places:
    """Where to look besides the database and the broker's keys; what commands printed, by the command."""

    logs: Sequence[Path] = ()
    outputs: Mapping[str, str] = field(default_factory=dict)
    heard: Sequence[str] = ()
    cluster: Path | None = None
    """The files of an embedded PostgreSQL: rows that were overwritten and the write-ahead log are among them."""


def leaks(value: str, site: Site, places: Places) -> list[str]:
    """Return every place in which the value stands, in whatever form."""
    wanted = re.compile("|".join(re.escape(form) for form in sorted(forms(value), key=len, reverse=True)))
    return [where for where, text in _everything(site, places) if wanted.search(text)] + _in_files(
        value, places.cluster
    )


def show_everything(cmis: Cmis, *, than: Callable[[str], bool] = lambda _: True) -> dict[str, str]:
    """Run every command that lists or shows something of an org; returns what each printed, by the command.

    `than`: which lists, by their name.
    """
    outputs: dict[str, str] = {}

    def run(*arguments: str) -> str:
        done = cmis(*arguments)
        outputs[" ".join(arguments)] = done.out + done.err
        assert done.code == 0, (arguments, done.err)
        return done.out

    for what, key in filter(lambda one: than(one[0]), _LISTS):
        run(what, "list")
        rows = json.loads(run(what, "list", "--json"))
        for row in rows if key else ():
            run(what, "show", row[key])
            run(what, "show", row[key], "--json")
            for verb in _ONE_RULE if what == "rules" else ():
                run(what, verb, row[key])
    return outputs


def _everything(site: Site, places: Places) -> Iterator[tuple[str, str]]:
    yield from _rows(site)
    yield from _keys(site)
    for log in places.logs:
        yield f"log {log.name}", log.read_text(errors="replace")
    for command, said in places.outputs.items():
        yield f"output of {command}", said
    for command in places.heard:
        yield "broker", command


def _rows(site: Site) -> Iterator[tuple[str, str]]:
    """Yield all rows of all tables as text (bytes in hexadecimal), and the statements that are being run."""
    with psycopg.connect(site.urls.migration) as connection:
        tables: list[tuple[str, str]] = connection.execute(_TABLES).fetchall()
        for schema, table in tables:
            named = sql.Identifier(schema, table)
            for (row,) in connection.execute(sql.SQL("SELECT t::text FROM {} t").format(named)):
                yield f"table {schema}.{table}", row
        for (query,) in connection.execute("SELECT query FROM pg_stat_activity WHERE query IS NOT NULL"):
            yield "pg_stat_activity", query


def _keys(site: Site) -> Iterator[tuple[str, str]]:
    with redis.Redis.from_url(site.broker_url) as client:
        for key in client.scan_iter():
            yield f"broker key {key!r}", "\n".join(map(_text, [key, *_contents(client, key)]))


def _contents(client: redis.Redis, key: bytes) -> Iterable[Any]:
    kind = _text(client.type(key))
    read: dict[str, Callable[[], Any]] = {
        "string": lambda: [client.get(key)],
        "list": lambda: client.lrange(key, 0, -1),
        "set": lambda: client.smembers(key),
        "zset": lambda: client.zrange(key, 0, -1),
        "hash": lambda: [part for pair in client.hgetall(key).items() for part in pair],
        "none": list,
    }
    return read[kind]()  # type: ignore[no-any-return]


def _text(part: Any) -> str:
    return part.decode(errors="replace") if isinstance(part, bytes) else str(part)


def _in_files(value: str, cluster: Path | None) -> list[str]:
    files = [file for file in cluster.rglob("*") if file.is_file()] if cluster else []
    return [f"file {file}" for file in files if value.encode() in _bytes(file)]


def _bytes(file: Path) -> bytes:
    try:
        return file.read_bytes()
    except FileNotFoundError:  # the server removed it meanwhile
        return b""
