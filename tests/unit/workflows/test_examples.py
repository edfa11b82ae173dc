"""The examples of the documents: whole workflows that are valid, and a valid step of each type."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from engine.callables.registry import CALLABLES
from engine.define_workflows import check_document
from engine.rules.reading import Problems
from engine.workflow_checks import check_kinds
from engine.workflows.steps import read_step
from models.workflow_enums import StepType

DOCS = Path(__file__).resolve().parents[3] / "docs"
EXAMPLES = sorted((DOCS / "examples/workflows").glob("*.json"))
BLOCKS = [json.loads(text) for text in re.findall(r"```json\n(.*?)```", (DOCS / "workflows.md").read_text(), re.DOTALL)]
STEPS: list[dict[str, Any]] = [
    block for block in BLOCKS if isinstance(block, dict) and "type" in block and "id" in block
]


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_a_whole_example_is_valid(path: Path) -> None:
    assert check_document(json.loads(path.read_text()), CALLABLES)


def test_the_first_workflow_of_the_document_is_valid() -> None:
    whole = [block for block in BLOCKS if isinstance(block, dict) and "definition" in block]
    assert len(check_document(whole[0], CALLABLES)) == 3


@pytest.mark.parametrize("step", STEPS, ids=lambda step: step["id"])
def test_a_step_of_the_document_is_valid(step: dict[str, Any]) -> None:
    problems = Problems()
    read = read_step(step, "step", "fail", problems)
    assert read is not None
    check_kinds([read], CALLABLES, problems)
    problems.raise_if_any()


def test_the_document_has_a_step_of_each_type() -> None:
    assert {step["type"] for step in STEPS} == set(StepType)
