"""The state machines of runs and their steps: one in code, the same in the database, the same in the documents."""

from __future__ import annotations

import re
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from core.errors import ConflictError
from migrations import transitions
from models.transitions import INSTANCE, INSTANCE_ENDS, STEP, check
from models.workflow_enums import InstanceStatus, StepStatus
from tests.integration.control_workflows.flows import noop
from tests.world import World

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from enum import StrEnum

    from dev.site import Site
    from tests.integration.control_workflows.flows import Flows

ROOT = Path(__file__).resolve().parents[3]
ILLEGAL = "CM020"
_FINAL_STEPS = frozenset({StepStatus.COMPLETED, StepStatus.SKIPPED, StepStatus.CANCELLED})
"""Steps that nothing changes any more; one that failed may be retried or skipped."""

# Each sets the other columns so that only the transition can be what the database refuses.
_TO_INSTANCE = """
UPDATE cmis.workflow_instances
   SET status = :status, started_at = coalesce(started_at, cmis.clock()),
       steps_completed = CASE WHEN :over THEN 1 ELSE 0 END, finished_at = CASE WHEN :over THEN cmis.clock() END
 WHERE instance_id = :id
"""
_TO_STEP = """
UPDATE cmis.workflow_steps
   SET status = :status, started_at = coalesce(started_at, cmis.clock()), wake_at = cmis.clock(),
       waits_for = CASE WHEN :waits THEN 'delay' END, finished_at = CASE WHEN :over THEN cmis.clock() END
 WHERE instance_id = :id AND step_id = 'a'
"""


def put(flows: Flows, machine: str, instance_id: Any, status: StrEnum) -> str | None:
    """Write a status as the app role, by SQL alone; returns the SQLSTATE that refused it, if any did."""
    ends: frozenset[Any] = INSTANCE_ENDS if machine == "instance" else frozenset({*_FINAL_STEPS, StepStatus.FAILED})
    values = {"id": instance_id, "status": status.value, "over": status in ends, "waits": status == StepStatus.WAITING}
    try:
        with flows.world.app.transaction(flows.org.context) as connection:
            connection.execute(text(_TO_INSTANCE if machine == "instance" else _TO_STEP), values)
    except DBAPIError as error:
        return str(error.orig.sqlstate)  # type: ignore[union-attr]
    return None


def instance(flows: Flows) -> Any:
    """Make a run of which nobody has the task."""
    instance_id = flows.start(flows.template(noop("a")))
    flows.world.meddle("UPDATE cmis.tasks SET state = 'cancelled', finished_at = cmis.clock() WHERE state = 'ready'")
    return instance_id


@pytest.fixture
def world(database: Site) -> Iterator[World]:
    """Give the test a world of which no invariants are looked at: what is written here fits nothing."""
    made = World.open(database)
    yield made
    made.close()


@pytest.fixture(autouse=True)
def _unchecked(flows: Flows, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(flows, "check", lambda: None)


@pytest.mark.parametrize("before", InstanceStatus)
def test_the_database_refuses_what_is_no_transition_of_a_run(flows: Flows, before: InstanceStatus) -> None:
    for after in InstanceStatus:
        instance_id = instance(flows)
        if before is not InstanceStatus.PENDING:
            assert put(flows, "instance", instance_id, before) is None
        allowed = after in INSTANCE[before] or (after is before and before not in INSTANCE_ENDS)
        assert put(flows, "instance", instance_id, after) == (None if allowed else ILLEGAL), (before, after)


@pytest.mark.parametrize("before", StepStatus)
def test_the_database_refuses_what_is_no_transition_of_a_step(flows: Flows, before: StepStatus) -> None:
    for after in StepStatus:
        instance_id = instance(flows)
        if before is StepStatus.PENDING:  # nothing leads back to it, and the only step of the run has left it
            continue
        if before is not StepStatus.QUEUED:
            assert put(flows, "step", instance_id, before) is None
        allowed = after in STEP[before] or (after is before and before not in _FINAL_STEPS)
        assert put(flows, "step", instance_id, after) == (None if allowed else ILLEGAL), (before, after)


def test_a_step_that_is_to_come_may_become_anything(flows: Flows) -> None:
    for after in StepStatus:
        instance_id = flows.start(flows.template(noop("z", "a"), noop("a")))
        allowed = after in STEP[StepStatus.PENDING] or after is StepStatus.PENDING
        task = "UPDATE cmis.workflow_steps SET task_id = instance_id WHERE instance_id = %(id)s AND step_id = 'a'"
        flows.world.meddle(task, id=instance_id)
        assert put(flows, "step", instance_id, after) == (None if allowed else ILLEGAL), after


def test_nothing_of_a_run_or_a_step_that_has_ended_can_be_changed(flows: Flows) -> None:
    instance_id = flows.started(noop("a"))
    for statement in (
        "UPDATE cmis.workflow_instances SET context_data = '{}'",
        "UPDATE cmis.workflow_steps SET output_data = '{}'",
    ):
        with (
            pytest.raises(DBAPIError, match="that is completed cannot become completed"),
            flows.world.app.transaction(flows.org.context) as connection,
        ):
            connection.execute(text(statement))
    assert flows.instance(instance_id).status == "completed"


@pytest.mark.parametrize(("machine", "states"), [(INSTANCE, InstanceStatus), (STEP, StepStatus)])
def test_the_code_refuses_what_is_no_transition_and_names_what_is(machine: Any, states: Any) -> None:
    for before, after in product(states, states):
        if after in machine[before]:
            check(machine, before, after, "it")
            continue
        following = ", ".join(sorted(machine[before]))
        remedy = f"from there it becomes {following}" if following else "nothing changes it any more"
        with pytest.raises(ConflictError, match=re.escape(f"it: is {before}, and cannot become {after} ({remedy})")):
            check(machine, before, after, "it")


@pytest.mark.parametrize(("guarded", "machine"), [(transitions.INSTANCE, INSTANCE), (transitions.STEP, STEP)])
def test_the_revision_that_made_the_guards_knows_the_same_pairs(
    guarded: Mapping[str, Sequence[str]], machine: Mapping[Any, Any]
) -> None:
    made = {(before, after) for before, many in guarded.items() for after in many}
    assert made == {(before.value, after.value) for before, many in machine.items() for after in many}


@pytest.mark.parametrize(("title", "machine"), [("of a run", INSTANCE), ("of a step", STEP)])
def test_the_diagrams_in_the_documents_show_the_same_pairs(title: str, machine: Mapping[Any, Any]) -> None:
    said = (ROOT / "docs/workflows.md").read_text(encoding="utf-8")
    [drawn] = re.findall(rf"States {title}:\n\n```mermaid\nstateDiagram-v2\n(.*?)```", said, re.DOTALL)
    assert drawn == diagram(machine)


def diagram(machine: Mapping[Any, Any]) -> str:
    """Return the body of a state diagram in Mermaid."""
    lines = ["    [*] --> pending"]
    for before, many in machine.items():
        lines += [f"    {before} --> {after}" for after in sorted(many)]
        lines += [] if many else [f"    {before} --> [*]"]
    return "\n".join(lines) + "\n"
