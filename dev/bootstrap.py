"""Makes `.venv` from nothing but a Python: run by `make setup` with the system's python3, standard library only.

Does nothing when the venv fits: same requirements.txt and pyproject.toml, same place, same Python.
"""

from __future__ import annotations

import fcntl
import hashlib
import importlib.util
import os
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
VENV = ROOT / ".venv"
PYTHON = VENV / "bin" / "python"
STAMP = VENV / "cmis-setup.stamp"
PIP = [str(PYTHON), "-m", "pip", "--disable-pip-version-check", "--no-input", "install", "--quiet"]


def say(text: str) -> None:
    """Tell the user, on stderr: stdout belongs to the target that is made."""
    sys.stderr.write(f"setup: {text}\n")


def fail(text: str) -> None:
    """Say what is wrong and end."""
    say(text)
    sys.exit(1)


def fingerprint(*files: str) -> str:
    """Return a hash of `files`, of this place and of this Python."""
    parts = [(ROOT / name).read_bytes() for name in files]
    return hashlib.sha256(b"\0".join([*parts, os.fsencode(ROOT), sys.version.encode()])).hexdigest()


def wanted() -> list[str]:
    """Return what the venv must have been made from: the packages', and our own."""
    return [fingerprint("requirements.txt"), fingerprint("pyproject.toml")]


def found() -> list[str]:
    """Return what the venv was made from; nothing when it is absent or incomplete."""
    complete = PYTHON.exists() and STAMP.exists()
    return STAMP.read_text(encoding="ascii").split() if complete else []


def run(doing: str, command: list[str]) -> str:
    """Run `command`; end with its messages when it fails."""
    done = subprocess.run(command, check=False, capture_output=True, text=True, cwd=ROOT, stdin=subprocess.DEVNULL)
    if done.returncode != 0:
        sys.stderr.write(done.stdout + done.stderr)
        fail(f"{doing} failed; the messages above say why")
    return done.stdout


def is_usable() -> bool:
    """Tell whether there is a venv of this Python, whatever is installed in it."""
    if not PYTHON.exists():
        return False
    ask = [str(PYTHON), "-I", "-c", "import sys, pip; print(sys.version)"]
    return subprocess.run(ask, check=False, capture_output=True, text=True).stdout.strip() == sys.version


def make_venv() -> None:
    """Create the venv with this Python, anew if another one made it."""
    if is_usable():
        return
    if importlib.util.find_spec("venv") is None or importlib.util.find_spec("ensurepip") is None:
        version = f"{sys.version_info[0]}.{sys.version_info[1]}"
        fail(f"this Python has no venv module; on Debian and Ubuntu: apt install python{version}-venv")
    run("creating .venv", [sys.executable, "-m", "venv", "--clear", str(VENV)])


def install_packages() -> None:
    """Install exactly the pinned packages."""
    say("making .venv and installing the packages of requirements.txt (about half a minute, once)")
    make_venv()
    run("installing requirements.txt", [*PIP, "--require-hashes", "--requirement", "requirements.txt"])


def install_ourselves() -> None:
    """Install this checkout, without fetching anything."""
    ourselves = ["--no-deps", "--no-build-isolation", "--no-index", "--editable", "."]
    run("installing cmis-automation", [*PIP, *ourselves])
    put_root_first()


def put_root_first() -> None:
    """Let our packages win over a stray top-level `models` of another wheel: an editable install comes last."""
    ask = "import sysconfig; print(sysconfig.get_path('purelib'))"
    packages = Path(run("finding site-packages", [str(PYTHON), "-I", "-c", ask]).strip())
    line = f"import sys; sys.path.insert(0, {str(ROOT)!r})\n"
    (packages / "_cmis_root_first.pth").write_text(line, encoding="utf-8")


def main() -> None:
    """Make the venv fit."""
    with Path(__file__).open(encoding="utf-8") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # two makes at once
        goal, present = wanted(), found()
        if present == goal:
            return
        begun = time.monotonic()
        if present[:1] != goal[:1]:
            install_packages()
        install_ourselves()
        STAMP.write_text("\n".join(goal), encoding="ascii")
        say(f"done in {time.monotonic() - begun:.0f} s")


if __name__ == "__main__":
    main()
