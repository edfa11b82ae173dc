"""Definitions: read to their canonical form, and refused with everything that is wrong at once, each at its path."""

from __future__ import annotations

import time
from typing import Any

import pytest

from core.errors import InputError
from engine.workflows.definition import Retry
from engine.workflows.reading import MAX_BYTES, parse_definition
from models.workflow_enums import StepType
from tests.unit.workflows.documents import LEAF, STEPS, around, chain, noop


def read(step: dict[str, Any]) -> Any:
    return parse_definition(around(step)).steps["a"]


def refused(document: object) -> dict[str, str]:
    """Return what is said at each path."""
    with pytest.raises(InputError) as error:
        parse_definition(document)
    assert all(problem.remedy for problem in error.value.problems)
    said: dict[str, str] = {}
    for problem in error.value.problems:
        said[problem.field] = "; ".join(filter(None, (said.get(problem.field), problem.message)))
    return said


def only(step: dict[str, Any]) -> dict[str, str]:
    """Return what is said of a step that stands alone."""
    return {path.removeprefix("steps[0]."): said for path, said in refused({"steps": [step]}).items()}


@pytest.mark.parametrize(
    ("form", "config", "edges"),
    [
        (
            "action",
            {"action": "pause_campaign", "params": {}, "campaign": "{{ context.campaign }}"},
            {"next": "b", "failure": "c"},
        ),
        ("callable", {"callable": "cmis.noop", "params": {"x": [1, {"y": None}]}}, {"next": None}),
        (
            "condition",
            {"cases": [{"label": "true", "when": {"all": [LEAF]}}], "default": "false"},
            {"true": "b", "false": "c", "unknown": "d"},
        ),
        (
            "cases",
            {
                "cases": [{"label": "case:0", "when": LEAF}, {"label": "case:1", "when": {"none": [LEAF]}}],
                "default": "default",
            },
            {"case:0": "b", "case:1": None, "default": "c"},
        ),
        ("delay", {"seconds": 178_200.0, "until": None, "business_hours": True}, {"next": "b"}),
        ("until", {"seconds": 0.0, "until": "{{ context.when }}", "business_hours": False}, {"next": None}),
        ("parallel", {"mode": "parallel", "weights": None}, {"branch:0": "b", "branch:1": "c"}),
        (
            "weighted",
            {"mode": "weighted", "weights": {"branch:0": 70.0, "branch:1": 30.5}},
            {"branch:0": "b", "branch:1": None},
        ),
        ("merge", {"mode": "all", "n": None, "cancel_losers": False}, {"next": "b"}),
        ("any", {"mode": "any", "n": None, "cancel_losers": False}, {"next": None}),
        ("n", {"mode": "n", "n": 2, "cancel_losers": False}, {"next": "b"}),
        (
            "event",
            {
                "event_type": "lead.replied",
                "field": "lead.id",
                "value": "{{ context.lead.id }}",
                "timeout_seconds": 259_200.0,
            },
            {"next": "b", "timeout": "c", "failure": "d"},
        ),
        (
            "approval",
            {
                "title": "Publish {{ context.title }}?",
                "message": "Please look.",
                "role": "admin",
                "timeout_seconds": 43_200.0,
            },
            {"next": "b", "timeout": "c", "rejected": "d"},
        ),
        (
            "subworkflow",
            {"template": "Tell", "version": 2, "context": {"who": "{{ context.who }}"}, "wait": False},
            {"next": "b"},
        ),
    ],
)
def test_each_form_of_step_is_read_to_its_canonical_config(form: str, config: Any, edges: Any) -> None:
    step = read(STEPS[form])
    assert (step.config, step.edges) == (config, edges)


def test_a_step_has_its_defaults() -> None:
    step = read(STEPS["callable"])
    assert (step.type, step.name, step.retry, step.on_failure) == (StepType.ACTION, None, Retry(), "fail")
    assert (step.timeout_seconds, step.references) == (None, ())
    event = read({"id": "a", "type": "wait_for_event", "config": {"event_type": "x"}})
    assert event.config == {"event_type": "x", "field": None, "value": None, "timeout_seconds": None}
    approval = read({"id": "a", "type": "approval", "config": {"title": "So?"}})
    assert approval.config == {"title": "So?", "message": "", "role": "editor", "timeout_seconds": None}
    merge = read({"id": "a", "type": "merge", "config": {"mode": "any"}})
    assert merge.config["cancel_losers"] is True


