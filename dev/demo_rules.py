"""The demo's rules and their schedules, each made to show one thing, with the outcome expected of its due jobs."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Final

from engine.schedule.zones import wall_of, zone

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

JOBS_CREATED_BEFORE: Final = timedelta(minutes=30)
"""Create the jobs as of so long before `now`: then each has exactly one planned time to run that is due at `now`."""
_DUE_BEFORE: Final = timedelta(minutes=5)

Document = dict[str, Any]


@dataclass(frozen=True, slots=True)
class DemoRule:
    """A rule document (SPEC §2's columns), its job documents, and what is expected of one run of each.

    `campaign` is the external id of the only campaign that the rule is for: the caller sets `entity_id`. `shows` says
    in words what the rule is there for. `expected` holds, in no order, one outcome for each job: an execution's status,
    or `skipped:REASON`.
    """

    document: Document
    jobs: Sequence[Document]
    shows: str
    expected: tuple[str, ...]
    campaign: str | None = None


class _Times:
    """Schedules that have a planned time shortly before `now`, on the wall clock of the org's zone."""

    def __init__(self, now: datetime, timezone: str) -> None:
        self._due = now.replace(second=0, microsecond=0) - _DUE_BEFORE
        self._wall = wall_of(self._due, zone(timezone))
        self._timezone = timezone

    def daily(self) -> Document:
        return self._recurring(frequency="daily", time_of_day=self._clock())

    def weekly(self) -> Document:
        return self._recurring(
            frequency="weekly", time_of_day=self._clock(), days_of_week=[self._wall.isoweekday() % 7]
        )

    def hourly(self) -> Document:
        start = self._due - timedelta(hours=24)
        return self._recurring(frequency="hourly", interval=6, start_date=start.isoformat())

    def once(self) -> Document:
        return self._document(schedule_type="once", start_date=self._due.isoformat())

    def cron_daily(self) -> Document:
        return self._document(schedule_type="cron", cron_expression=f"{self._wall.minute} {self._wall.hour} * * *")

    def cron_often(self) -> Document:
        return self._document(schedule_type="cron", cron_expression="*/10 * * * *")

    def _clock(self) -> str:
        return self._wall.strftime("%H:%M")

    def _recurring(self, **columns: object) -> Document:
        return self._document(schedule_type="recurring", **columns)

    def _document(self, **columns: object) -> Document:
        return {"timezone": self._timezone, **columns}


def rules_of(prefix: str, timezone: str, now: datetime) -> list[DemoRule]:
    """Return the rules of the org with this prefix, their jobs due at `now` (aware)."""
    return _RULES[prefix](_Times(now, timezone))


def _leaf(field: str, operator: str, value: object, window: str | None = None) -> Document:
    return {"field": field, "operator": operator, "value": value} | ({"window": window} if window else {})


def _action(kind: str, **params: object) -> Document:
    return {"type": kind, "params": params}


def _notify(message: str) -> Document:
    return _action("send_notification", message=message)


def _rule(
    name: str,
    shows: str,
    conditions: object,
    actions: Sequence[Document],
    schedules: Sequence[Document],
    expected: tuple[str, ...] = ("success",),
    campaign: str | None = None,
    **columns: object,
) -> DemoRule:
    document = {
        "name": name, "description": f"Demo: {shows}.", "conditions": conditions, "actions": list(actions),
        "status": "active", **columns,
    }  # fmt: skip
    jobs = [{"name": f"{name} #{number}", **schedule} for number, schedule in enumerate(schedules, 1)]
    return DemoRule(document, jobs, shows, expected, campaign)


_ACTIVE: Final = _leaf("status", "=", "active")


def _harbor(times: _Times) -> list[DemoRule]:
    return [
        _rule(
            "Pause money-losers", "pauses campaigns of a high cost per acquisition",
            [_ACTIVE, _leaf("cpa", ">", 50)], [_action("pause_underperforming")], [times.daily()],
            priority="high", rule_type="performance",
        ),
        _rule(
            "Scale winners", "raises budgets where the return on ad spend is high, in a zone with DST",
            [_ACTIVE, _leaf("roas", ">", 3.0, "last_14d")], [_action("increase_budget", percent=20)],
            [times.cron_daily()], rule_type="budget",
        ),
        _rule(
            "Cost check on a silent campaign", "ends unknown: without a conversion there is no cost of one",
            [_leaf("cpa", ">", 40, "last_30d")], [_action("pause_campaign")], [times.cron_often()],
            ("skipped:conditions_unknown",), "HP-SILENT",
        ),
        _rule(
            "Spend digest, once a day", "is stopped by its daily limit the second time",
            [_leaf("spend", ">", 0)], [_notify("Yesterday's spend is in.")], [times.daily(), times.once()],
            ("skipped:daily_limit", "success"), "HP-DIGEST", max_executions_per_day=1, cooldown_minutes=0,
            rule_type="alert",
        ),
        _rule(
            "Resume what does well", "resumes paused campaigns of a good return",
            {"all": [_leaf("status", "=", "paused"), _leaf("roas", "between", [2.0, 3.5], "last_30d")]},
            [_action("resume_campaign")], [times.weekly()],
        ),
    ]  # fmt: skip


def _lindenhof(times: _Times) -> list[DemoRule]:
    return [
        _rule(
            "Cut what nobody clicks", "lowers budgets of a low click-through rate and says so",
            [_ACTIVE, _leaf("ctr", "<", 0.01), _leaf("impressions", ">=", 10_000)],
            [_action("decrease_budget", percent=30), _notify("Its budget was cut by 30 %: few clicks.")],
            [times.hourly()], rule_type="budget",
        ),
        _rule(
            "Cut the smallest budget", "is held for approval below the floor of 10, and not asked for a second time",
            [_leaf("impressions", ">", 0)], [_action("decrease_budget", percent=30)],
            [times.daily(), times.cron_often()],
            ("running", "skipped:guardrail"), "LM-FLOOR", rule_type="budget",
        ),
        _rule(
            "Nudge once a day", "is stopped by its cooldown the second time",
            [_leaf("spend", ">", 0, "yesterday")], [_action("adjust_budget", percent=5)],
            [times.daily(), times.cron_often()], ("skipped:cooldown", "success"), "LM-COOL",
            cooldown_minutes=1_440, rule_type="budget",
        ),
        _rule(
            "On holiday", "is due but paused",
            [_leaf("spend", ">", 0)], [_action("pause_campaign")], [times.weekly()],
            ("skipped:rule_inactive",), status="paused",
        ),
        _rule(
            "Tell of a rising cost", "compares the last days with the mean of two weeks",
            [_ACTIVE, _leaf("cpa", ">", {"field": "cpa", "window": "last_14d", "times": 1.3}, "last_3d")],
            [_notify("A conversion costs over 1.3 times its two-week mean.")], [times.cron_daily()],
            rule_type="alert", priority="low",
        ),
    ]  # fmt: skip


def _kaveri(times: _Times) -> list[DemoRule]:
    return [
        _rule(
            "Pause low returns", "pauses campaigns that return less than they cost",
            {"all": [_ACTIVE, _leaf("roas", "<", 1.5), _leaf("spend", ">=", 5_000, "last_14d")]},
            [_action("pause_underperforming")], [times.once()], priority="critical",
        ),
        _rule(
            "Tell of few conversions", "notifies of a low conversion rate",
            [_leaf("conversion_rate", "<", 0.02, "last_30d")], [_notify("Fewer than 2 % of its clicks convert.")],
            [times.daily()], rule_type="alert",
        ),
        _rule(
            "Never met", "evaluates to false for every campaign",
            [_leaf("cpa", ">", 10_000_000)], [_action("pause_campaign")], [times.cron_often()],
            ("skipped:conditions_not_met",),
        ),
        _rule(
            "Move budget to search winners", "joins conditions by or, within one platform",
            {"all": [_ACTIVE, _leaf("platform", "in", ["google"]),
                     {"any": [_leaf("roas", ">", 3.5), _leaf("conversion_rate", ">", 0.5)]}]},
            [_action("increase_budget", percent=10)], [times.hourly()], rule_type="budget",
        ),
    ]  # fmt: skip


_RULES: Final[Mapping[str, Callable[[_Times], list[DemoRule]]]] = {
    "HP": _harbor, "LM": _lindenhof, "KT": _kaveri
}  # fmt: skip
