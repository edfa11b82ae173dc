"""`start_workflow`: start an instance of a published workflow, in the transaction of the effect.

The instance has the id of the effect that starts it: it is there exactly if the effect is, and only once.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, Final
from uuid import UUID

from core.errors import InputError, PermanentError, Problem
from engine.actions import payloads
from engine.actions.base import Action, Change, Impossible
from engine.actions.params import unknown_keys
from engine.actions.texts import KNOWN, told, values
from engine.start_workflow import Start, start
from engine.store import startable
from models.workflow_enums import InstanceTrigger, TemplateStatus

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from datetime import datetime

    from sqlalchemy import Connection, Row

    from engine.actions.base import Campaign, Effect, Found, Params, Plan, Scope
    from engine.actions.registry import ActionSpec

NAME: Final = "start_workflow"
MAX_CHAIN: Final = 8
"""How many workflows may start one another, one after the other."""
_LONGEST: Final = 200


class StartWorkflow(Action):
    """Start an instance of a workflow, whose context is what the rule or step gives it and what they know."""

    name = NAME
    reversible = False
    for_events = True
    texts: ClassVar[Mapping[str, int | None]] = {"context": None}

    def validate(self, params: Mapping[str, Any], *, spelling: str, path: str) -> Params:
        """Require `template` (or `value`), a name or an id; accept `version` and `context`, whose texts may refer."""
        del spelling
        given = dict(params)
        if "value" in given and "template" not in given:
            given["template"] = given.pop("value")
        found = unknown_keys(given, ("template", "version", "context"), path)
        template, version = given.get("template"), given.get("version")
        if not (isinstance(template, str) and 0 < len(template) <= _LONGEST):
            found.append(Problem(f"{path}.template", "must be the name or the id of a workflow", "give it as a text"))
        if version is not None and not (type(version) is int and version > 0):
            found.append(Problem(f"{path}.version", "must be a whole number of at least 1", "or leave it out"))
        context = {} if given.get("context") is None else given["context"]
        found += payloads.problems(context, f"{path}.context")
        if found:
            raise InputError(found)
        return {"template": template, "context": context, **({} if version is None else {"version": version})}

    def plan(self, params: Params, campaign: Campaign, scope: Scope) -> Plan:
        """Compose the context; a workflow that cannot be started now is impossible."""
        reason = scope.unstartable.get(_wanted(params))
        if reason is not None:
            return Impossible(reason)
        known = values(campaign, scope)
        given = payloads.composed(params["context"], known)
        instance: dict[str, Any] = {"context": _known(campaign, scope, known) | given}
        if campaign.entity_type == "event":
            instance["event_id"] = str(campaign.campaign_id)
        return Change({}, {"instance": instance})

    def apply(self, connection: Connection, org_id: UUID, effects: Sequence[Effect], *, now: datetime) -> None:
        """Start an instance of each effect; raises PermanentError where one cannot be started after all."""
        templates = _templates(connection, org_id, {_wanted(effect.params) for effect in effects})
        start(connection, org_id, [_start(effect, templates) for effect in effects], now=now)

    def verify(self, connection: Connection, org_id: UUID, effects: Sequence[Effect]) -> Mapping[UUID, Found]:
        """Look for the instances."""
        there = startable.there(connection, org_id, [effect.action_id for effect in effects])
        return {effect.action_id: {"instance": None} for effect in effects if effect.action_id not in there}

    def revert(self, connection: Connection, org_id: UUID, effects: Sequence[Effect], *, now: datetime) -> None:
        """Refuse: what has been started is cancelled, not taken back."""
        del connection, org_id, effects, now
        raise PermanentError("a workflow that was started cannot be taken back: cancel its instance")


def unstartable(
    connection: Connection, org_id: UUID, specs: Iterable[ActionSpec]
) -> Mapping[tuple[str, int | None], str]:
    """Return why workflows that actions name cannot be started now (`Scope.unstartable`)."""
    wanted = {_wanted(spec.params) for spec in specs if spec.kind == NAME}
    found = _templates(connection, org_id, wanted) if wanted else {}
    return {one: why for one, why in found.items() if isinstance(why, str)}


def _wanted(params: Params) -> tuple[str, int | None]:
    return params["template"], params.get("version")


def _templates(
    connection: Connection, org_id: UUID, wanted: set[tuple[str, int | None]]
) -> dict[tuple[str, int | None], UUID | str]:
    """Return of each workflow that is named its id, or why it cannot be started."""
    rows = startable.named(connection, org_id, {name for name, _ in wanted})
    known = {row.name: row for row in rows} | {str(row.template_id): row for row in rows}
    return {(name, version): _startable(known.get(name), name, version) for name, version in wanted}


def _startable(row: Row[Any] | None, name: str, version: int | None) -> UUID | str:
    if row is None:
        return f"there is no workflow {name!r} in this org"
    if row.status != TemplateStatus.ACTIVE:
        return f"the workflow {row.name} is {row.status}, not active"
    if version is not None and version not in (row.versions or ()):
        return f"the workflow {row.name} has no version {version}"
    template_id: UUID = row.template_id
    return template_id


def _start(effect: Effect, templates: Mapping[tuple[str, int | None], UUID | str]) -> Start:
    template = templates[_wanted(effect.params)]
    if isinstance(template, str):
        raise PermanentError(template)
    instance = effect.after["instance"]
    event_id = instance.get("event_id")
    return Start(
        template_id=template,
        context=instance["context"],
        trigger=InstanceTrigger.API if event_id is None else InstanceTrigger.EVENT,
        version=effect.params.get("version"),
        instance_id=effect.action_id,
        event_id=None if event_id is None else UUID(event_id),
        action_id=effect.action_id,
        idempotency_key=f"action:{effect.action_id}",
    )


def _known(campaign: Campaign, scope: Scope, known: Mapping[str, Any]) -> dict[str, Any]:
    """Return what the instance is told besides what it is given: what it is about, and who starts it."""
    about: dict[str, Any] = {}
    if campaign.entity_type == "campaign":
        about["campaign"] = {name: told(known["campaign"][name]) for name in KNOWN["campaign"]}
    if scope.event is not None:
        about["event"] = scope.event
    if scope.step is None:
        return about | {"rule": known["rule"]}
    by = {"instance_id": str(scope.step.instance_id), "step_id": scope.step.step_id}
    return about | {"workflow": known["rule"] | by}