def test_retry_failure_and_time_are_read() -> None:
    step = read(STEPS["action"])
    assert step.retry == Retry(5, 1.0, 3.0, 60.0, frozenset({"NOT_FOUND"}))
    assert (step.on_failure, step.timeout_seconds, step.name) == ("branch", 30.0, "Pause it")


def test_null_is_as_good_as_absent() -> None:
    step = {"id": "a", "type": "action", "name": None, "config": {"callable": "x", "params": None, "action": None}}
    step |= {"next": None, "retry": None, "on_failure": None, "timeout_seconds": None}
    found = parse_definition({"steps": [step], "start": None, "timeout_seconds": None, "on_failure": None})
    assert found.steps["a"].config == {"callable": "x", "params": {}}
    assert (found.start, found.timeout_seconds, found.ends) == ("a", None, ("a",))


def test_what_follows_a_failure_by_default_is_said_once_for_all_steps_that_can_go_on() -> None:
    found = parse_definition({**around(STEPS["condition"]), "on_failure": "continue", "timeout_seconds": 60})
    assert found.steps["b"].on_failure == "continue"
    assert found.steps["a"].on_failure == "pause"  # it says so itself
    assert parse_definition({**around(STEPS["parallel"]), "on_failure": "continue"}).steps["a"].on_failure == "fail"
    assert found.timeout_seconds == 60.0


def test_references_are_collected_from_texts_and_from_conditions() -> None:
    steps = [
        noop("a", "b"),
        noop("b", "c", deep=[{"x": "{{ context.lead.id }} and {{steps.a.output}}"}], plain=r"\{{ context.not }}"),
        {
            "id": "c",
            "type": "condition",
            "config": {
                "conditions": {
                    "any": [
                        {"field": "steps.b.output.n", "operator": ">", "value": {"field": "context.least"}},
                        {"field": "lead.country", "operator": "=", "value": "ES"},
                    ]
                }
            },
        },
    ]
    found = parse_definition({"steps": steps})
    assert found.steps["b"].references == (("context", "lead", "id"), ("steps", "a", "output"))
    assert set(found.steps["c"].references) == {
        ("steps", "b", "output", "n"),
        ("context", "least"),
        ("context", "lead", "country"),
    }


@pytest.mark.parametrize("document", [None, [], "x", 3])
def test_what_is_no_object_is_no_definition(document: object) -> None:
    assert "a definition must be an object" in refused(document)[""]


@pytest.mark.parametrize("steps", [None, [], {}, "x"])
def test_there_is_at_least_one_step(steps: object) -> None:
    assert list(refused({"steps": steps})) == ["steps"]


