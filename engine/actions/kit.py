"""What every kind of action must do, as checks that raise AssertionError and say what is wrong; ours pass them, too.

    EXAMPLES = [Example({"at": 50}), Example({"at": 50}, {"budget": 20})]

    def test_the_contract(database):        # core.db.Database of the app role
        with rehearsal(database) as stage:
            check(CapBudget(), EXAMPLES, stage)

`check_pure` needs no database. See docs/actions.md.
"""

from __future__ import annotations

import copy
import datetime as dt
import json
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final
from uuid import UUID

from core.errors import InputError, PermanentError
from engine.actions.base import Campaign, Change, Delivery, Impossible, Nothing, Scope
from engine.actions.rehearsal import COLUMNS
from engine.secrets.references import NAME, SCHEME
from engine.store.campaigns import CHANGEABLE
from models.enums import Channel

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from engine.actions.base import Action, Effect, Params
    from engine.actions.rehearsal import Stage

_PATH: Final = "actions[0].params"
_UNKNOWN: Final = "surprise_of_the_kit"
_SCOPE: Final = Scope(UUID(int=2), "Example", UUID(int=3), "Rehearsal", UUID(int=4))
_MESSAGES: Final[Mapping[str, Mapping[str, type]]] = {
    Channel.EMAIL.value: {"to": list, "subject": str, "text": str},
    Channel.SLACK.value: {"url": str, "text": str},
    Channel.WEBHOOK.value: {"url": str, "headers": dict, "body": dict, "signing_secret": str},
}
"""What the courier of each channel that actions may use reads."""


@dataclass(frozen=True, slots=True)
class Example:
    """Parameters as a person writes them, columns of a campaign (the rest: rehearsal.COLUMNS), the spelling used."""

    params: Mapping[str, Any]
    campaign: Mapping[str, Any] = field(default_factory=dict)
    spelling: str | None = None

    def canonical(self, action: Action) -> Params:
        """Return the parameters as they would be stored."""
        return action.validate(copy.deepcopy(self.params), spelling=self.spelling or action.name, path=_PATH)

    @property
    def seen(self) -> Campaign:
        """The campaign as a plan sees it."""
        columns = {**COLUMNS, **self.campaign}
        return Campaign(campaign_id=UUID(int=1), **columns | {"tags": list(columns["tags"])})


def check(action: Action, examples: Sequence[Example], stage: Stage) -> None:
    """Check the whole contract; the stage's transaction is left as it was."""
    check_pure(action, examples)
    for example in examples:
        planned = action.plan(example.canonical(action), example.seen, _SCOPE)
        if isinstance(planned, Change):
            savepoint = stage.connection.begin_nested()
            try:
                _check_effects(action, example, stage)
            finally:
                savepoint.rollback()


def check_pure(action: Action, examples: Sequence[Example]) -> None:
    """Check what needs no database: reading parameters, and planning."""
    used = {example.spelling or action.name for example in examples}
    left_out = [spelling for spelling in (action.name, *action.aliases) if spelling not in used]
    _require(not left_out, f"{action.name}: no example is spelled {', '.join(left_out)}")
    planned = []
    for example in examples:
        _check_validation(action, example)
        planned.append(_check_plan(action, example))
    acting = any(isinstance(one, Change | Delivery) for one in planned)
    _require(acting, f"{action.name}: no example changes anything")


def _check_validation(action: Action, example: Example) -> None:
    given = copy.deepcopy(example.params)
    spelling = example.spelling or action.name
    params = action.validate(given, spelling=spelling, path=_PATH)
    said = f"{action.name}: the parameters {dict(example.params)!r} as {spelling}"
    _require(given == example.params, f"{said}: validate changed what it was given to {given!r}")
    _require(_through_json(params) == params, f"{said}: {params!r} is not the same after a round trip through JSON")
    again = action.validate(copy.deepcopy(params), spelling=action.name, path=_PATH)
    _require(again == params, f"{said}: canonical {params!r} is validated to {again!r}")
    try:
        action.validate({**example.params, _UNKNOWN: 1}, spelling=spelling, path=_PATH)
    except InputError as error:
        paths = [problem.field for problem in error.problems]
        _require(f"{_PATH}.{_UNKNOWN}" in paths, f"{said}: an unknown parameter is refused at {paths}, not at its path")
        _require(all(str(problem) for problem in error.problems), f"{said}: a problem says nothing")
    else:
        _require(False, f"{said}: an unknown parameter is accepted")  # noqa: FBT003 - the answer


