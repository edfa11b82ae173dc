"""The one place that provides servers: for `make up`, `make demo`, `cmis dev run` and the tests.

What the environment names is used; what it does not name is embedded. Throw-away runs get a database (and a broker
prefix) of their own on either, which is gone afterwards, and never touch the database that was named. RabbitMQ knows no
prefix: name a virtual host that nothing else uses.
"""

from __future__ import annotations

import os
import secrets
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from core.errors import SetupError
from dev.brokers import check_broker, forget, is_redis
from dev.databases import create_database, temporary_database
from dev.keys import VARIABLE as KEYS
from dev.keys import kept_keys, new_keys
from dev.postgres import Postgres
from dev.postgres_account import choose_account, reachable_data
from dev.roles import connect, derive_urls
from dev.rundir import lock_file, memory, run_directory
from dev.signals import ending_on_signals, undisturbed
from dev.site import Site
from dev.urls import Urls, checked
from dev.valkey import Valkey

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

_VARIABLES: Final = ("DATABASE_URL", "SCHEDULER_DATABASE_URL", "READONLY_DATABASE_URL", "MIGRATION_DATABASE_URL")
_DATABASE: Final = "cmis"


@dataclass(frozen=True)
class Template:
    """The run's database as a model for copies: its name, and an administrator's URL on another database."""

    name: str
    administrator: str


@dataclass(frozen=True)
class Servers:
    """What a run has. `postgres` and `valkey` are None where the environment named a server instead."""

    site: Site
    run: Path
    postgres: Postgres | None
    valkey: Valkey | None
    template: Template

    def env(self) -> dict[str, str]:
        """Return the variables to set, on top of the present environment, for any process of the product."""
        return self.site.env()

    @contextmanager
    def clone(self) -> Iterator[Site]:
        """Copy the database, fast, for one test; nobody may be connected to the original. Dropped at the end."""
        with temporary_database("MIGRATION_DATABASE_URL", self.template.administrator, self.template.name) as name:
            yield replace(self.site, urls=self.site.urls.on(name))


def named_urls(environ: Mapping[str, str]) -> Urls | str | None:
    """Read the database variables: all four, an administrator's URL alone, or None when nothing is named.

    Raises SetupError naming those that are missing or unreadable.
    """
    given = {name: checked(name, environ[name]) for name in _VARIABLES if environ.get(name)}
    if not given:
        return None
    if set(given) == {"DATABASE_URL"}:
        return given["DATABASE_URL"]
    missing = [name for name in _VARIABLES if name not in given]
    if missing:
        raise SetupError(
            f"{', '.join(missing)} not set, while {', '.join(given)} is",
            "set all four, or only DATABASE_URL with an administrator's URL, or none for an embedded server",
        )
    return Urls(*(given[name] for name in _VARIABLES))


@contextmanager
def servers(
    *,
    throwaway: bool = True,
    data: Path | None = None,
    demo: bool = False,
    migrate: bool = True,
    environ: Mapping[str, str] | None = None,
) -> Iterator[Servers]:
    """Provide a database and a broker for a run, and take down at its end whatever was started for it.

    `throwaway` gives fresh ones; otherwise embedded data lives in `data` and a named database is used as it
    is. Then `cmis migrate` and, with `demo`, `cmis demo load` are run. `environ` defaults to the process's environment.
    Raises SetupError naming the variable and the remedy. SIGTERM and SIGHUP end the run in good order.
    """
    if not throwaway and data is None:
        raise ValueError("durable servers need a directory for their data")
    variables = dict(os.environ if environ is None else environ)
    named = named_urls(variables)
    with ending_on_signals(), ExitStack() as stack:
        run = stack.enter_context(run_directory())
        postgres, urls, template = _database(stack, run, named, throwaway=throwaway, data=data)
        valkey, broker_url, prefix = _broker(stack, run, variables, throwaway=throwaway)
        keys = variables.get(KEYS) or (new_keys() if throwaway or data is None else kept_keys(data))
        site = Site(urls, broker_url, prefix, variables, secret_keys=keys)
        made = Servers(site, run, postgres, valkey, template)
        if migrate:
            made.site.cmis("migrate")
        if demo:
            made.site.cmis("demo", "load")
        try:
            yield made
        finally:
            with undisturbed():
                stack.close()


def _database(
    stack: ExitStack, run: Path, named: Urls | str | None, *, throwaway: bool, data: Path | None
) -> tuple[Postgres | None, Urls, Template]:
    """Return the embedded server, if there is one, and the run's database by its URLs and as a template."""
    if named is None:
        postgres = _embedded_postgres(stack, run, None if throwaway else data)
        create_database("the embedded server", postgres.url(), _DATABASE)
        return postgres, derive_urls(postgres.url(_DATABASE)), Template(_DATABASE, postgres.url())
    urls = derive_urls(named) if isinstance(named, str) else named
    variable = "DATABASE_URL" if isinstance(named, str) else "MIGRATION_DATABASE_URL"
    if not throwaway:
        with connect(variable, urls.migration) as connection:
            return None, urls, Template(connection.info.dbname, urls.migration)
    name = stack.enter_context(temporary_database(variable, urls.migration))
    return None, urls.on(name), Template(name, urls.migration)


def _embedded_postgres(stack: ExitStack, run: Path, data: Path | None) -> Postgres:
    account = choose_account()
    if data is None:
        postgres = Postgres(_throwaway(stack, run) / "postgres", run, durable=False, account=account)
    else:
        _claim(stack, data)
        postgres = Postgres(reachable_data(account, data / "postgres"), run, durable=True, account=account)
    stack.callback(postgres.stop)
    postgres.start()
    return postgres


def _throwaway(stack: ExitStack, run: Path) -> Path:
    """Return where a throw-away server's data goes: into memory, if there is room, else into the run's directory."""
    base = memory()
    if base is None:
        return run
    directory = stack.enter_context(run_directory(base))
    directory.chmod(0o711)  # the server may run as somebody else; it passes through
    return directory


def _claim(stack: ExitStack, data: Path) -> None:
    """Hold `data` for this process: only then is a server found running on it a leftover that may be stopped."""
    data.mkdir(parents=True, exist_ok=True)
    lock = lock_file(data / "owner.lock")
    if lock is None:
        owner = (data / "owner.lock").read_text(encoding="ascii")
        raise SetupError(f"{data} is in use by process {owner}", "stop the `make up` that runs there")
    stack.callback(lock.close)


def _broker(
    stack: ExitStack, run: Path, variables: Mapping[str, str], *, throwaway: bool
) -> tuple[Valkey | None, str, str]:
    """Return the embedded broker, if there is one, the broker's URL and the run's key prefix."""
    url, prefix = variables.get("BROKER_URL", ""), variables.get("BROKER_PREFIX", "")
    if not url:
        valkey = Valkey(run)
        stack.callback(valkey.stop)
        valkey.start()
        return valkey, valkey.url, ""
    check_broker(url)
    if throwaway and is_redis(url):
        prefix = f"{prefix}cmis-run-{secrets.token_hex(6)}:"
        stack.callback(forget, url, prefix)
    return None, url, prefix