@pytest.mark.parametrize(
    ("step", "path", "said"),
    [
        ({"type": "merge"}, "id", "is required"),
        ({"id": "1a", "type": "merge"}, "id", "cannot be '1a'"),
        ({"id": "x" * 64, "type": "merge"}, "id", "cannot be"),
        ({"id": "a"}, "type", "is required"),
        ({"id": "a", "type": "loop"}, "type", "unknown type 'loop'"),
        ({"id": "a", "type": "delay", "config": []}, "config", "must be an object, not a list"),
        ({"id": "a", "type": "delay", "config": {"weeks": 1}}, "config.weeks", "unknown key"),
        ({"id": "a", "type": "delay", "config": {}}, "config.seconds", "or another time to wait for is required"),
        ({"id": "a", "type": "delay", "config": {"hours": -1}}, "config.hours", "cannot be -1"),
        ({"id": "a", "type": "delay", "config": {"hours": True}}, "config.hours", "must be a number, not true"),
        (
            {"id": "a", "type": "delay", "config": {"days": 3_000, "hours": 80_000}},
            "config.seconds",
            "5.472e+08 in all",
        ),
        (
            {"id": "a", "type": "delay", "config": {"hours": 1, "until": "x"}},
            "config.until",
            "stands beside a duration",
        ),
        ({"id": "a", "type": "action", "config": {}}, "config.action", "needs an action or a callable"),
        (
            {"id": "a", "type": "action", "config": {"action": "x", "callable": "y"}},
            "config.action",
            "has an action and",
        ),
        ({"id": "a", "type": "action", "config": {"action": "x", "params": []}}, "config.params", "must be an object"),
        (
            {"id": "a", "type": "action", "config": {"callable": "x", "campaign": "y"}},
            "config.campaign",
            "is for actions",
        ),
        ({"id": "a", "type": "condition", "config": {}}, "config.conditions", "needs conditions or cases"),
        (
            {"id": "a", "type": "condition", "config": {"conditions": LEAF, "default": "b"}},
            "config.default",
            "means nothing beside conditions",
        ),
        ({"id": "a", "type": "condition", "config": {"cases": []}}, "config.cases", "must be a list of 1 to 100 cases"),
        ({"id": "a", "type": "condition", "config": {"cases": [{"next": "b"}]}}, "config.cases[0].when", "is required"),
        (
            {"id": "a", "type": "condition", "config": {"conditions": {"field": "x", "operator": "~", "value": 1}}},
            "config.conditions.operator",
            "unknown operator '~'",
        ),
        (
            {"id": "a", "type": "condition", "config": {"conditions": [LEAF] * 51}},
            "config.conditions",
            "has more than 50 conditions",
        ),
        ({"id": "a", "type": "condition", "config": {"conditions": LEAF}, "next": "b"}, "next", "does not belong to"),
        (
            {
                "id": "a",
                "type": "condition",
                "config": {"conditions": [{"field": "x", "operator": "=", "value": "{{ context.y }}"}]},
            },
            "config.conditions",
            "has a reference in double braces",
        ),
        ({"id": "a", "type": "split", "config": {"branches": ["b"]}}, "config.mode", "is required"),
        (
            {"id": "a", "type": "split", "config": {"mode": "parallel", "branches": []}},
            "config.branches",
            "must be a list",
        ),
        (
            {"id": "a", "type": "split", "config": {"mode": "parallel", "branches": ["b", "b"]}},
            "config.branches[1]",
            "is 'b' once more",
        ),
        (
            {"id": "a", "type": "split", "config": {"mode": "weighted", "branches": [{"weight": 0}, {"weight": 0}]}},
            "config.branches",
            "have weights whose sum is 0",
        ),
        (
            {"id": "a", "type": "split", "config": {"mode": "weighted", "branches": [{"weight": -1}, {"weight": 1}]}},
            "config.branches[0].weight",
            "cannot be -1",
        ),
        ({"id": "a", "type": "merge", "config": {"mode": "some"}}, "config.mode", "cannot be 'some'"),
        ({"id": "a", "type": "merge", "config": {"mode": "n"}}, "config.n", "is required"),
        (
            {"id": "a", "type": "merge", "config": {"mode": "any", "n": 2}},
            "config.n",
            "means nothing where mode is any",
        ),
        (
            {"id": "a", "type": "merge", "config": {"cancel_losers": True}},
            "config.cancel_losers",
            "means nothing where all",
        ),
        ({"id": "a", "type": "wait_for_event", "config": {}}, "config.event_type", "is required"),
        (
            {"id": "a", "type": "wait_for_event", "config": {"event_type": "A b"}},
            "config.event_type",
            "cannot be 'A b'",
        ),
        (
            {"id": "a", "type": "wait_for_event", "config": {"event_type": "x", "correlation": {"field": "y"}}},
            "config.correlation.value",
            "is required",
        ),
        (
            {"id": "a", "type": "wait_for_event", "config": {"event_type": "x", "timeout_next": "b"}},
            "config.timeout_next",
            "means nothing without a timeout",
        ),
        (
            {"id": "a", "type": "wait_for_event", "config": {"event_type": "x", "timeout": {}}},
            "config.timeout",
            "must be a duration, not an object",
        ),
        (
            {"id": "a", "type": "wait_for_event", "config": {"event_type": "x", "timeout": {"days": 0}}},
            "config.timeout",
            "is no time at all",
        ),
        (
            {"id": "a", "type": "wait_for_event", "config": {"event_type": "x"}, "timeout_seconds": 3},
            "timeout_seconds",
            "",
        ),
        ({"id": "a", "type": "approval", "config": {"title": " "}}, "config.title", "is blank"),
        ({"id": "a", "type": "approval", "config": {"title": "x", "role": "boss"}}, "config.role", "cannot be 'boss'"),
        ({"id": "a", "type": "subworkflow", "config": {}}, "config.template", "is required"),
        (
            {"id": "a", "type": "subworkflow", "config": {"template": "x", "version": 0}},
            "config.version",
            "cannot be 0",
        ),
        ({"id": "a", "type": "merge", "retry": {}}, "retry", "means nothing for a step of type merge"),
        ({**noop("a"), "retry": {"max_retries": 21}}, "retry.max_retries", "cannot be 21"),
        ({**noop("a"), "retry": {"factor": 0.5}}, "retry.factor", "cannot be 0.5"),
        ({**noop("a"), "retry": {"non_retryable": [1]}}, "retry.non_retryable", "must be a list"),
        ({**noop("a"), "timeout_seconds": 0}, "timeout_seconds", "cannot be 0"),
        ({**noop("a"), "on_failure": "retry"}, "on_failure", "cannot be 'retry'"),
        ({**noop("a"), "on_failure": {}}, "on_failure.next", "is required"),
        (
            {"id": "a", "type": "delay", "config": {"days": 1}, "on_failure": {"next": "b"}},
            "on_failure",
            "leads nowhere",
        ),
        (
            {"id": "a", "type": "condition", "config": {"conditions": LEAF}, "on_failure": "continue"},
            "on_failure",
            "cannot be 'continue'",
        ),
        ({**noop("a"), "next": ["b"]}, "next", "must be the id of a step, not a list"),
        ({**noop("a"), "color": "red"}, "color", "unknown key"),
    ],
)
def test_what_is_wrong_with_a_step_is_said_at_its_path(step: dict[str, Any], path: str, said: str) -> None:
    assert said in only(step)[path]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("{{ contxt.x }}", "there is no 'contxt.x' to refer to"),
        ("{{ campaign.name }}", "there is no 'campaign.name' to refer to"),
        ("{{ steps.nope.output.x }}", "there is no step 'nope' to refer to"),
        ("{{ steps.b.output.x }}", "b does not come before a"),
        ("{{ steps.a.output.x }}", "a does not come before a"),
        ("{{ steps.b }}", "'steps.b' is no output of a step"),
        ("{{ instance.secret }}", "there is no 'instance.secret' to refer to"),
        ("{{ context.x | upper }}", "'context.x | upper' in double braces is no reference"),
        ("{{ }}", "in double braces is no reference"),
        ("secret://token", "names a secret, but would be kept as it stands"),
    ],
)
def test_a_reference_leads_to_what_can_be_there(text: str, said: str) -> None:
    assert said in refused({"steps": [noop("a", "b", text=[text]), noop("b")]})["steps[0].config.params.text[0]"]


