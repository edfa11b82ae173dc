"""Kinds of other packages: installed ones join ours, and one that cannot be used costs nothing but itself."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import pytest

from core.errors import InputError
from engine.actions import packages, registry

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

GOOD = '''
from engine.actions.status import PauseCampaign

class Stop(PauseCampaign):
    """Stop it."""
    name = "{name}"
    aliases = {aliases}
'''


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str, str], None]]:
    """Install packages of one module each, whose entry point is its class `Stop`."""
    monkeypatch.syspath_prepend(str(tmp_path))
    before = set(sys.modules)

    def install(name: str, source: str) -> None:
        (tmp_path / f"{name}.py").write_text(source, encoding="utf-8")
        info = tmp_path / f"{name}-1.0.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n", encoding="utf-8")
        (info / "entry_points.txt").write_text(f"[cmis.actions]\nstop = {name}:Stop\n", encoding="utf-8")
        _forget()

    yield install
    monkeypatch.undo()
    _forget()
    for name in set(sys.modules) - before:
        if name.startswith("brings_"):
            del sys.modules[name]


def _forget() -> None:
    registry.kinds.cache_clear()
    registry._spellings.cache_clear()


def test_a_kind_of_another_package_is_known_by_its_name_and_aliases(install: Callable[[str, str], None]) -> None:
    install("brings_stop", GOOD.format(name="stop", aliases=("halt",)))
    assert [spec.kind for spec in registry.parse_actions([{"type": "stop"}, {"type": "halt"}], "actions")] == [
        "stop"
    ] * 2
    assert registry.kinds()["stop"].package == "brings_stop 1.0"
    assert registry.kinds()["pause_campaign"].package == "cmis-automation"
    assert "stop" in set(registry.KINDS)
    assert len(registry.KINDS) == len(registry._OURS) + 1


@pytest.mark.parametrize(
    ("source", "said"),
    [
        (GOOD.format(name="pause_campaign", aliases=()), "there is an action 'pause_campaign' already"),
        (GOOD.format(name="stop", aliases=("notify",)), "there is an action 'notify' already"),
        (GOOD.format(name="push_change", aliases=()), "there is an action 'push_change' already"),
        (GOOD.format(name="Stop it", aliases=()), "small letters"),
        (GOOD.format(name="stop", aliases="'halt'"), "small letters"),
        ("Stop = 7", "brings_stop:Stop is no engine.actions.base.Action"),
        ("", "AttributeError"),
        ("import nothing_of_that_name", "ModuleNotFoundError: No module named 'nothing_of_that_name'"),
        ("raise SystemExit(3)", "SystemExit: 3"),
        ("from engine.actions.base import Action\nclass Stop(Action):\n    name = 'stop'", "TypeError"),
    ],
)
def test_a_package_that_cannot_be_used_is_named_in_the_log_and_everything_else_works(
    install: Callable[[str, str], None], caplog: pytest.LogCaptureFixture, source: str, said: str
) -> None:
    install("brings_stop", source)
    with pytest.raises(InputError) as refused:
        registry.parse_actions([{"type": "stop"}, {"type": "pause"}], "actions")
    [problem] = refused.value.problems
    assert "unknown action 'stop'" in problem.message
    assert str(problem.remedy).startswith("allowed: pause_campaign, pause_underperforming, pause, resume_campaign")
    [record] = caplog.records
    assert record.name == packages.logger.name
    assert record.getMessage().startswith("the action 'stop' of package brings_stop 1.0 is left out")
    assert said in record.getMessage()
    assert "uninstall it, then restart" in record.getMessage()


def test_of_two_packages_with_the_same_name_the_first_by_name_brings_it(
    install: Callable[[str, str], None], caplog: pytest.LogCaptureFixture
) -> None:
    install("brings_b", GOOD.format(name="stop", aliases=("from_b",)))
    install("brings_a", GOOD.format(name="stop", aliases=("from_a",)))
    assert registry.kinds()["stop"].action.aliases == ("from_a",)
    assert [record.getMessage().partition(" is left")[0] for record in caplog.records] == [
        "the action 'stop' of package brings_b 1.0"
    ]
    with pytest.raises(InputError, match="unknown action 'from_b'"):
        registry.parse_actions([{"type": "from_b"}], "actions")
