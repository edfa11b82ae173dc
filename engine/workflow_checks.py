"""What a definition names outside itself, as far as it can be known: actions, callables, secrets, other workflows."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from core.errors import InputError, Problem
from engine.actions.registry import KINDS, kind_of
from engine.rules.reading import listed, shown
from engine.secrets import check as secret_check
from engine.secrets.references import found as secrets_in
from engine.store import templates
from engine.workflows.drafts import refers
from models.workflow_enums import StepType, TemplateStatus

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping, Sequence
    from uuid import UUID

    from sqlalchemy import Connection, Row

    from engine.actions.base import Action
    from engine.rules.reading import Problems
    from engine.workflows.steps import Placed

_MOST_CHECKED: Final = 1_000
"""Workflows that are looked at to see whether one leads back to itself."""


def check_kinds(steps: Sequence[Placed], callables: Collection[str], problems: Problems) -> None:
    """Note actions and callables that are unknown, and parameters that their actions refuse.

    `callables` are the names of those that are registered. What refers is checked when its step is executed.
    """
    for placed in steps:
        config, path = placed.step.config, f"{placed.path}.config"
        if placed.step.type is not StepType.ACTION:
            continue
        if config.get("callable") and config["callable"] not in callables:
            known = listed(sorted(callables)) or "none"
            problems.add(f"{path}.callable", f"unknown callable {shown(config['callable'])}", f"registered: {known}")
        elif config.get("action"):
            _check_action(config, path, problems)


def check_names(
    connection: Connection, org_id: UUID, steps: Sequence[Placed], problems: Problems, *, own: Collection[str] = ()
) -> None:
    """Note secrets that the org does not have, and workflows that no step of its can start.

    `own` names the workflow itself, by id and by name: it must not start itself, nor be started by what it starts.
    """
    named = [one for placed in steps for one in _secrets(placed)]
    for problem in secret_check.unknown(connection, org_id, named):
        problems.extend(InputError([problem]))
    starting = [placed for placed in steps if placed.step.config.get("template")]
    if starting:
        _Starting(connection, org_id, own).check(starting, problems)


def _check_action(config: Mapping[str, Any], path: str, problems: Problems) -> None:
    action = kind_of(config["action"])
    if action is None:
        problems.add(f"{path}.action", f"unknown action {shown(config['action'])}", f"allowed: {listed(KINDS)}")
        return
    if not action.for_events and config["campaign"] is None:
        message = f"is required: {action.name} changes a campaign"
        problems.add(f"{path}.campaign", message, "give its id or name, or a reference such as {{ context.campaign }}")
    for problem in _refused(action, config, f"{path}.params"):
        problems.extend(InputError([problem]))


def _refused(action: Action, config: Mapping[str, Any], path: str) -> Sequence[Problem]:
    """Return what the action says against its parameters; of some that refer, what is certain without their values."""
    params = config["params"]
    referring = {key for key, value in params.items() if refers(value)}
    try:
        action.validate(params, spelling=config["action"], path=path)
    except InputError as error:
        if not referring:
            return error.problems
        certain = [f"{path}.{key}" for key in params if key not in referring]
        return [one for one in error.problems if any(_within(one.field, place) for place in certain)]
    return ()


def _within(field: str, place: str) -> bool:
    return field == place or field.startswith((f"{place}.", f"{place}["))


def _secrets(placed: Placed) -> Iterator[tuple[str, str | None]]:
    if placed.step.config.get("action"):
        yield from secrets_in(placed.step.config["params"], f"{placed.path}.config.params")


class _Starting:
    """Looks at the workflows that steps start, and at those that these start in turn."""

    def __init__(self, connection: Connection, org_id: UUID, own: Collection[str]) -> None:
        self._connection = connection
        self._org_id = org_id
        self._own = frozenset(own)

    def check(self, starting: Sequence[Placed], problems: Problems) -> None:
        """Note what cannot be started."""
        known = self._named({placed.step.config["template"] for placed in starting})
        for placed in starting:
            config, path = placed.step.config, f"{placed.path}.config"
            row = known.get(config["template"])
            if config["template"] in self._own or (row is not None and str(row.template_id) in self._own):
                problems.add(f"{path}.template", "is this workflow itself", "a workflow cannot start itself")
            elif row is None:
                message = f"there is no workflow {shown(config['template'])} in this org"
                problems.add(f"{path}.template", message, "see `cmis workflows list`; clone a public one first")
            elif row.status != TemplateStatus.ACTIVE:
                problems.add(f"{path}.template", f"the workflow {row.name!r} is {row.status}", "publish it first")
            elif config["version"] is not None and config["version"] > row.version:
                message = f"the workflow {row.name!r} has no version {config['version']}"
                problems.add(f"{path}.version", message, f"the last one is {row.version}")
            elif (names := self._back(row, config["version"])) is not None:
                message = f"leads back to this workflow: {' → '.join(names)}"
                problems.add(f"{path}.template", message, "a workflow cannot start itself by another one")

    def _back(self, row: Row[Any], version: int | None) -> Sequence[str] | None:
        """Return the names of the workflows by which one leads back to this, level by level; None if it does not."""
        level: dict[tuple[UUID, int], tuple[str, ...]] = {(row.template_id, version or row.version): (row.name,)}
        seen = set(level)
        while level and len(seen) <= _MOST_CHECKED:
            started = templates.started_by(self._connection, self._org_id, list(level))
            known = self._named({one.template for one in started})
            below: dict[tuple[UUID, int], tuple[str, ...]] = {}
            for one in started:
                names = (*level[one.template_id, one.version], one.template)
                found = known.get(one.template)
                if one.template in self._own or (found is not None and str(found.template_id) in self._own):
                    return names
                if found is not None and found.version is not None:
                    below.setdefault((found.template_id, one.wanted or found.version), names)
            level = {key: names for key, names in below.items() if key not in seen}
            seen |= level.keys()
        return None

    def _named(self, references: Collection[str]) -> dict[str, Row[Any]]:
        rows = templates.named(self._connection, self._org_id, references)
        return {row.name: row for row in rows} | {str(row.template_id): row for row in rows}
