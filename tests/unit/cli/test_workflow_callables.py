from __future__ import annotations

from typing import TYPE_CHECKING

from engine.callables.registry import CALLABLES
from tests.unit.cli.running import Cmis

if TYPE_CHECKING:
    import pytest


def test_every_callable_is_listed_with_its_package_and_what_it_does(capsys: pytest.CaptureFixture[str]) -> None:
    listed = {row["name"]: row for row in Cmis(capsys, {})("workflows", "callables", "--json").json}
    assert listed.keys() == CALLABLES.keys()
    assert listed["cmis.noop"] == {
        "name": "cmis.noop",
        "internal": True,
        "package": "cmis-automation",
        "description": "Return its params: names values for later steps, or holds a place.",
    }


def test_the_callables_are_a_table_for_people(capsys: pytest.CaptureFixture[str]) -> None:
    shown = Cmis(capsys, {})("workflows", "callables").out
    assert "cmis.fail" in shown
    assert "in the worker" in shown
