from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from tests.unit.cli.running import Cmis, Done

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    Evaluate = Callable[..., Done]

CPA = {"field": "cpa", "operator": ">", "value": 50}
ROAS = {"field": "roas", "window": "last_14d", "operator": "<", "value": 1.5}


@pytest.fixture
def evaluate(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Evaluate:
    def run(conditions: object, facts: object, *options: str) -> Done:
        for name, document in (("conditions", conditions), ("facts", facts)):
            text = document if isinstance(document, str) else json.dumps(document)
            (tmp_path / name).write_text(text, encoding="utf-8")
        files = "--conditions", str(tmp_path / "conditions"), "--facts", str(tmp_path / "facts")
        return Cmis(capsys, {})("rules", "eval", *files, *options)

    return run


@pytest.mark.parametrize(
    ("conditions", "facts", "matched"),
    [
        (CPA, {"cpa": 51}, True),
        (CPA, {"cpa": 50}, False),
        (CPA, {"cpa": None}, None),
        (CPA, {}, None),
        (CPA, {"cpa@last_7d": 51}, None),
        (ROAS, {"roas@last_14d": 1.4}, True),
        (ROAS, {"roas": 1.4}, None),
        ([CPA, ROAS], {"cpa": 51, "roas@last_14d": 2}, False),
        ({"any": [CPA, ROAS]}, {"cpa": 51}, True),
        ({"none": [CPA, ROAS]}, {"cpa": 1}, None),
        ({"field": "order.total", "operator": "=", "value": "a"}, {"order.total": "a"}, True),
    ],
)
def test_conditions_match_facts_without_a_database(
    evaluate: Evaluate,
    conditions: object,
    facts: object,
    matched: bool | None,  # noqa: FBT001 - the three values of an evaluation
) -> None:
    document = evaluate(conditions, facts, "--json").json
    assert set(document) == {"matched", "trace"}
    assert document["matched"] is matched
    assert document["trace"]["result"] is matched


def test_a_fact_is_compared_as_it_is_written(evaluate: Evaluate) -> None:
    assert evaluate(CPA, '{"cpa": 50.00000000000000000001}', "--json").json["matched"] is True


def test_a_list_is_joined_by_the_logic(evaluate: Evaluate) -> None:
    conditions, facts = [CPA, ROAS], {"cpa": 51, "roas@last_14d": 2}
    assert evaluate(conditions, facts, "--json", "--logic", "or").json["matched"] is True
    assert evaluate(conditions, facts, "--json", "--logic", "and").json["matched"] is False


def test_people_see_the_values_as_a_tree(evaluate: Evaluate) -> None:
    done = evaluate([CPA, ROAS], {"cpa": 51})
    assert done.code == 0
    assert "matched: unknown" in done.out
    assert "cpa@last_7d = 51 > 50 → true" in done.out
    assert "roas@last_14d has no value" in done.out.replace("\n", "")


@pytest.mark.parametrize(
    ("conditions", "facts", "said"),
    [
        (CPA, [], "facts: must be an object"),
        ([], {}, "conditions: has no conditions"),
        ({}, {}, "conditions: is empty"),
        ({**CPA, "operator": "~"}, {}, "conditions.operator: unknown operator '~'"),
        ({**CPA, "value": "much"}, {}, "conditions.value: must be a number"),
        ({**CPA, "value": True}, {}, "conditions.value: must be"),
        (CPA, {"cpa": "\ud800"}, "facts.cpa: holds a character"),
        (CPA, '{"cpa": 1, "cpa": 2}', "--facts: the key 'cpa' stands twice"),
    ],
)
def test_bad_input_is_told_and_ends_with_2(evaluate: Evaluate, conditions: object, facts: object, said: str) -> None:
    done = evaluate(conditions, facts, "--json")
    assert (done.code, done.out) == (2, "")
    assert f"error {said}" in done.err


@pytest.mark.parametrize("levels", [7, 15, 900])
def test_a_tree_that_is_too_deep_is_told(evaluate: Evaluate, levels: int) -> None:
    done = evaluate('{"all": [' * levels + json.dumps(CPA) + "]}" * levels, {}, "--json")
    assert done.code == 2
    assert "deep" in done.err


def test_only_one_of_the_two_files_can_be_stdin(capsys: pytest.CaptureFixture[str]) -> None:
    done = Cmis(capsys, {})("rules", "eval", "--conditions", "-", "--facts", "-")
    assert done.code == 2
    assert "--facts: stdin holds the conditions already" in done.err
