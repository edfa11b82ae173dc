"""`.venv-bench`: where what we are measured beside lives, made on first use from `benchmarks/requirements.txt`."""

from __future__ import annotations

import hashlib
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Final

from benchmarks.report import say
from dev.launch import guarded
from dev.signals import DIE
from dev.site import ROOT

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

PLACE: Final = ROOT / ".venv-bench"
REQUIREMENTS: Final = Path(__file__).with_name("requirements.txt")
_STAMP: Final = PLACE / "made-from"
_SECONDS: Final = 300
_LAST_LINES: Final = 5


class PeerError(Exception):
    """A peer could not be installed, filled or run; says why. Its rows fail, the others go on."""


def python() -> Path:
    """Return the peers' Python; makes their venv unless it fits. Raises PeerError."""
    program = PLACE / "bin" / "python"
    wanted = hashlib.sha256(REQUIREMENTS.read_bytes() + sys.version.encode()).hexdigest()
    if not _STAMP.exists() or _STAMP.read_text(encoding="ascii") != wanted:
        say("making .venv-bench for what we are measured beside (once)")
        completed([sys.executable, "-m", "venv", "--clear", PLACE])
        pip: list[str | Path] = [
            program,
            "-m",
            "pip",
            "--disable-pip-version-check",
            "--no-input",
            "install",
            "--quiet",
        ]
        completed([*pip, "--require-hashes", "--requirement", REQUIREMENTS])
        _STAMP.write_text(wanted, encoding="ascii")
    return program


def completed(command: Sequence[str | Path], env: Mapping[str, str] | None = None, seconds: float = _SECONDS) -> str:
    """Run a command to its end; its stdout. Raises PeerError with its last lines if it fails or takes too long."""
    try:
        done = subprocess.run(
            guarded(command, DIE),
            check=False,
            capture_output=True,
            text=True,
            stdin=subprocess.DEVNULL,
            cwd=ROOT,
            env=env,
            timeout=seconds,
        )
    except subprocess.TimeoutExpired:
        raise PeerError(f"`{shown(command)}` was not done after {seconds:.0f} s") from None
    if done.returncode != 0:
        last = " / ".join((done.stderr or done.stdout).strip().splitlines()[-_LAST_LINES:])
        raise PeerError(f"`{shown(command)}` failed: {last}")
    return done.stdout


def shown(command: Sequence[str | Path]) -> str:
    """Return the command without the places of this machine."""
    return " ".join(part.name if isinstance(part, Path) else Path(part).name for part in command)
