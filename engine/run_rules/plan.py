"""Decide what each rule of a group does to each campaign of a page. Pure: facts in, planned effects and traces out.

A later rule sees the effects of the earlier ones: they are kept as an overlay over the rows that were read.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from typing import TYPE_CHECKING, Any, Final

from core.clock import monotonic
from core.ids import uuid7
from engine.actions.base import Effect
from engine.actions.bounded import bounded
from engine.actions.registry import KINDS, applied_as
from engine.rules.gates import SkipReason, conditions_gate, cooldown_gate, rule_gate
from engine.rules.guardrails import Situation
from engine.run_rules.narrow import Miss
from engine.run_rules.state import SHOWN_ACTED, SHOWN_OTHERS, ZERO, Asked, Memory, Overlay, Run, entity_document

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from uuid import UUID

    from sqlalchemy import Row

    from engine.actions.base import Campaign
    from engine.actions.registry import ActionSpec

_NAMES: Final = {True: "true", False: "false", None: "unknown"}


def close_gates(run: Run, memory: Memory) -> None:
    """Apply the gates that stop a rule as a whole: active, for such an event if any, and within its daily limit."""
    if run.rule.event_type != (None if run.event is None else run.event.type):
        run.stopped = SkipReason.RULE_INACTIVE  # its trigger was changed after the event
        return
    run.stopped = rule_gate(run.rule.status, run.rule.daily_limit, memory.acted_today(run.rule))


def plan_page(run: Run, overlay: Overlay, memory: Memory) -> None:
    """Evaluate one rule over one page of campaigns and plan its effects."""
    started = monotonic()
    rule = run.rule
    for campaign in overlay.seen(rule.entity_id):
        _plan_entity(run, overlay, memory, campaign)
    run.seconds += monotonic() - started


def _plan_entity(run: Run, overlay: Overlay, memory: Memory, campaign: Campaign | Row[Any]) -> None:
    rule, program = run.rule, run.rule.program
    if memory.last_acted and _cools_down(run, memory, campaign):
        return
    withheld = overlay.page.withheld(program.operands, campaign.campaign_id, rule.trust) if rule.trust else None
    facts = overlay.page.facts(program.operands, campaign, withheld) if run.event is None else run.event.facts
    result = program.closures.evaluate(facts)
    if result is False:
        _miss(run, overlay, campaign, facts, withheld)
        return
    shown = _NAMES[result]
    effects: Sequence[Effect] = ()
    if stopped := conditions_gate(result):
        run.reached.add(stopped)
    else:
        first = len(run.effects)
        _plan_actions(run, overlay, memory, overlay.get(campaign.campaign_id))
        effects = run.effects[first:]
    room, acted = _room(run, shown, effects), _count(run, shown, effects)
    if room:
        run.shown += bool(effects)
        run.entities.append(run.traced(overlay.page, campaign, facts, withheld, result=shown, acted=acted))


def _miss(
    run: Run,
    overlay: Overlay,
    campaign: Campaign | Row[Any],
    facts: Mapping[str, object],
    withheld: Mapping[str, str] | None,
) -> None:
    """Count a campaign for which the conditions are false, and keep it if it is among the narrowest misses."""
    run.reached.add(SkipReason.CONDITIONS_NOT_MET)
    run.counts["false"] += 1
    run.counts["acted"] += 0
    nearness = run.missed.nearness(facts)
    if nearness is not None:
        run.missed.keep(nearness, Miss(overlay.page, campaign, facts, withheld))


def _cools_down(run: Run, memory: Memory, campaign: Campaign | Row[Any]) -> bool:
    """Apply the gate of the cooldown, and note a campaign that it stops."""
    rule_id = run.rule.rule_id  # each event is another entity: the rule as a whole rests
    last_acted = memory.last_acted.get((rule_id, rule_id if run.rule.about_event else campaign.campaign_id))
    if last_acted is None or cooldown_gate(last_acted, run.rule.cooldown_minutes, memory.now):
        return False
    run.reached.add(SkipReason.COOLDOWN)
    if _room(run, "cooldown", ()):
        stopped = {"last_acted_at": last_acted.isoformat()}
        run.entities.append(entity_document(campaign, "cooldown", acted=False) | stopped)
    _count(run, "cooldown", ())
    return True


def _room(run: Run, result: str, effects: Sequence[Effect]) -> bool:
    """Say whether a trace is kept: of all with effects up to 1,000, and of 20 of each other result.

    Of the false ones these are the narrowest misses (`Run.missed`), of the others the first.
    """
    return run.shown < SHOWN_ACTED if effects else run.counts[result] < SHOWN_OTHERS


def _count(run: Run, result: str, effects: Sequence[Effect]) -> bool:
    """Count a campaign by its result; returns whether the rule acted on it."""
    acted = bool(effects) and any(effect.acts for effect in effects)
    run.counts[result] += 1
    run.counts["acted"] += acted
    return acted


def _plan_actions(run: Run, overlay: Overlay, memory: Memory, campaign: Campaign) -> None:
    actions = run.rule.program.actions
    for position, spec in enumerate(actions[:1] if run.rule.delay else actions):
        effect = plan_effect(run, overlay, memory, position, spec, campaign)
        if effect is None:
            run.reached.add(SkipReason.NO_CHANGE)
            continue
        if effect.status == "held" and Asked.of(effect, effect.kind) in memory.held:
            run.reached.add(SkipReason.GUARDRAIL)  # it already waits for approval: do not ask again
            continue
        run.effects.append(effect)
        if effect.status == "succeeded":
            if effect.before:
                run.changed.add(campaign.campaign_id)
            campaign = overlay.put(campaign, effect)
        elif effect.status == "failed" and run.rule.stop_on_error:
            return
    if run.rule.delay:
        run.effects += [
            _queued(run, memory, position, spec, campaign) for position, spec in enumerate(actions) if position
        ]


def _queued(run: Run, memory: Memory, position: int, spec: ActionSpec, campaign: Campaign) -> Effect:
    """Return an action that follows after a delay: what it changes is planned when it is due."""
    ids = (uuid7(memory.now), run.item.execution_id, run.rule.rule_id)
    return Effect(*ids, position, spec.kind, spec.params, campaign.campaign_id, {}, {}, "queued")


def plan_effect(
    run: Run, overlay: Overlay, memory: Memory, position: int, spec: ActionSpec, campaign: Campaign
) -> Effect | None:
    """Plan one action on one campaign, bounded by the guardrails whatever its kind; None if there is nothing to do."""
    situation = Situation(
        campaign.campaign_id in memory.never_touch,
        len(run.changed) - (campaign.campaign_id in run.changed),
        overlay.net.get(campaign.currency, ZERO),
    )
    plan = KINDS[spec.kind].plan(spec.params, campaign, run.scope(memory))
    planned = bounded(spec.kind, plan, run.rule.guardrails, situation)
    if planned is None:
        return None
    return Effect(
        uuid7(memory.now),
        run.item.execution_id,
        run.rule.rule_id,
        position,
        spec.kind,
        spec.params,
        campaign.campaign_id,
        planned.before,
        planned.after,
        planned.status,
        planned.reason,
        planned.guardrail,
        planned.channel,
    )


def conflicting_versions(runs: list[Run], locked: dict[UUID, int], overlays: list[Overlay]) -> bool:
    """Say whether a campaign that the plan touches has moved on since its facts were read."""
    ids = touched(runs)
    rows = {one: overlay.page.rows[one] for overlay in overlays for one in ids if one in overlay.page.rows}
    return any(rows[one].version != locked.get(one) for one in ids)


def touched(runs: list[Run]) -> list[UUID]:
    """Return the campaigns whose rows the plan writes, ascending."""
    return sorted({e.entity_id for run in runs for e in run.effects if e.status == "succeeded" and e.before})


def rounds(runs: list[Run]) -> list[list[Effect]]:
    """Return the effects to apply in batches: in each, a campaign occurs at most once and all are applied as one kind.

    Where the day's net change is bounded, batches keep the planned order, and hold one rule's effects: the database
    adds up after each, and what the plan allowed at its place might pass the bound at another. What changes no campaign
    comes last, whatever its place: a kind has all that an execution does at one place in one batch.
    """
    changes: list[Effect] = []
    others: list[Effect] = []
    for run in runs:
        for effect in run.effects:
            if effect.status == "succeeded":
                (changes if effect.before else others).append(effect)
    return (_in_order(changes) if changes_budgets(runs) else _by_turns(changes)) + _by_places(others)


def _by_turns(changes: list[Effect]) -> list[list[Effect]]:
    seen: Counter[UUID] = Counter()
    batches: dict[tuple[int, str], list[Effect]] = defaultdict(list)
    for effect in changes:
        batches[seen[effect.entity_id], applied_as(effect.kind)].append(effect)
        seen[effect.entity_id] += 1
    return [batches[key] for key in sorted(batches)]


def _by_places(effects: list[Effect]) -> list[list[Effect]]:
    places: dict[tuple[str, UUID | None, int], list[Effect]] = defaultdict(list)
    for effect in effects:
        places[effect.kind, effect.execution_id, effect.position].append(effect)
    batches: dict[str, list[tuple[set[UUID], list[Effect]]]] = defaultdict(list)
    for (kind, _, _), of_place in places.items():
        entities = {effect.entity_id for effect in of_place}
        fitting = next((batch for batch in batches[kind] if batch[0].isdisjoint(entities)), None)
        if fitting is None:
            batches[kind].append((entities, of_place))
        else:
            fitting[0].update(entities)
            fitting[1].extend(of_place)
    return [batch for of_kind in batches.values() for _, batch in of_kind]


def _in_order(changes: list[Effect]) -> list[list[Effect]]:
    batches: list[list[Effect]] = []
    touched_by_last: set[UUID] = set()
    for effect in changes:
        last = batches[-1][0] if batches else None
        alike = last is not None and _writing(last) == _writing(effect)
        if alike and effect.entity_id not in touched_by_last:
            batches[-1].append(effect)
        else:
            batches.append([effect])
            touched_by_last.clear()
        touched_by_last.add(effect.entity_id)
    return batches


def _writing(effect: Effect) -> tuple[UUID | None, str]:
    return effect.rule_id, applied_as(effect.kind)


def changes_budgets(runs: list[Run]) -> bool:
    """Say whether the plan changes a budget under a bound on the day's net change, or lets one wait, perhaps for it."""
    return any(
        run.rule.guardrails.max_daily_net_change is not None
        and (SkipReason.GUARDRAIL in run.reached or any("budget" in one.after for one in run.effects if one.before))
        for run in runs
    )
