"""As whom the embedded PostgreSQL runs: it refuses root, so root needs a way around that leaves no trace.

An ordinary user runs it directly. Root runs it in a user namespace where it is nobody: the data stays root's, mode
0700, and no account is made. Where user namespaces are refused (many containers), root runs it as uid 65534, which
needs the data, the socket and possibly the programs in places that this uid can reach.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import signal
import subprocess
from dataclasses import dataclass
from pathlib import Path

from core.errors import SetupError
from dev.launch import guarded

NOBODY = 65534
_NAMESPACE = ("unshare", "--user", f"--map-user={NOBODY}", f"--map-group={NOBODY}", "--")


@dataclass(frozen=True, slots=True)
class Account:
    """How to start a program: `prefix` goes before it, `uid` is what to become first (None: stay)."""

    prefix: tuple[str, ...] = ()
    uid: int | None = None


ORDINARY = Account()
NAMESPACE = Account(prefix=_NAMESPACE)
FALLBACK = Account(uid=NOBODY)


def _runs(account: Account, *command: str | Path) -> bool:
    argv = guarded([*account.prefix, *command], signal.SIGKILL, account.uid)
    with_quiet = {"stdin": subprocess.DEVNULL, "stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    return subprocess.run(argv, check=False, cwd="/", **with_quiet).returncode == 0  # type: ignore[call-overload,no-any-return]


def choose_account() -> Account:
    """Pick the account for this process's user and this machine."""
    if os.geteuid() != 0:
        return ORDINARY
    namespaces = shutil.which("unshare") is not None and _runs(NAMESPACE, "true")
    return NAMESPACE if namespaces else FALLBACK


def reachable_install(account: Account, install: Path, run: Path) -> Path:
    """Return a PostgreSQL installation that `account` can execute: `install` itself, or a copy below `run`."""
    if account.uid is None or _runs(account, install / "bin" / "postgres", "--version"):
        return install
    wheel = run / "wheel"
    target = wheel / install.parent.name / install.name
    shutil.copytree(install, target, symlinks=True, dirs_exist_ok=True)
    libraries = install.parent.with_name(f"{install.parent.name}.libs")
    shutil.copytree(libraries, wheel / libraries.name, symlinks=True, dirs_exist_ok=True)
    return target


def own_directory(account: Account, directory: Path) -> None:
    """Create `directory` as private to `account`."""
    directory.mkdir(parents=True, exist_ok=True)
    directory.chmod(0o700)
    if account.uid is not None:
        os.chown(directory, account.uid, account.uid)


def reachable_data(account: Account, data: Path) -> Path:
    """Return where `data` can be for `account`: itself, or for uid 65534 a place of its own that survives a reboot.

    The place is `/var/tmp/cmis-<hash of the path>`. Raises SetupError when somebody else made it first.
    """
    if account.uid is None:
        return data
    place = Path("/var/tmp") / f"cmis-{hashlib.sha256(os.fsencode(data)).hexdigest()[:16]}"  # noqa: S108 - checked below
    place.mkdir(mode=0o711, exist_ok=True)
    found = place.lstat()
    if place.is_symlink() or found.st_uid != os.geteuid():
        raise SetupError(f"{place} belongs to somebody else", "remove it, or set DATABASE_URL to a server of yours")
    place.chmod(0o711)
    return place / data.name
