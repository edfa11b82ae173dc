"""A soak of half a minute on real processes: all is read, and nothing lost. What is flat takes longer to tell."""

from __future__ import annotations

import json
import os
import random
from typing import TYPE_CHECKING, Final

import pytest

from chaos.soak.report import document, show
from chaos.soak.run import soak
from dev.provider import servers

if TYPE_CHECKING:
    from pathlib import Path

SECONDS: Final = 40.0
READ: Final = {
    *(
        f"{role} {what}"
        for role in ("worker", "worker's child", "deliveries", "scheduler")
        for what in ("MiB", "files")
    ),
    *("connections", "oldest transaction s", "dead rows", "unfinished tasks", "database MiB"),
    *("broker keys", "broker MiB", "messages waiting"),
}

pytestmark = [pytest.mark.slow, pytest.mark.exhaustive, pytest.mark.timeout(900)]


def test_everything_is_read_and_nothing_lost(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    environ = {name: value for name, value in os.environ.items() if name not in {"DATABASE_URL", "BROKER_URL"}}
    seed, told = random.SystemRandom().getrandbits(32), list[str]()
    with servers(throwaway=False, data=tmp_path / "data", environ=environ) as made:
        soaked = soak(made, SECONDS, seed, tmp_path / "logs", told.append)
    assert soaked.violations == [], seed
    assert soaked.readings.keys() == READ
    assert soaked.capacity > 0
    assert soaked.asked > SECONDS * 0.5
    assert "requests/s can be carried" in told[0]
    for name in ("worker MiB", "worker's child files", "connections", "broker keys", "database MiB"):
        assert all(point.value > 0 for point in soaked.readings[name]), name
    assert json.loads(json.dumps(document(soaked)))["quantities"].keys() == READ
    show(soaked)
    assert ("flat" if soaked.flat else "not flat") in capsys.readouterr().out