def _check_plan(action: Action, example: Example) -> object:
    params, campaign = example.canonical(action), example.seen
    untouched = copy.deepcopy((params, campaign))
    plan: object = action.plan(params, campaign, _SCOPE)  # whatever a package returns
    said = f"{action.name}: the plan for {dict(example.params)!r} on {dict(example.campaign)!r}"
    _require((params, campaign) == untouched, f"{said} changed its parameters or the campaign")
    again = action.plan(copy.deepcopy(params), copy.deepcopy(campaign), _SCOPE)
    _require(plan == again, f"{said} is {plan!r} at first and {again!r} then")
    match plan:
        case Change(before=before, after=after):
            _require(_through_json([before, after]) == [before, after], f"{said} is not ready for JSON: {plan!r}")
            _require(before != after, f"{said} changes nothing: plan Nothing() instead of {plan!r}")
            _require(bool(after), f"{said} has no `after`: it is what verify looks for")
            if before:
                _check_columns(before, after, campaign, said)
        case Delivery(channel=channel, message=message):
            _check_message(channel, message, said)
        case Impossible(reason=reason):
            _require(bool(reason.strip()), f"{said} is impossible without a reason")
        case Nothing():
            pass
        case _:
            _require(False, f"{said} is no Plan: {plan!r}")  # noqa: FBT003 - the answer
    return plan


def _check_message(channel: str, message: Mapping[str, Any], said: str) -> None:
    """Check what is delivered outside: its channel's courier takes it from there."""
    _require(channel in _MESSAGES, f"{said}: no action delivers by {channel!r}, but by {', '.join(_MESSAGES)}")
    wanted = _MESSAGES[channel]
    _require(message.keys() == wanted.keys(), f"{said}: a message by {channel} has {sorted(wanted)}")
    wrong = sorted(key for key, kind in wanted.items() if not isinstance(message[key], kind))
    _require(not wrong, f"{said}: {', '.join(wrong)} of the message have the wrong type")
    _require(_through_json(message) == message, f"{said} is not ready for JSON: {message!r}")
    named = re.fullmatch(SCHEME + NAME.pattern, message.get("signing_secret", f"{SCHEME}none"))
    _require(named is not None, f"{said}: the signing secret is not named as secret://name")


def _check_columns(before: Mapping[str, Any], after: Mapping[str, Any], campaign: Campaign, said: str) -> None:
    _require(before.keys() == after.keys(), f"{said}: before has {sorted(before)}, after has {sorted(after)}")
    others = sorted(after.keys() - set(CHANGEABLE))
    _require(not others, f"{said} changes {others}; actions may change {', '.join(CHANGEABLE)}")
    for column, value in before.items():
        there = getattr(campaign, column)
        shown = there.isoformat() if isinstance(there, dt.date) else there
        _require(shown == value, f"{said}: before says {column} {value!r}, the campaign has {there!r}")


