"""Installs a package of the documents as anybody would, offline, into a directory of its own."""

from __future__ import annotations

import subprocess
import sys
from shutil import copytree
from typing import TYPE_CHECKING, Final

from dev.site import ROOT

if TYPE_CHECKING:
    from pathlib import Path

EXAMPLES: Final = ROOT / "docs/examples"


def install(example: str, directory: Path) -> Path:
    """Install one of the examples; returns what to put on the path."""
    source, target = directory / "source", directory / "installed"
    copytree(
        EXAMPLES / example, source, ignore=lambda _, names: [name for name in names if name.startswith((".", "__"))]
    )
    offline = ["--no-deps", "--no-build-isolation", "--no-index", "--disable-pip-version-check", "--quiet"]
    command = [sys.executable, "-m", "pip", "install", *offline, "--target", str(target), str(source)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return target
