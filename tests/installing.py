"""Installs a package of the documents as anybody would, offline, or lays one where processes of a test find it."""

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


def lay(directory: Path, name: str, steps: str, source: str) -> Path:
    """Lay a package of one module `NAME_of_tests` that brings callables as if it were installed; returns its place.

    `steps`: its line among the entry points `cmis.steps`.
    """
    about = directory / "packages" / f"{name}-1.0.dist-info"
    about.mkdir(parents=True)
    about.joinpath("METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
    about.joinpath("entry_points.txt").write_text(f"[cmis.steps]\n{steps}\n")
    about.parent.joinpath(f"{name}_of_tests.py").write_text(source)
    return about.parent
