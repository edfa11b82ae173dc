"""What a task carries, by name: rules and jobs, instances and steps, effects. Nothing of it is a secret's value."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from uuid import UUID

from engine import chunk
from engine.control_tasks.failures import UNREADABLE, unreadable
from engine.store import campaigns, deliveries, jobs, rules, step_effects, templates
from models.enums import TaskKind

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from sqlalchemy import Connection

_OF_ITEM = ("execution_id", "trigger", "job_id", "origin", "scheduled_for", "requested_by", "campaign_id")


def carried(connection: Connection, org_id: UUID, kind: str, payload: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return what a task of the org does, one dictionary each; what is not there any more has no name.

    Of a payload that makes no sense there is one, which says so.
    """
    try:
        return _told(connection, org_id, kind, payload)
    except UNREADABLE as error:
        return [{"unreadable": unreadable(error)}]


def _told(connection: Connection, org_id: UUID, kind: str, payload: Mapping[str, Any]) -> list[dict[str, Any]]:
    match kind:
        case TaskKind.EVALUATE_RULES | TaskKind.APPLY_ACTIONS:
            return _evaluations(connection, org_id, payload)
        case TaskKind.RUN_WORKFLOW:
            return _runs(connection, org_id, payload["items"])
        case TaskKind.DELIVER:
            return _effects(connection, org_id, [UUID(one) for one in payload["action_ids"]])
        case _:
            return []


def _evaluations(connection: Connection, org_id: UUID, payload: Mapping[str, Any]) -> list[dict[str, Any]]:
    groups = chunk.groups(payload)
    items = [item for group in groups for item in group.items]
    of_rules = rules.some(connection, org_id, list({item.rule_id for item in items}))
    alone = [group.optimization for group in groups if group.optimization is not None]
    of_jobs = jobs.names(connection, org_id, _known([one.job_id for one in items] + [one.job_id for one in alone]))
    position = {} if "position" not in payload else {"position": payload["position"]}
    told = [
        {"rule_id": item.rule_id, "rule": getattr(of_rules.get(item.rule_id), "name", None)}
        | _evaluation(item, of_jobs)
        | ({} if item.event_id is None else {"event_id": item.event_id})
        | position
        for item in items
    ]
    return told + [{"optimization": True} | _evaluation(one, of_jobs) for one in alone]


def _evaluation(one: chunk.Item | chunk.Optimization, of_jobs: Mapping[UUID, str]) -> dict[str, Any]:
    given = {name: getattr(one, name) for name in _OF_ITEM}
    told = {name: value for name, value in given.items() if value is not None}
    return told if one.job_id is None else told | {"job": of_jobs.get(one.job_id)}


def _runs(connection: Connection, org_id: UUID, items: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    listed = list(items)
    of_runs = step_effects.workflows(connection, org_id, [UUID(item["instance_id"]) for item in listed])
    starts = [item["start"] for item in listed if item.get("start") is not None]
    of_templates = templates.names(connection, org_id, [UUID(start["template_id"]) for start in starts])
    of_jobs = jobs.names(connection, org_id, _known(UUID(start["job_id"]) for start in starts))
    return [_run(item, of_runs, of_templates, of_jobs) for item in listed]


def _run(
    item: Mapping[str, Any],
    of_runs: Mapping[UUID, str],
    of_templates: Mapping[UUID, str],
    of_jobs: Mapping[UUID, str],
) -> dict[str, Any]:
    instance_id, start, signal = UUID(item["instance_id"]), item.get("start"), item.get("signal")
    told: dict[str, Any] = {"instance_id": instance_id, "workflow": of_runs.get(instance_id)}
    if item.get("step_id") is not None:
        told["step_id"] = item["step_id"]
    if signal is not None:
        told["tells"] = signal["kind"]
    if start is not None:
        job_id = UUID(start["job_id"])
        told |= {"workflow": of_templates.get(UUID(start["template_id"])), "starts": True, "job_id": job_id}
        told |= {"job": of_jobs.get(job_id), "scheduled_for": start["scheduled_for"]}
    return told


def _effects(connection: Connection, org_id: UUID, ids: list[UUID]) -> list[dict[str, Any]]:
    rows = deliveries.some(connection, org_id, ids)
    of_rules = rules.some(connection, org_id, _known(row.rule_id for row in rows))
    of_runs = step_effects.workflows(connection, org_id, _known(row.instance_id for row in rows))
    of_campaigns = campaigns.names(connection, org_id, _known(row.entity_id for row in rows))
    return [
        {
            "action_id": row.action_id,
            "type": row.type,
            "channel": row.channel,
            "status": row.status,
            "attempts": row.attempts,
            "rule": getattr(of_rules.get(row.rule_id), "name", None),
            "workflow": of_runs.get(row.instance_id),
            "step_id": row.step_id,
            "campaign": of_campaigns.get(row.entity_id),
            "waits_for": row.waits_for,
            "error": row.error,
        }
        for row in rows
    ]


def _known(ids: Iterable[UUID | None]) -> list[UUID]:
    return sorted({one for one in ids if one is not None})
