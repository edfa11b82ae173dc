"""Every closed set of values, once: the CHECKs are made from these. A schedule's own stand in `schedule_enums`."""

from __future__ import annotations

from enum import StrEnum


class Role(StrEnum):
    """What a member may do; each includes the ones before it."""

    VIEWER = "viewer"
    OPERATOR = "operator"
    EDITOR = "editor"
    ADMIN = "admin"


class CampaignStatus(StrEnum):
    """Life of a campaign."""

    DRAFT = "draft"
    ACTIVE = "active"
    PAUSED = "paused"
    COMPLETED = "completed"
    ARCHIVED = "archived"


class BudgetType(StrEnum):
    """What a budget is spent over."""

    DAILY = "daily"
    LIFETIME = "lifetime"


class RuleStatus(StrEnum):
    """Only active rules act."""

    DRAFT = "draft"
    ACTIVE = "active"
    PAUSED = "paused"
    ARCHIVED = "archived"


class EntityType(StrEnum):
    """What a rule reads and changes."""

    CAMPAIGN = "campaign"


class TriggerType(StrEnum):
    """What starts a rule."""

    SCHEDULE = "schedule"
    EVENT = "event"
    MANUAL = "manual"


class BundleCategory(StrEnum):
    """What a bundle of rules is for."""

    PERFORMANCE = "performance"
    BUDGET = "budget"
    CREATIVE = "creative"
    SCHEDULING = "scheduling"


class BundleStatus(StrEnum):
    """Rules are made of active bundles only."""

    ACTIVE = "active"
    ARCHIVED = "archived"


class ConditionLogic(StrEnum):
    """How a plain list of conditions is joined."""

    AND = "and"
    OR = "or"


class Priority(StrEnum):
    """Order of rules within a run, most urgent first in `critical`."""

    LOW = "low"
    MEDIUM = "medium"
    HIGH = "high"
    CRITICAL = "critical"


class ExecutionStatus(StrEnum):
    """Result of one evaluation of one rule."""

    RUNNING = "running"
    SUCCESS = "success"
    PARTIAL = "partial"
    FAILURE = "failure"
    SKIPPED = "skipped"


class OptimizationStatus(StrEnum):
    """Result of one optimisation, from those of its rules; `skipped` = no rule had anything to do."""

    SUCCESS = "success"
    PARTIAL = "partial"
    FAILURE = "failure"
    SKIPPED = "skipped"


class ActionStatus(StrEnum):
    """State of one effect."""

    HELD = "held"
    QUEUED = "queued"
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    DISCARDED = "discarded"
    REJECTED = "rejected"
    UNKNOWN = "unknown"
    UNDONE = "undone"


class TargetType(StrEnum):
    """What a scheduled job starts."""

    RULE = "rule"
    OPTIMIZATION = "optimization"


class JobStatus(StrEnum):
    """Life of a scheduled job; `failed` = its next time cannot be computed."""

    ACTIVE = "active"
    PAUSED = "paused"
    COMPLETED = "completed"
    FAILED = "failed"


class Origin(StrEnum):
    """Why an occurrence exists."""

    SCHEDULE = "schedule"
    MANUAL = "manual"
    BACKFILL = "backfill"


class Decision(StrEnum):
    """What became of a planned time."""

    RUN = "run"
    BUFFERED = "buffered"
    COALESCED = "coalesced"
    MISFIRED = "misfired"
    OVERLAP_SKIPPED = "overlap_skipped"
    DST_SKIPPED = "dst_skipped"
    MONTH_END_SKIPPED = "month_end_skipped"
    PAUSED = "paused"
    LIMIT_REACHED = "limit_reached"
    CANCELLED = "cancelled"


class Outcome(StrEnum):
    """How the run of an occurrence ended; NULL = still open."""

    SUCCESS = "success"
    PARTIAL = "partial"
    FAILURE = "failure"
    SKIPPED = "skipped"
    CANCELLED = "cancelled"
    LOST = "lost"


class Queue(StrEnum):
    """The broker's queues; a worker may serve any of them."""

    RULES = "rules"
    WORKFLOWS = "workflows"
    ACTIONS = "actions"
    INGEST = "ingest"
    MAINTENANCE = "maintenance"


class TaskKind(StrEnum):
    """What a task does; the Celery task's name is `automation.<kind>`."""

    EVALUATE_RULES = "evaluate_rules"
    MAINTAIN = "maintain"


class TaskState(StrEnum):
    """State of a task; `failed` = permanent error or retries used up, `dead` = attempts used up by crashes."""

    READY = "ready"
    HELD = "held"
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    DEAD = "dead"
    CANCELLED = "cancelled"


class AttemptOutcome(StrEnum):
    """How one claim of a task ended; NULL = still running."""

    SUCCEEDED = "succeeded"
    FAILED = "failed"
    LOST = "lost"
    CANCELLED = "cancelled"


class AuditAction(StrEnum):
    """What an audit row tells; each value is written by one trigger or one place of the engine."""

    ORG_CREATED = "org_created"
    ORG_UPDATED = "org_updated"
    USER_CREATED = "user_created"
    USER_UPDATED = "user_updated"
    MEMBER_CREATED = "member_created"
    MEMBER_UPDATED = "member_updated"
    MEMBER_DELETED = "member_deleted"
    CAMPAIGN_CREATED = "campaign_created"
    CAMPAIGN_UPDATED = "campaign_updated"
    RULE_CREATED = "rule_created"
    RULE_UPDATED = "rule_updated"
    RULE_DELETED = "rule_deleted"
    RULE_ACTIVATED = "rule_activated"
    RULE_PAUSED = "rule_paused"
    RULE_ARCHIVED = "rule_archived"
    RULE_EXECUTED = "rule_executed"
    ACTION_TAKEN = "action_taken"
    ACTION_APPROVED = "action_approved"
    ACTION_REJECTED = "action_rejected"
    ACTION_UNDONE = "action_undone"
    ACTION_DISCARDED = "action_discarded"
    WORKFLOW_CREATED = "workflow_created"
    WORKFLOW_UPDATED = "workflow_updated"
    WORKFLOW_ARCHIVED = "workflow_archived"
    WORKFLOW_INSTANTIATED = "workflow_instantiated"
    JOB_CREATED = "job_created"
    JOB_UPDATED = "job_updated"
    JOB_ACTIVATED = "job_activated"
    JOB_PAUSED = "job_paused"
    JOB_COMPLETED = "job_completed"
    JOB_FAILED = "job_failed"
    JOB_TRIGGERED = "job_triggered"
    JOB_BACKFILLED = "job_backfilled"
    TASK_LOST = "task_lost"
    TASK_DIED = "task_died"
    TASK_CANCELLED = "task_cancelled"
    TASK_FAILED = "task_failed"