def test_a_step_on_another_branch_does_not_come_before() -> None:
    document = around(STEPS["parallel"])
    document["steps"][2]["config"]["params"] = {"text": "{{ steps.b.output.x }}"}
    assert refused(document) == {"steps[2].config.params.text": "b does not come before c"}
    document["steps"][2]["config"]["params"] = {"text": "{{ steps.a.output.x }} {{ instance.id }}"}
    parse_definition(document)


def test_conditions_refer_to_steps_that_come_before_too() -> None:
    document = around(STEPS["condition"])
    document["steps"][0]["config"]["conditions"] = {"field": "steps.b.output.x", "operator": "is_null"}
    assert refused(document) == {"steps[0].config.conditions": "b does not come before a"}


def test_a_secret_may_stand_in_the_parameters_of_an_action_only() -> None:
    params = {"url": "https://example.com", "signing_secret": "secret://signing"}
    parse_definition({"steps": [{"id": "a", "type": "action", "config": {"action": "webhook", "params": params}}]})
    approval = {"id": "a", "type": "approval", "config": {"title": "secret://signing"}}
    assert "names a secret" in only(approval)["config.title"]


def test_everything_that_is_wrong_is_told_at_once() -> None:
    document = {
        "stepz": 1,
        "on_failure": "explode",
        "steps": [
            {"id": "a", "type": "action", "config": {"action": "x"}, "next": "b"},
            {"id": "b", "type": "delay", "config": {"hours": "2"}, "next": "c"},
            {
                "id": "c",
                "type": "action",
                "config": {"callable": "y", "params": {"z": "{{ steps.q.output.v }}"}},
                "next": "b",
            },
            {"id": "d", "type": "split", "config": {"mode": "weighted", "branches": [{"next": "m", "weight": 0}]}},
            {"id": "m", "type": "merge", "config": {"mode": "n", "n": 3}, "next": "nowhere"},
            {"id": "e", "type": "delay", "config": {"days": 1}, "next": "m"},
        ],
    }
    assert refused(document) == {
        "stepz": "unknown key",
        "on_failure": "cannot be 'explode'",
        "steps[1].config.hours": "must be a number, not '2'",
        "steps[3].config.branches": "have weights whose sum is 0",
        "steps[4].next": "there is no step 'nowhere'",
        "steps[1]": "the steps b → c → b lead in a circle",
        "start": "3 steps have nothing that leads to them: a, d, e",
        "steps[4].config.n": "is 3, and 2 steps lead to the merge",
        "steps[2].config.params.z": "there is no step 'q' to refer to",
    }


