"""The example package of the documents: installed as anybody would, known by the registry, run by a real rule."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from dev.site import ROOT
from engine.actions import registry
from tests.installing import EXAMPLES, install
from tests.world import SPENT

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.world import Org, World

EXAMPLE = EXAMPLES / "cmis-action-example"


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Install the package, offline, where nothing else is."""
    return install("cmis-action-example", tmp_path_factory.mktemp("example"))


@pytest.fixture
def known(installed: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Let this process find the package, as a worker would at its start."""
    monkeypatch.syspath_prepend(str(installed))
    registry.kinds.cache_clear()
    registry._spellings.cache_clear()
    yield
    monkeypatch.undo()
    registry.kinds.cache_clear()
    registry._spellings.cache_clear()
    sys.modules.pop("cmis_action_example", None)


@pytest.mark.usefixtures("known")
def test_a_rule_uses_a_kind_of_another_package(world: World, org: Org) -> None:
    dear, cheap = org.campaign(budget=100), org.campaign(budget=20)
    [execution] = org.evaluate(org.rule(SPENT, [{"type": "limit_budget", "value": 50}]))
    assert (execution.status, execution.results) == ("success", {"succeeded": 1})
    assert [org.campaign_row(one).budget for one in (dear, cheap)] == [50, 20]
    [effect] = world.rows("SELECT type, params, before, after FROM cmis.automation_actions")
    assert tuple(effect) == ("cap_budget", {"at": 50}, {"budget": 100}, {"budget": 50})


@pytest.mark.usefixtures("known")
def test_guardrails_bound_a_kind_of_another_package_as_they_bound_ours(world: World, org: Org) -> None:
    campaign = org.campaign(budget=100)
    [execution] = org.evaluate(org.rule(SPENT, [{"type": "cap_budget", "params": {"at": 5}}]))
    assert (execution.status, execution.results) == ("running", {"held": 1})
    assert org.campaign_row(campaign).budget == 100
    assert world.one("SELECT error FROM cmis.automation_actions")["guardrail"] == "budget_floor"


def test_a_rule_whose_kind_is_not_installed_any_more_fails_alone_and_says_so(org: Org) -> None:
    org.campaign()
    [execution] = org.evaluate(org.rule(SPENT, [{"type": "cap_budget", "params": {"at": 50}}]))
    assert execution.status == "failure"
    assert "unknown action 'cap_budget'" in execution.error["message"]


def test_the_packages_own_tests_pass(world: World, installed: Path) -> None:
    path = os.pathsep.join([str(ROOT), str(installed)])
    given = {**os.environ, "PYTHONPATH": path, "DATABASE_URL": world.site.urls.app, "PYTHONDONTWRITEBYTECODE": "1"}
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--import-mode=importlib"]
    done = subprocess.run([*command, str(EXAMPLE)], env=given, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout
    assert "6 passed" in done.stdout
