"""The closed sets of values of a schedule and its policies; as in `enums`, the CHECK constraints are made from them."""

from __future__ import annotations

from enum import StrEnum


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
