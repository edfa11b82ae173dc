"""The key for secrets on this machine: one of each run's own, or kept beside the data that it encrypts."""

from __future__ import annotations

import stat
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest

from core.config import Settings
from dev.keys import kept_keys
from dev.provider import servers
from dev.site import ROOT
from engine.secrets.sealing import Keys
from tests.integration.test_dev_servers import NO_SERVERS

if TYPE_CHECKING:
    from pathlib import Path

    from dev.site import Site

ENV = {name: value for name, value in NO_SERVERS.items() if name != "CMIS_SECRET_KEYS"}
OWN = {**ENV, "CMIS_SECRET_KEYS": "own=AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="}


def test_kept_keys_are_made_once_for_their_owner_alone(tmp_path: Path) -> None:
    data = tmp_path / "kept"
    with ThreadPoolExecutor(8) as pool:
        made = set(pool.map(lambda _: kept_keys(data), range(32)))
    assert len(made) == 1
    assert {kept_keys(data)} == made
    [file] = data.iterdir()
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert Keys.load(Settings.load({"CMIS_SECRET_KEYS": made.pop()})).current.startswith("dev-")


def test_data_that_is_kept_has_the_same_key_after_a_restart(tmp_path: Path) -> None:
    seen = []
    for environ in (ENV, ENV, OWN):
        with servers(throwaway=False, data=tmp_path / "kept", migrate=False, environ=environ) as made:
            seen.append(made.env()["CMIS_SECRET_KEYS"])
    first, second, named = seen
    assert first == second != named == OWN["CMIS_SECRET_KEYS"]


def test_a_test_has_the_key_of_its_servers(database: Site) -> None:
    assert Keys.load(Settings.load(database.full_env())).current


@pytest.mark.parametrize(("environ", "begins"), [(ENV, "dev-"), (OWN, "own=")])
def test_a_command_of_dev_run_has_a_key(environ: dict[str, str], begins: str) -> None:
    show = "import os; print(os.environ['CMIS_SECRET_KEYS'])"
    command = [sys.executable, "-m", "cli.main", "dev", "run", "--", sys.executable, "-c", show]
    done = subprocess.run(command, cwd=ROOT, env=environ, capture_output=True, text=True, check=True)
    assert done.stdout.startswith(begins)
    assert Keys.load(Settings.load({"CMIS_SECRET_KEYS": done.stdout.strip()})).current
