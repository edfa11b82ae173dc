"""A backtest as one JSON object."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from engine.rules.document import json_number

if TYPE_CHECKING:
    from collections.abc import Mapping
    from decimal import Decimal

    from engine.backtest.replay import Firing, Happened
    from engine.backtest.run import Backtest
    from engine.backtest.totals import Totals

_TAKEN: Final = (
    "the rule is taken as active and as new at the start: nothing of before counts towards its limit or cooldown",
    "a run is taken at its planned time, every planned time runs, and nothing but this rule changes a campaign",
    "spent_after_pause is what the stored metrics report, and no promise of what would have been saved",
)


def notes(found: Backtest) -> list[str]:
    """Return what a reader must know: what is taken for granted, and where chance may decide otherwise."""
    close = found.totals.on_the_boundary
    if not close:
        return list(_TAKEN)
    told = f"at {close:,} planned times a cooldown ends to the second; live, seconds of delay decide whether it is over"
    return [*_TAKEN, told]


def document(found: Backtest) -> dict[str, Any]:
    """Return all of a backtest: what was tried, each planned time with its effects, the totals."""
    subject = found.subject
    rule = subject.rule
    return {
        "rule": {"rule_id": rule.rule_id, "name": rule.name, "version": rule.version} if subject.stored else None,
        "name": rule.name,
        "from": subject.start,
        "to": subject.end,
        "timezone": subject.timezone,
        "schedules": [
            {
                "job_id": source.job_id,
                "job": source.job_name,
                "schedule_type": source.schedule.schedule_type,
                "frequency": source.schedule.frequency,
                "cron_expression": source.schedule.cron_expression,
                "timezone": source.schedule.timezone,
            }
            for source in subject.sources
        ],
        "campaigns": len(subject.campaigns),
        "campaigns_rolled_back": subject.rolled_back,
        "breaker_paused_at": found.broken_at,
        "totals": _totals(found.totals),
        "runs": [_firing(found, firing) for firing in found.firings],
        "notes": notes(found),
    }


def _totals(totals: Totals) -> dict[str, Any]:
    return {
        "planned": totals.planned,
        "acted": totals.acted,
        "skipped": dict(totals.skipped),
        "effects": dict(totals.effects),
        "campaigns_affected": len(totals.campaigns),
        "net_budget_change": _by_currency(totals.net_budget),
        "spent_after_pause": _by_currency(totals.spent_after_pause),
    }


def _by_currency(sums: Mapping[str | None, Decimal]) -> list[dict[str, Any]]:
    return [{"currency": currency, "amount": json_number(amount)} for currency, amount in sums.items()]


def _firing(found: Backtest, firing: Firing) -> dict[str, Any]:
    return {
        "at": firing.time.at,
        "job_id": found.subject.sources[firing.time.source].job_id,
        "status": firing.status.value,
        "skip_reason": firing.skip_reason,
        "counts": dict(firing.counts),
        "effects": [_effect(one) for one in firing.happened],
    }


def _effect(one: Happened) -> dict[str, Any]:
    effect = one.effect
    return {
        "campaign_id": effect.entity_id,
        "campaign": one.campaign,
        "position": effect.position,
        "type": effect.kind,
        "status": effect.status,
        "before": dict(effect.before),
        "after": dict(effect.after),
        "reason": effect.reason,
        "guardrail": effect.guardrail,
        "decided_by": list(one.decided_by),
    }
