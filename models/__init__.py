"""Tables, enums and transition tables of the schema `cmis`; no queries.

Importing this package maps every table, so that `Base.metadata` is complete.
"""

from models.audit import AuditEntry
from models.base import Base
from models.campaigns import BudgetLedgerEntry, Campaign, CampaignMetric, RunChange
from models.deliveries import AutomationEvent, Connector, Destination, Secret, TokenBucket
from models.executions import AutomationAction, AutomationExecution, Notification, Permit
from models.instances import WorkflowInstance, WorkflowStep, WorkflowTemplate, WorkflowTemplateVersion
from models.optimizations import Optimization
from models.processes import Process
from models.queue import (
    BrokerEpoch,
    ClockOffset,
    DroppedMessages,
    LeaseWatch,
    OrgQueueLimit,
    Task,
    TaskAttempt,
)
from models.retention import (
    LateChange,
    Retained,
    Retention,
    RetiredEffects,
    RetiredExecutions,
    RetiredInstances,
    RetiredOccurrences,
)
from models.rules import AutomationRule, RuleEntityState, RuleVersion
from models.schedules import AutomationSchedule, Occurrence, OptimizationSchedule, ScheduledJob, WorkflowSchedule
from models.tenancy import Org, User, UserOrg
from models.workflows import AutomationWorkflow

__all__ = [
    "AuditEntry",
    "AutomationAction",
    "AutomationEvent",
    "AutomationExecution",
    "AutomationRule",
    "AutomationSchedule",
    "AutomationWorkflow",
    "Base",
    "BrokerEpoch",
    "BudgetLedgerEntry",
    "Campaign",
    "CampaignMetric",
    "ClockOffset",
    "Connector",
    "Destination",
    "DroppedMessages",
    "LateChange",
    "LeaseWatch",
    "Notification",
    "Occurrence",
    "Optimization",
    "OptimizationSchedule",
    "Org",
    "OrgQueueLimit",
    "Permit",
    "Process",
    "Retained",
    "Retention",
    "RetiredEffects",
    "RetiredExecutions",
    "RetiredInstances",
    "RetiredOccurrences",
    "RuleEntityState",
    "RuleVersion",
    "RunChange",
    "ScheduledJob",
    "Secret",
    "Task",
    "TaskAttempt",
    "TokenBucket",
    "User",
    "UserOrg",
    "WorkflowInstance",
    "WorkflowSchedule",
    "WorkflowStep",
    "WorkflowTemplate",
    "WorkflowTemplateVersion",
]
