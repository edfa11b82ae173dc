"""Every action kind by its name and aliases, and the reading of a rule's list of actions."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from core.errors import InputError, Problem
from engine.actions.budget import AdjustBudget
from engine.actions.notification import SendNotification
from engine.actions.status import PauseCampaign, ResumeCampaign

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from engine.actions.base import Action, Params
    from engine.rules.conflicts import EffectKind

KINDS: Final[Mapping[str, Action]] = {
    action.name: action for action in (PauseCampaign(), ResumeCampaign(), AdjustBudget(), SendNotification())
}
_SPELLINGS: Final[Mapping[str, Action]] = {
    spelling: action for action in KINDS.values() for spelling in (action.name, *action.aliases)
}
_KEYS: Final = ("type", "params", "value")


@dataclass(frozen=True, slots=True)
class ActionSpec:
    """One valid action of a rule: its kind (whatever alias was written) and its canonical parameters."""

    kind: str
    params: Params

    @property
    def direction(self) -> EffectKind | None:
        """Which way it moves what it is applied to, as far as another action can do the opposite."""
        return KINDS[self.kind].direction(self.params)


def parse_actions(document: object, path: str) -> Sequence[ActionSpec]:
    """Read a list of `{type, params}` or `{type, value}`; raises InputError with every problem at its path."""
    problems: list[Problem] = []
    specs: list[ActionSpec] = []
    for index, node in enumerate(document if isinstance(document, list) else [document]):
        try:
            specs.append(_parse(node, f"{path}[{index}]"))
        except InputError as error:
            problems.extend(error.problems)
    if problems:
        raise InputError(problems)
    return specs


def _parse(node: object, path: str) -> ActionSpec:
    if not isinstance(node, dict):
        raise InputError.of(path, "must be an object", "write {type, params}")
    unknown = [Problem(f"{path}.{key}", "unknown key", "write {type, params}") for key in node if key not in _KEYS]
    if unknown:
        raise InputError(unknown)
    written = node.get("type")
    action = _SPELLINGS.get(written) if isinstance(written, str) else None
    if action is None or not isinstance(written, str):
        raise InputError.of(f"{path}.type", f"unknown action {written!r}"[:80], f"allowed: {', '.join(_SPELLINGS)}")
    params = {} if node.get("params") is None else node["params"]
    if not isinstance(params, dict):
        raise InputError.of(f"{path}.params", "must be an object", "write {name: value}, or leave it out")
    if "value" in node:
        params = {"value": node["value"], **params}
    return ActionSpec(action.name, action.validate(params, spelling=written, path=f"{path}.params"))
