"""Callables of other packages: installed ones join ours, and one that cannot be used costs nothing but itself."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import pytest

from core.errors import PermanentError
from engine.callables import packages, registry

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

GOOD = '''
from engine.callables.base import step

@step("{name}")
def run(call):
    """Score a lead.

    By its age.
    """
    return {{"by": __name__}}
'''


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str, str], None]]:
    """Install packages of one module each, whose entry point is its function `run`."""
    monkeypatch.syspath_prepend(str(tmp_path))
    before = set(sys.modules)

    def install(name: str, source: str) -> None:
        (tmp_path / f"{name}.py").write_text(source, encoding="utf-8")
        info = tmp_path / f"{name}-1.0.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n", encoding="utf-8")
        (info / "entry_points.txt").write_text(f"[cmis.steps]\nscore = {name}:run\n", encoding="utf-8")
        registry.callables.cache_clear()

    yield install
    monkeypatch.undo()
    registry.callables.cache_clear()
    for name in set(sys.modules) - before:
        if name.startswith("brings_"):
            del sys.modules[name]


def test_a_callable_of_another_package_is_known_by_its_name(install: Callable[[str, str], None]) -> None:
    install("brings_score", GOOD.format(name="acme.score"))
    found = registry.CALLABLES["acme.score"]
    assert (found.package, found.doc, found.internal) == ("brings_score 1.0", "Score a lead.", False)
    assert (found.module, found.qualname) == ("brings_score", "run")
    assert registry.CALLABLES["cmis.noop"].package == "cmis-automation"
    assert set(registry.CALLABLES) == {"cmis.noop", "cmis.fail", "acme.score"}
    assert len(registry.CALLABLES) == 3
    assert registry.find("acme.score") is found


@pytest.mark.parametrize(
    ("source", "said"),
    [
        (GOOD.format(name="cmis.noop"), "there is a callable 'cmis.noop' of cmis-automation already"),
        (GOOD.format(name="Score it"), "ValueError: a callable's name has small letters"),
        ("run = 7", "brings_score:run is no function under @engine.callables.base.step"),
        ("def run(call): return {}", "brings_score:run is no function under @engine.callables.base.step"),
        ("", "AttributeError"),
        ("import nothing_of_that_name", "ModuleNotFoundError: No module named 'nothing_of_that_name'"),
        ("raise SystemExit(3)", "SystemExit: 3"),
    ],
)
def test_a_package_that_cannot_be_used_is_named_in_the_log_and_everything_else_works(
    install: Callable[[str, str], None], caplog: pytest.LogCaptureFixture, source: str, said: str
) -> None:
    install("brings_score", source)
    with pytest.raises(PermanentError, match=r"unknown callable 'acme.score' .*use one of: cmis.noop, cmis.fail"):
        registry.find("acme.score")
    [record] = caplog.records
    assert record.name == packages.logger.name
    assert record.getMessage().startswith("the callable 'score' of brings_score 1.0 is left out")
    assert said in record.getMessage()
    assert "uninstall it, then restart" in record.getMessage()


def test_of_two_packages_with_the_same_name_the_first_by_name_brings_it_and_the_other_is_told(
    install: Callable[[str, str], None], caplog: pytest.LogCaptureFixture
) -> None:
    install("brings_b", GOOD.format(name="acme.score"))
    install("brings_a", GOOD.format(name="acme.score"))
    assert registry.CALLABLES["acme.score"].package == "brings_a 1.0"
    [record] = caplog.records
    assert "the callable 'score' of brings_b 1.0 is left out" in record.getMessage()
    assert "there is a callable 'acme.score' of brings_a 1.0 already" in record.getMessage()
