"""The environment, read once: every variable this product knows, its default and its meaning."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Self

from core.errors import SetupError

if TYPE_CHECKING:
    from collections.abc import Mapping

_URL = re.compile(r"[a-z][a-z0-9+.-]*://", re.IGNORECASE)
# Up to the last @: in a URL that was not escaped the password may hold any character, / and @ too.
_IN_AUTHORITY = re.compile(r"(?<=://)([^:@/?]*:).*@", re.DOTALL)
_IN_QUERY = re.compile(r"([?&][^=&]*password=)[^&]*", re.IGNORECASE)

_REMEDY = "set {name}, or run through `make up`, `make demo` or `cmis dev run`, which start servers of their own"


@dataclass(frozen=True, slots=True)
class Settings:
    """Settings of one process. URLs are None where the variable is unset; `require` turns that into an error."""

    database_url: str | None
    scheduler_database_url: str | None
    readonly_database_url: str | None
    migration_database_url: str | None
    broker_url: str | None
    broker_prefix: str
    test_clock: bool
    hardened: bool
    faults: str
    faults_seed: str
    chunk: int
    """Evaluations that one task carries, at most."""
    org_unfinished: int
    """Unfinished tasks of one org at which no further due jobs of it are taken."""
    queue_waiting: int
    """Messages that wait in one queue of the broker at which no further ones are sent."""
    queue_at_once: int
    """Messages that may wait in one queue of the broker of which nobody knows yet how fast it drains."""
    org_in_flight: int
    """Tasks of one org in one queue that are published or running at which no further ones of it are published."""
    secret_keys: str | None = field(repr=False)
    """`id=base64,…`: keys that secrets are encrypted with, the current one first."""
    egress_allow: str
    """Hosts and networks that deliveries may reach although they are not public: `host[:port],network,…`."""
    smtp_url: str | None
    """The mail server: `smtp://[user:password@]host[:port]` (STARTTLS where offered) or `smtps://…`."""
    smtp_from: str
    """Address that mail comes from."""
    org_deliveries: int
    """Deliveries a minute that an org may make, unless it was given a rate of its own."""
    workflow_commit_steps: int
    """Internal steps of one instance of a workflow that share a commit, at most."""
    stop_seconds: int
    """What a worker has to finish its tasks once it was asked to end; what is not done then is done again by others."""
    watchdog_seconds: int
    """After how long a process that takes no work, although some waits, ends to be started again."""
    health_port: int | None
    """Where this process answers `/healthz`; None = nowhere."""
    health_host: str

    @classmethod
    def load(cls, environ: Mapping[str, str] | None = None) -> Self:
        """Read the settings from `environ` (default: the process's environment)."""
        env = os.environ if environ is None else environ
        return cls(
            database_url=env.get("DATABASE_URL") or None,
            scheduler_database_url=env.get("SCHEDULER_DATABASE_URL") or None,
            readonly_database_url=env.get("READONLY_DATABASE_URL") or None,
            migration_database_url=env.get("MIGRATION_DATABASE_URL") or None,
            broker_url=env.get("BROKER_URL") or None,
            broker_prefix=env.get("BROKER_PREFIX", ""),
            test_clock=env.get("CMIS_TEST_CLOCK") == "1",
            hardened=env.get("CMIS_HARDENED") == "1",
            faults=env.get("CMIS_FAULTS", ""),
            faults_seed=env.get("CMIS_FAULTS_SEED", ""),
            chunk=_number("CMIS_CHUNK", env.get("CMIS_CHUNK"), 100, 100),
            org_unfinished=_number("CMIS_ORG_UNFINISHED", env.get("CMIS_ORG_UNFINISHED"), 8, 1_000_000),
            queue_waiting=_number("CMIS_QUEUE_WAITING", env.get("CMIS_QUEUE_WAITING"), 2_000, 1_000_000),
            queue_at_once=_number("CMIS_QUEUE_AT_ONCE", env.get("CMIS_QUEUE_AT_ONCE"), 16, 1_000_000),
            org_in_flight=_number("CMIS_ORG_IN_FLIGHT", env.get("CMIS_ORG_IN_FLIGHT"), 500, 1_000_000),
            secret_keys=env.get("CMIS_SECRET_KEYS") or None,
            egress_allow=env.get("CMIS_EGRESS_ALLOW", ""),
            smtp_url=env.get("SMTP_URL") or None,
            smtp_from=env.get("SMTP_FROM", "cmis@localhost"),
            org_deliveries=_number("CMIS_ORG_DELIVERIES", env.get("CMIS_ORG_DELIVERIES"), 600, 1_000_000),
            workflow_commit_steps=_number(
                "CMIS_WORKFLOW_COMMIT_STEPS", env.get("CMIS_WORKFLOW_COMMIT_STEPS"), 1_000, 100_000
            ),
            stop_seconds=_number("CMIS_STOP_SECONDS", env.get("CMIS_STOP_SECONDS"), 20, 3_600),
            watchdog_seconds=_number("CMIS_WATCHDOG_SECONDS", env.get("CMIS_WATCHDOG_SECONDS"), 60, 3_600),
            health_port=_port("CMIS_HEALTH_PORT", env.get("CMIS_HEALTH_PORT")),
            health_host=env.get("CMIS_HEALTH_HOST") or "127.0.0.1",
        )


def _number(name: str, text: str | None, default: int, high: int) -> int:
    try:
        number = int(text or default)
    except ValueError:
        number = 0
    if 1 <= number <= high:
        return number
    message = f"{name} is {(text or '')[:40]!r}, which is no whole number from 1 to {high}"
    raise SetupError(message, f"set one, or leave it unset for {default}")


def _port(name: str, text: str | None) -> int | None:
    return _number(name, text, 0, 65_535) if text else None


def require(value: str | None, name: str) -> str:
    """Return `value`, or raise a SetupError that names the missing variable and the remedy."""
    if not value:
        message = f"{name} is not set"
        raise SetupError(message, _REMEDY.format(name=name))
    return value


def redact(url: str) -> str:
    """Return `url` without its passwords, fit for logs and messages.

    It need not be a valid URL, and what is no URL at all is not shown: `host=h password=p` is what libpq takes.
    """
    if not _URL.match(url):
        return "<no URL>"
    return _IN_QUERY.sub(r"\1***", _IN_AUTHORITY.sub(r"\1***@", url))
