"""A backtest for people: what the rule would have done, time by time, and what it comes to."""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict
from typing import TYPE_CHECKING, Any, Final

from rich.tree import Tree

from cli.explain import gate_text, trace_tree
from cli.job_options import when
from cli.output import err, out
from cli.tables import cell, plain
from engine.backtest.report import notes
from engine.schedule.zones import zone

if TYPE_CHECKING:
    from collections.abc import Sequence

    from engine.backtest.planned import Source
    from engine.backtest.replay import Firing, Happened
    from engine.backtest.run import Backtest

_SHOWN_TIMES: Final = 25
_SHOWN_EFFECTS: Final = 10


def print_backtest(found: Backtest, org: str) -> None:
    """Print a backtest of an org's rule; what it takes for granted goes to stderr."""
    tried = found.subject
    tz = zone(tried.timezone)
    span = " to ".join(f"{moment.astimezone(tz):%Y-%m-%d %H:%M}" for moment in (tried.start, tried.end))
    lines = [f"[bold]Backtest of {plain(tried.rule.name)}[/bold] in {plain(org)}, {span} ({tried.timezone})"]
    lines += [f"  at       {_source(source)}" for source in tried.sources]
    if tried.rolled_back:
        lines.append(f"  start    campaigns as they were then; {tried.rolled_back:,} differed from now")
    out.print("\n".join(lines), highlight=False, soft_wrap=True)
    acting = [firing for firing in found.firings if firing.happened]
    if acting:
        out.print(_tree(acting, tried.timezone))
    out.print("\n".join(_totals(found)), highlight=False, soft_wrap=True)
    for note in notes(found):
        err.print(f"note: {note}", markup=False, highlight=False, soft_wrap=True)


def _source(source: Source) -> str:
    schedule = source.schedule
    told = when({**asdict(schedule), "days_of_week": list(schedule.days_of_week)})
    job = "no job: tried" if source.job_name is None else f"job {plain(source.job_name)}:"
    return f"{job} {plain(told)} ({schedule.timezone})"


def _tree(acting: Sequence[Firing], timezone: str) -> Tree:
    tree = Tree("what it would have done", highlight=False)
    for firing in acting[:_SHOWN_TIMES]:
        counted = Counter(one.effect.status for one in firing.happened)
        statuses = ", ".join(f"{count:,} {status}" for status, count in counted.items())
        branch = tree.add(f"[bold]{firing.time.at.astimezone(zone(timezone)):%Y-%m-%d %H:%M}[/bold] {statuses}")
        for one in firing.happened[:_SHOWN_EFFECTS]:
            _add_effect(branch, one)
        if len(firing.happened) > _SHOWN_EFFECTS:
            branch.add(f"[dim]… and {len(firing.happened) - _SHOWN_EFFECTS:,} more; --json has all[/dim]")
    if len(acting) > _SHOWN_TIMES:
        tree.add(f"[dim]… and {len(acting) - _SHOWN_TIMES:,} more times; --json has all[/dim]")
    return tree


def _add_effect(branch: Tree, one: Happened) -> None:
    effect = one.effect
    changes = ", ".join(f"{plain(key)} {cell(effect.before.get(key))} → {cell(value)}" for key, value in _shown(one))
    reason = "" if effect.reason is None else f"({plain(effect.reason)})"
    told = [f"[bold]{plain(one.campaign)}[/bold] {effect.kind} [bold]{effect.status}[/bold]", changes, reason]
    leaf = branch.add(" ".join(filter(None, told)), highlight=False)
    for decided in one.decided_by:
        leaf.add(trace_tree(decided))


def _shown(one: Happened) -> list[tuple[str, Any]]:
    return [(key, value) for key, value in one.effect.after.items() if key in one.effect.before]


def _totals(found: Backtest) -> list[str]:
    totals = found.totals
    effects = ", ".join(f"{count:,} {status}" for status, count in totals.effects.items()) or "none"
    lines = [
        f"  runs     {totals.planned:,} planned, {totals.acted:,} acted",
        f"  effects  {effects}; {len(totals.campaigns):,} campaigns affected",
    ]
    lines += [f"  skipped  {count:,}: {reason}, {gate_text(reason)}" for reason, count in totals.skipped.most_common()]
    if found.broken_at is not None:
        lines.append(
            f"  breaker  would have paused the rule at {cell(found.broken_at)}, since its actions kept failing"
        )
    lines += [
        f"  budgets  {amount:+,} {currency or ''} in sum".rstrip() for currency, amount in totals.net_budget.items()
    ]
    for currency, amount in totals.spent_after_pause.items():
        money = f"{amount:,.2f} {currency or ''}".rstrip()
        lines.append(f"  observed {money} stored as spent on whole days on which the replay has the campaign paused")
    return lines
