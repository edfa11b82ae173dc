"""Every closed set of values, once: the CHECK constraints are made from these."""

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
    EVENT = "event"


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


class Channel(StrEnum):
    """By which way an effect leaves the database."""

    EMAIL = "email"
    WEBHOOK = "webhook"
    SLACK = "slack"
    CONNECTOR = "connector"


class ConnectorStatus(StrEnum):
    """Changes are pushed to active connectors only."""

    ACTIVE = "active"
    PAUSED = "paused"
    ARCHIVED = "archived"


class BreakerState(StrEnum):
    """Whether a destination is called: `half_open` = one delivery tries whether it is back."""

    CLOSED = "closed"
    OPEN = "open"
    HALF_OPEN = "half_open"


class PermitVerb(StrEnum):
    """What a person lets happen beyond the guardrails."""

    APPLY = "apply"
    UNDO = "undo"


class TargetType(StrEnum):
    """What a scheduled job starts."""

    RULE = "rule"
    OPTIMIZATION = "optimization"
    WORKFLOW = "workflow"


class ScheduleType(StrEnum):
    """How a scheduled job's times are given."""

    ONCE = "once"
    RECURRING = "recurring"
    CRON = "cron"


class Frequency(StrEnum):
    """Unit of a recurring schedule."""

    HOURLY = "hourly"
    DAILY = "daily"
    WEEKLY = "weekly"
    MONTHLY = "monthly"


class DstGap(StrEnum):
    """What becomes of a fixed time that a change of clocks leaves out."""

    NEXT_VALID = "next_valid"
    SKIP = "skip"


class DstFold(StrEnum):
    """What becomes of a fixed time that a change of clocks shows twice."""

    FIRST = "first"
    BOTH = "both"


class MonthEnd(StrEnum):
    """What a monthly recurrence does in a month that lacks its day."""

    LAST_DAY = "last_day"
    SKIP = "skip"


class Misfire(StrEnum):
    """Which of the planned times that were missed are made up for."""

    SKIP = "skip"
    ONCE = "once"
    ALL = "all"


class Overlap(StrEnum):
    """What becomes of a planned time while a run of the job is open."""

    SKIP = "skip"
    BUFFER_ONE = "buffer_one"
    ALLOW = "allow"
    CANCEL_OTHER = "cancel_other"


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
    APPLY_ACTIONS = "apply_actions"
    DELIVER = "deliver"
    RUN_WORKFLOW = "run_workflow"
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
