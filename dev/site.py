"""One database and one broker, as the environment of the product's processes."""

from __future__ import annotations

import os
import secrets
import socket
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Final

from core.errors import SetupError
from dev.keys import VARIABLE, new_keys
from dev.launch import guarded
from dev.signals import DIE

if TYPE_CHECKING:
    from collections.abc import Mapping

    from dev.urls import Urls

ROOT: Final = Path(__file__).resolve().parent.parent
"""The repository's root: where the Procfile is, and what comes first on the path of every process."""

_LAST_LINES: Final = 15


def free_port(preferred: int = 0) -> int:
    """Return `preferred` if nobody listens on it at 127.0.0.1, else any free port."""
    for port in (preferred, 0):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return int(probe.getsockname()[1])
    raise SetupError("no port of 127.0.0.1 is free", "end what listens on them")


def _paths(environ: Mapping[str, str]) -> dict[str, str]:
    programs = Path(sys.executable).parent
    modules = [str(ROOT), environ.get("PYTHONPATH", "")]
    return {
        "PATH": os.pathsep.join([str(programs), environ.get("PATH", os.defpath)]),
        "PYTHONPATH": os.pathsep.join(dict.fromkeys(filter(None, modules))),
        "PYTHONTZPATH": "",  # the tzdata package, pinned, and not the system's zone files, which differ
    }


@dataclass(frozen=True)
class Site:
    """A database (through each role) and a broker. `broker_prefix` separates runs that share one broker."""

    urls: Urls
    broker_url: str
    broker_prefix: str = ""
    environ: Mapping[str, str] = field(default_factory=lambda: dict(os.environ))
    flower_password: str = field(default_factory=lambda: secrets.token_urlsafe(9))
    secret_keys: str = field(default_factory=new_keys, repr=False)

    def env(self) -> dict[str, str]:
        """Return the variables to set, on top of the present environment, for any process of the product."""
        prefix = {"BROKER_PREFIX": self.broker_prefix} if self.broker_prefix else {}
        return {
            **_paths(self.environ),
            **self.urls.env(),
            "BROKER_URL": self.broker_url,
            **prefix,
            VARIABLE: self.secret_keys,
            "FLOWER_ADDRESS": "127.0.0.1",  # Flower's default is every interface
            "FLOWER_BASIC_AUTH": self.environ.get("FLOWER_BASIC_AUTH", f"cmis:{self.flower_password}"),
            "FLOWER_READ_ONLY": self.environ.get("FLOWER_READ_ONLY", "true"),
        }

    def full_env(self) -> dict[str, str]:
        """Return the whole environment of a child process."""
        return {**self.environ, **self.env()}

    def cmis(self, *arguments: str) -> str:
        """Run `cmis ARGUMENT…` to its end and return its stdout. Raises SetupError with its last lines if it fails."""
        done = subprocess.run(
            guarded([sys.executable, "-m", "cli.main", *arguments], DIE),
            check=False,
            capture_output=True,
            text=True,
            stdin=subprocess.DEVNULL,
            cwd=ROOT,
            env=self.full_env(),
        )
        if done.returncode != 0:
            said = "\n".join((done.stderr.strip() or done.stdout.strip()).splitlines()[-_LAST_LINES:])
            raise SetupError(f"`cmis {' '.join(arguments)}` failed:\n{said}\n", "its message above says what to mend")
        return done.stdout
