"""The chaos suite's scenarios for a few seconds each, on real processes: all is judged but times."""

from __future__ import annotations

import os
import random
from typing import TYPE_CHECKING, Final

import pytest

from chaos.run import run
from chaos.scenario import all_scenarios
from dev.provider import servers

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from dev.provider import Servers

SHORT: Final = ("C1", "C4", "C7", "C9")
"""What `make test` has, too."""
SECONDS: Final = float(os.environ.get("CMIS_TEST_CHAOS_SECONDS", "6"))
SEED: Final = int(os.environ.get("CMIS_FAULTS_SEED") or random.SystemRandom().getrandbits(32))

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]


def _marked(name: str) -> object:
    return pytest.param(name, marks=() if name in SHORT else pytest.mark.exhaustive)


@pytest.fixture(scope="module")
def own(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Servers]:
    """Run servers that may be taken away, PostgreSQL with everything durable."""
    environ = {name: value for name, value in os.environ.items() if name not in {"DATABASE_URL", "BROKER_URL"}}
    with servers(throwaway=False, data=tmp_path_factory.mktemp("chaos"), environ=environ) as made:
        yield made


@pytest.mark.parametrize("name", [_marked(name) for name in all_scenarios()])
def test_nothing_is_lost_or_doubled_whatever_dies(own: Servers, name: str, tmp_path: Path) -> None:
    result = run(name, SECONDS, SEED, made=own, bounds=False, logs=tmp_path)
    assert result.violations == [], (
        f"CMIS_FAULTS_SEED={SEED} chooses the same load and order of faults, not their moments"
    )
    assert result.faults
    assert result.asked
