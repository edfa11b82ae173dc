from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from cli.rule_explain import action_phrase
from engine.actions.registry import parse_actions
from tests.unit.cli.running import Cmis, Done

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    Explain = Callable[..., Done]

CPA = {"metric": "cpa", "operator": ">", "threshold": 50}
SPEND = {"field": "spend", "window": "today", "operator": "<", "value": 10}
RULE = {
    "name": "Pause",
    "conditions": [CPA, SPEND],
    "condition_logic": "or",
    "actions": [{"type": "pause", "params": {"reason": "too dear"}}, {"type": "decrease_budget", "value": 12.5}],
    "cooldown_minutes": 0,
    "max_executions_per_day": 3,
}
WORDS = "cost per acquisition over the last 7 days is above 50, {} spend today is below 10"


@pytest.fixture
def explain(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Explain:
    def run(document: object, *options: str) -> Done:
        (tmp_path / "document").write_text(json.dumps(document), encoding="utf-8")
        return Cmis(capsys, {})("rules", "explain", "--file", str(tmp_path / "document"), *options)

    return run


def test_a_tree_and_a_list_are_explained_without_a_database(explain: Explain) -> None:
    assert explain([CPA, SPEND]).out == WORDS.format("and") + ".\n"
    assert explain([CPA, SPEND], "--logic", "or").out == WORDS.format("or") + ".\n"
    assert explain({"field": "order.total", "operator": "is_null"}).out == "order.total has no value.\n"


def test_a_rule_is_explained_with_its_actions_and_throttles(explain: Explain) -> None:
    assert explain(RULE, "--json").json == {
        "sentence": f'For each campaign: if {WORDS.format("or")}, then pause the campaign (reason "too dear"), '
        "then lower the budget by 12.5 %. It acts at most 3 times a day.",
        "name": "Pause",
        "conditions": {"any": [{"field": "cpa", "operator": ">", "value": 50}, SPEND]},
        "actions": ['pause the campaign (reason "too dear")', "lower the budget by 12.5 %"],
    }


def test_square_brackets_in_a_text_are_shown_as_they_are(explain: Explain) -> None:
    said = explain({"field": "name", "operator": "=", "value": "[bold]x[/bold]"}).out
    assert said == 'name is "[bold]x[/bold]".\n'


@pytest.mark.parametrize(
    ("action", "phrase"),
    [
        ({"type": "increase_budget", "value": 20}, "raise the budget by 20 %"),
        ({"type": "adjust_budget", "params": {"amount": -1500}}, "lower the budget by 1,500"),
        ({"type": "adjust_budget", "params": {"set": 75, "ceiling": 90}}, "set the budget to 75 (ceiling 90)"),
        ({"type": "notify", "value": "\x1b[31m"}, r'send a notification (channel in_app, message "\u001b[31m")'),
        ({"type": "notify"}, "send a notification (channel in_app)"),
        ({"type": "increase_bid", "value": 5}, "raise the bid by 5 %"),
        ({"type": "tag_entity", "value": "hot"}, "add the tag hot"),
        (
            {"type": "tag_entity", "params": {"tags": ["hot", "too dear"], "remove": "cold"}},
            'add the tags hot, "too dear" and remove the tag cold',
        ),
        ({"type": "set_field", "params": {"field": "end_date", "value": None}}, "empty the end date"),
        ({"type": "set_field", "params": {"field": "objective", "value": "sales"}}, "set the objective to sales"),
    ],
)
def test_an_action_in_words(action: dict[str, Any], phrase: str) -> None:
    assert [action_phrase(spec) for spec in parse_actions([action], "actions")] == [phrase]


@pytest.mark.parametrize(
    ("document", "said"),
    [
        ({**CPA, "operator": "~"}, "conditions.operator: unknown operator '~'"),
        ({"conditions": [CPA]}, "actions: is required"),
        ({**RULE, "cooldown_minutes": -1}, "cooldown_minutes: cannot be -1"),
        (7, "conditions: must be an object"),
        ({"field": "name", "operator": "=", "value": "\ud800"}, "conditions.value: holds a character"),
    ],
)
def test_what_is_wrong_is_told_at_its_path(explain: Explain, document: object, said: str) -> None:
    done = explain(document)
    assert (done.code, done.out) == (2, "")
    assert f"error {said}" in done.err


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "RULE: is required"),
        (["Pause"], "--org: is required"),
        (["Pause", "--file", "-"], "RULE: cannot be explained together with --file"),
    ],
)
def test_a_rule_or_a_file_is_needed(capsys: pytest.CaptureFixture[str], arguments: list[str], said: str) -> None:
    done = Cmis(capsys, {})("rules", "explain", *arguments)
    assert done.code == 2
    assert f"error {said}" in done.err