def _check_effects(action: Action, example: Example, stage: Stage) -> None:
    """Apply to two campaigns at once, with a third beside them; then verify, disturb, revert."""
    first, second, bystander = (stage.campaign(example.campaign) for _ in range(3))
    ids = [first, second, bystander]
    params = example.canonical(action)
    said = f"{action.name} with {dict(example.params)!r} on {dict(example.campaign)!r}"
    planned = {one: action.plan(params, stage.seen(one), _SCOPE) for one in (first, second)}
    changes = {one: plan for one, plan in planned.items() if isinstance(plan, Change)}
    _require(changes.keys() == planned.keys(), f"{said}: on the database's row the plan is {planned[first]!r}")
    effects = stage.intend(action, params, changes)
    missing = action.verify(stage.connection, stage.org_id, effects)
    _require(missing.keys() == _ids(effects), f"{said}: before apply, verify misses {len(missing)} of 2 effects")
    original = stage.columns(ids)
    action.apply(stage.connection, stage.org_id, effects, now=stage.now)
    for effect in effects:
        wanted = original[effect.entity_id] | (dict(effect.after) if effect.before else {})
        found = stage.columns(ids)[effect.entity_id]
        _require(found == wanted, f"{said}: apply was to leave {wanted!r}, and left {found!r}")
    _require(stage.columns(ids)[bystander] == original[bystander], f"{said}: apply changed a campaign beside its own")
    _require_verified(action, effects, stage, f"{said}: after apply")
    if action.idempotent:
        repeated = action.plan(params, stage.seen(first), _SCOPE)
        _require(repeated == Nothing(), f"{said}: it is idempotent, but after apply it plans {repeated!r}")
    if effects[0].before:
        _check_difference(action, effects, stage, said)
    _check_revert(action, effects, stage, original, said)


def _check_difference(action: Action, effects: Sequence[Effect], stage: Stage, said: str) -> None:
    """Let somebody change each column of the first effect; verify must name it, and nothing of the second."""
    first = effects[0]
    for column, value in first.after.items():
        other = _OTHERS[column](value)
        stage.meddle([first.entity_id], {column: other})
        found = dict(action.verify(stage.connection, stage.org_id, effects))
        _require(
            found.keys() == {first.action_id} and dict(found[first.action_id]).get(column) == other,
            f"{said}: {column} was changed to {other!r} by somebody, and verify says {found!r}",
        )
        stage.meddle([first.entity_id], {column: value})
    _require_verified(action, effects, stage, f"{said}: after all is as it was")


def _check_revert(
    action: Action,
    effects: Sequence[Effect],
    stage: Stage,
    original: Mapping[UUID, Mapping[str, Any]],
    said: str,
) -> None:
    if not action.reversible:
        try:
            action.revert(stage.connection, stage.org_id, effects, now=stage.now)
        except PermanentError:
            return
        _require(False, f"{said}: it is not reversible, but revert does not refuse by a PermanentError")  # noqa: FBT003
    action.revert(stage.connection, stage.org_id, effects, now=stage.now)
    found = stage.columns(list(original))
    _require(found == original, f"{said}: revert was to leave {original!r}, and left {found!r}")
    gone = action.verify(stage.connection, stage.org_id, effects)
    _require(gone.keys() == _ids(effects), f"{said}: after revert, verify still finds {2 - len(gone)} of 2 effects")


_OTHERS: Final[Mapping[str, Callable[[Any], Any]]] = {
    "status": lambda status: "active" if status == "completed" else "completed",
    "budget": lambda budget: (budget or 0) + 1,
    "bid_amount": lambda bid: (bid or 0) + 1,
    "tags": lambda tags: [*tags, "somebody's"],
    "name": lambda name: f"{name}, renamed",
    "objective": lambda objective: f"{objective}, another",
    "end_date": lambda day: "2030-01-01" if day != "2030-01-01" else "2030-01-02",
}
"""Another value for a column than the one that an effect left there."""


def _require_verified(action: Action, effects: Sequence[Effect], stage: Stage, said: str) -> None:
    found = action.verify(stage.connection, stage.org_id, effects)
    _require(not found, f"{said}, verify misses effects: {dict(found)!r}")


def _ids(effects: Sequence[Effect]) -> set[UUID]:
    return {effect.action_id for effect in effects}


def _through_json(document: object) -> object:
    return json.loads(json.dumps(document))


def _require(holds: bool, otherwise: str) -> None:  # noqa: FBT001 - what is required
    if not holds:
        raise AssertionError(otherwise)