def test_what_is_wrong_with_a_step_is_told_together_in_the_order_of_the_steps() -> None:
    steps = [noop(f"s{n}", f"s{n + 1}", x="{{ steps.q.output }}") for n in range(11)]
    steps += [{"id": "s11", "type": "delay", "config": {"days": "x"}, "next": "nowhere"}]
    with pytest.raises(InputError) as error:
        parse_definition({"steps": steps, "odd": 1})
    expected = ["odd", *(f"steps[{n}].config.params.x" for n in range(11)), "steps[11].config.days", "steps[11].next"]
    assert [problem.field for problem in error.value.problems] == expected


def test_paths_can_begin_elsewhere() -> None:
    with pytest.raises(InputError) as error:
        parse_definition({"steps": [{"id": "a", "type": "x"}]}, path="definition")
    assert [problem.field for problem in error.value.problems] == ["definition.steps[0].type"]


def test_3_000_steps_are_refused_with_whatever_else_is_wrong() -> None:
    document = chain(3_000)
    document["steps"][2_999]["next"] = "s0"
    said = refused(document)
    assert said["steps"] == "has 3,000 steps"
    assert said["steps[0]"].startswith("the steps s0 → s1 → ")


def test_a_definition_of_2_mb_is_refused_by_its_size() -> None:
    document = {"steps": [noop("a", text="x" * 2_000_000)]}
    assert refused(document) == {"": "the definition has 2,000,093 bytes"}
    assert parse_definition({"steps": [noop("a", text="x" * (MAX_BYTES - 100))]})


def test_a_config_that_is_nested_too_deep_is_refused_however_deep() -> None:
    deep: dict[str, Any] = {}
    for _ in range(100_000):
        deep = {"x": deep}
    [(path, said)] = refused({"steps": [noop("a", x=deep)]}).items()
    assert path.startswith("steps[0].config.params.x.x.x")
    assert said == "is nested too deep"


@pytest.mark.parametrize("value", [float("nan"), "a\x00b", "\ud800"])
def test_what_no_column_can_hold_is_refused(value: object) -> None:
    assert list(refused({"steps": [noop("a", x=value)]})) == ["steps[0].config.params.x"]


@pytest.mark.parametrize(
    "text",
    ["{{" * 400_000 + "}}", r"\{{" * 300_000 + "}}", "\\" * 400_000, "{{ x }}" * 100_000, "{{" * 400_000],
    ids=["opened", "meant", "slashes", "many", "never closed"],
)
def test_no_text_takes_more_than_its_length(text: str) -> None:
    begun = time.process_time()
    try:
        parse_definition({"steps": [noop("a", x=text)]})
    except InputError as error:
        assert len(error.problems) == 1  # noqa: PT017 - some of them are no mistake
    assert time.process_time() - begun < 2


def test_2_000_steps_are_read_in_a_moment() -> None:
    document, taken = chain(2_000), []
    for _ in range(3):
        begun = time.process_time()
        assert len(parse_definition(document).steps) == 2_000
        taken.append(time.process_time() - begun)
    assert min(taken) < 0.3  # about 0.07 s; machines that run the suite are busy
