"""The closed sets of values of workflows: the CHECK constraints are made from these, too."""

from __future__ import annotations

from enum import StrEnum


class WorkflowCategory(StrEnum):
    """What a workflow template is for."""

    SOCIAL = "social"
    CAMPAIGN = "campaign"
    LEAD_NURTURE = "lead_nurture"
    ENGAGEMENT = "engagement"
    REPORTING = "reporting"


class TemplateStatus(StrEnum):
    """Life of a workflow template: a draft was never published, and instances are started of active ones only."""

    DRAFT = "draft"
    ACTIVE = "active"
    ARCHIVED = "archived"


class StepType(StrEnum):
    """What a step of a workflow is."""

    ACTION = "action"
    CONDITION = "condition"
    DELAY = "delay"
    SPLIT = "split"
    MERGE = "merge"
    WAIT_FOR_EVENT = "wait_for_event"
    APPROVAL = "approval"
    SUBWORKFLOW = "subworkflow"


class InstanceStatus(StrEnum):
    """State of one run of a workflow; see `models.transitions`."""

    PENDING = "pending"
    RUNNING = "running"
    PAUSED = "paused"
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELLED = "cancelled"


class StepStatus(StrEnum):
    """State of one step of a run; see `models.transitions`."""

    PENDING = "pending"
    QUEUED = "queued"
    RUNNING = "running"
    WAITING = "waiting"
    RETRYING = "retrying"
    COMPLETED = "completed"
    FAILED = "failed"
    SKIPPED = "skipped"
    CANCELLED = "cancelled"


class InstanceTrigger(StrEnum):
    """What started an instance: a job, an event, a person, or a program (another instance and a rule's action, too)."""

    SCHEDULED = "scheduled"
    EVENT = "event"
    MANUAL = "manual"
    API = "api"
